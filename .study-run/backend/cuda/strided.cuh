// Index arithmetic of up to six dimensions. With WIDE, 64-bit; without, offsets must stay below 2^31, and divisions are three times as fast.
#pragma once
#include "spft.cuh"

#ifdef WIDE
typedef u64 Index;
typedef i64 Offset;
#else
typedef u32 Index;
typedef int Offset;
#endif

#define SPFT_DIMENSIONS 6
// Six parameters of a kernel, and the array that they are.
#define SPFT_SIX(type, name) type name##0, type name##1, type name##2, type name##3, type name##4, type name##5
#define SPFT_ARRAY(type, name) \
  const type name[SPFT_DIMENSIONS] = {name##0, name##1, name##2, name##3, name##4, name##5}

// Where element `index` (row-major over the last `rank` of `sizes`) is in operands of these strides.
template <int OPERANDS>
__device__ __forceinline__ void locate(Index index, int rank, const Index (&sizes)[SPFT_DIMENSIONS],
                                       const Offset (&strides)[OPERANDS][SPFT_DIMENSIONS], Offset (&offsets)[OPERANDS]) {
#pragma unroll
  for (int o = 0; o < OPERANDS; o++) offsets[o] = 0;
#pragma unroll
  for (int d = SPFT_DIMENSIONS - 1; d >= 0; d--) {
    if (d < SPFT_DIMENSIONS - rank) break;
    const bool last = d == SPFT_DIMENSIONS - rank;
    const Index rest = last ? 0 : index / sizes[d];
    const Offset at = (Offset)(index - rest * sizes[d]);
#pragma unroll
    for (int o = 0; o < OPERANDS; o++) offsets[o] += at * strides[o][d];
    index = rest;
  }
}
