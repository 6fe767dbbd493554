// What kernels with Hopper's products of warpgroups have in common: how such a product finds an operand in shared memory, and what keeps the compiler from its registers.
#pragma once
#include "spft.cuh"

// Of an operand that lies in panels of 128 bytes a row with the 128-byte swizzle, by its address in shared memory: start, distance of panels (counts where rows
// are the reduced dimension), distance of eight rows, the swizzle.
__device__ __forceinline__ u64 descriptor_at(u32 address, u32 panel_bytes) {
  return (u64)((address & 0x3ffff) >> 4) | (u64)(panel_bytes / 16) << 16 | (u64)(1024 / 16) << 32 | (u64)1 << 62;
}

// Around products: keeps uses of these registers, which they read or write meanwhile, on their side of this place.
template <typename T, int N> __device__ __forceinline__ void keep(T (&x)[N][4]) {
#pragma unroll
  for (int n = 0; n < N; n++) {
#pragma unroll
    for (int e = 0; e < 4; e++) ptx_keep(x[n][e]);
  }
}
