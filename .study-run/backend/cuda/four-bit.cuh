// Frozen matrices in codes of four bits (NF4 and FP4 of bitsandbytes): what lies beside the codes, and numbers of them. The code of number 2k is the high
// nibble of byte k. Number n is book[code] · scale of its block, a product of floats, rounded to the type that the matrix was in: exactly that, in no fused
// multiply-add, so that every way to read a matrix gives the same bits.
#pragma once
#include "octets.cuh"

// What the numbers are rounded to; for bf16 that is written as bf16 there is nothing to do.
#define NUMBERS_EXACT 0
#define NUMBERS_BF16 1
#define NUMBERS_F16 2

// At the address that is called `extra`; src/forms/four-bit.ts writes it, and the scales behind it.
struct FourBit {
  float map[16];
  // Bytes from here: 256 floats and the scales of scales, or 0 where scales are floats.
  int nested_map, nested_absmax;
  // Bytes from here: scales of blocks, floats, or codes of them.
  int absmax;
  // Binary logarithms of how many numbers, or scales, share a scale.
  int block_shift, nested_shift;
  float offset;
  int unused[10];
};

// Scales of blocks of numbers; where they lie is read once.
struct Scales {
  const u8* absmax;
  const float* nested_map;
  const float* nested_absmax;
  int block_shift, nested_shift;
  float offset;
  __device__ __forceinline__ Scales(const u8* extra) {
    const FourBit* of = (const FourBit*)extra;
    absmax = extra + of->absmax;
    nested_map = of->nested_map == 0 ? nullptr : (const float*)(extra + of->nested_map);
    nested_absmax = (const float*)(extra + of->nested_absmax);
    block_shift = of->block_shift, nested_shift = of->nested_shift, offset = of->offset;
  }
  __device__ __forceinline__ float of_block(i64 block) const {
    if (!nested_map) return ((const float*)absmax)[block];
    return __fadd_rn(__fmul_rn(nested_map[absmax[block]], nested_absmax[block >> nested_shift]), offset);
  }
};

// x as float16 has it: to the nearest, ties to even.
__device__ __forceinline__ float rounded_to_f16(float x) {
  const float size = fabsf(x);
  if (!(size < 65520.0f)) return x != x ? x : copysignf(__uint_as_float(0x7f800000u), x);
  // Ten bits behind the leading one, but no step below 2^-24. To add and take away 1.5 · 2^23 steps rounds to whole ones.
  const int exponent = max((int)(__float_as_uint(size) >> 23) - 127, -14);
  const float far = 1.5f * __uint_as_float((u32)(exponent - 10 + 23 + 127) << 23);
  return copysignf(__fsub_rn(__fadd_rn(size, far), far), x);
}

template <int Numbers> __device__ __forceinline__ float number_of(float book, float scale) {
  const float x = __fmul_rn(book, scale);
  return Numbers == NUMBERS_BF16 ? to_float(from_float<bf16>(x)) : Numbers == NUMBERS_F16 ? rounded_to_f16(x) : x;
}

// Eight numbers of one block.
template <int Numbers> __device__ __forceinline__ void numbers_of(u32 codes, const float* book, float scale, float (&to)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i++) to[i] = number_of<Numbers>(book[codes >> (8 * (i / 2) + (i & 1 ? 0 : 4)) & 15u], scale);
}

// The sixteen numbers in shared memory, each in a bank of its own: all threads of the block must come here.
__device__ __forceinline__ void share_book(const u8* extra, float (&book)[16]) {
  const int thread = threadIdx.y * blockDim.x + threadIdx.x;
  if (thread < 16) book[thread] = ((const FourBit*)extra)->map[thread];
  __syncthreads();
}
