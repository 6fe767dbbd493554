// E4M3 numbers (one byte: sign, four bits of exponent with bias 7, three of fraction; no infinity, 448 the greatest, 0x7f NaN) and the scales of rows.
//
// Scales are powers of two, so that a code is the number rounded to four significant bits, whatever its neighbours are, and codes of weights are
// exact in bf16. A scale brings the greatest number of a row to between 224 and 448; what is below 2^-17 of it loses bits, below 2^-19 all.
#pragma once
#include "octets.cuh"

struct e4m3 {
  u8 bits;
};

__device__ __forceinline__ float to_float(e4m3 x) {
  const u32 magnitude = x.bits & 0x7fu, sign = (u32)(x.bits & 0x80u) << 24;
  if (magnitude == 0x7fu) return __uint_as_float(0x7fc00000u);
  // The fields in a float's places, of which the exponent is 120 too small; subnormals come out right too.
  return __uint_as_float(sign | __float_as_uint(__uint_as_float(magnitude << 20) * 0x1p120f));
}

__device__ __forceinline__ u32 float_to_e4m3(float x) {
  const u32 bits = __float_as_uint(x), magnitude = bits & 0x7fffffffu, sign = bits >> 24 & 0x80u;
  if (magnitude > 0x7f800000u) return 0x7fu;
  if (magnitude >= 0x43e00000u) return sign | 0x7eu;  // 448
  // Below 2^-6 a multiple of 2^-9, which is the last place of numbers from 2^14 on.
  if (magnitude < 0x3c800000u) return sign | (__float_as_uint(__uint_as_float(magnitude) + 0x1p14f) - 0x46800000u);
  return sign | (((magnitude + 0x7ffffu + (magnitude >> 20 & 1u)) >> 20) - 960u);
}

// Four numbers in a register, the first in the lowest byte.
__device__ __forceinline__ u32 pack_e4m3(float a, float b, float c, float d) {
#ifdef PTX_E4M3
  return (u32)ptx_floats_to_e4m3x2(a, b) | (u32)ptx_floats_to_e4m3x2(c, d) << 16;
#else
  return float_to_e4m3(a) | float_to_e4m3(b) << 8 | float_to_e4m3(c) << 16 | float_to_e4m3(d) << 24;
#endif
}

template <> __device__ __forceinline__ e4m3 from_float<e4m3>(float x) { return e4m3{(u8)float_to_e4m3(x)}; }

// Eight numbers as they are stored.
__device__ __forceinline__ void unpack_e4m3(const Words2& words, float (&to)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    const u16 pair = (u16)(words.word[i / 4] >> 8 * (i % 4));
#ifdef PTX_E4M3
    ptx_e4m3x2_to_floats(pair, to[i], to[i + 1]);
#else
    to[i] = to_float(e4m3{(u8)pair});
    to[i + 1] = to_float(e4m3{(u8)(pair >> 8)});
#endif
  }
}

template <int N> __device__ __forceinline__ void load_vector(const e4m3* from, float (&to)[N]) {
  static_assert(N == 8, "a full-width load has eight numbers");
  unpack_e4m3(*(const Words2*)from, to);
}
template <int N> __device__ __forceinline__ void store_vector(e4m3* to, const float (&from)[N]) {
  static_assert(N == 8, "a full-width store has eight numbers");
  *(Words2*)to = Words2{{pack_e4m3(from[0], from[1], from[2], from[3]), pack_e4m3(from[4], from[5], from[6], from[7])}};
}

// |x| as an integer that grows with it; NaN is the greatest, so that it wins a maximum.
__device__ __forceinline__ u32 magnitude_of(float x) { return __float_as_uint(x) & 0x7fffffffu; }

// The power of two to divide by where `most` is the greatest magnitude. NaN for NaN and infinity: they shall not be lost in codes.
__device__ __forceinline__ float scale_for(u32 most) {
  if (most >= 0x7f800000u) return __uint_as_float(0x7fc00000u);
  // 1.75 * 2^8 is the greatest code: the exponent less 8, or less 7 where the fraction is above 0.75. Kept where the inverse is a number too.
  const int exponent = (int)(most >> 23) - ((most & 0x7fffffu) > 0x600000u ? 7 : 8);
  return most == 0 ? 1.0f : __uint_as_float((u32)max(exponent, 4) << 23);
}
// 1 / scale of a power of two.
__device__ __forceinline__ float inverse_of(float scale) { return __uint_as_float(0x7f000000u - __float_as_uint(scale)); }

// The greatest magnitude among eight numbers and `most`.
template <typename T> __device__ __forceinline__ u32 most_of(const Octet<T>& octet, u32 most) {
#pragma unroll
  for (int i = 0; i < 8; i++) most = max(most, magnitude_of(octet[i]));
  return most;
}
// Of bf16 two at a time, as they are halves of floats whose order is that of their bits.
template <> __device__ __forceinline__ u32 most_of(const Octet<bf16>& octet, u32 most) {
  u32 pairs = octet.pair[0] & 0x7fff7fffu;
#pragma unroll
  for (int i = 1; i < 4; i++) pairs = __vmaxu2(pairs, octet.pair[i] & 0x7fff7fffu);
  return max(most, max(pairs << 16, pairs & 0xffff0000u));
}

// The greatest of all threads of a block, whose count must be a multiple of 32. `of_warp` is 32 numbers of shared memory.
__device__ __forceinline__ u32 block_most(u32 x, u32* of_warp) {
  x = __reduce_max_sync(0xffffffffu, x);
  if ((threadIdx.x & 31) == 0) of_warp[threadIdx.x >> 5] = x;
  __syncthreads();
  x = (threadIdx.x & 31) < (blockDim.x >> 5) ? of_warp[threadIdx.x & 31] : 0u;
  return __reduce_max_sync(0xffffffffu, x);
}
