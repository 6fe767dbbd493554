// What every kernel shares: number types, loads and stores in the physical type of a tensor, reductions over a warp and a block.
//
// No header of the CUDA toolkit is included, as NVRTC may be there without them. Kernels are plain CUDA C++17; with SPFT_EMULATED they are
// compiled for the host instead (emulator/), where threads of a block are fibers.
#pragma once

#ifdef SPFT_EMULATED
#include "emulated.cuh"
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

// A bf16 number: the upper half of a float.
struct bf16 {
  u16 bits;
};

#include "ptx.cuh"

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(int x) { return (float)x; }
__device__ __forceinline__ float to_float(u8 x) { return (float)x; }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float((u32)x.bits << 16); }

// Rounds to nearest, ties to even, as every conversion here.
template <typename T> __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) { return bf16{ptx_float_to_bf16(x)}; }

// Two bf16 in a register, the first in the lower half.
__device__ __forceinline__ u32 pack_bf16(float low, float high) { return ptx_floats_to_bf16x2(low, high); }
__device__ __forceinline__ float low_float(u32 pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high_float(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }

// 8 and 16 bytes, for loads and stores of such a width.
struct alignas(8) Words2 {
  u32 word[2];
};
struct alignas(16) Words4 {
  u32 word[4];
};

// N numbers of a row as floats; the address must be a multiple of their size in bytes. N is 4 or 8.
template <int N> __device__ __forceinline__ void load_vector(const float* from, float (&to)[N]) {
#pragma unroll
  for (int n = 0; n < N; n += 4) {
    const Words4 words = *(const Words4*)(from + n);
#pragma unroll
    for (int i = 0; i < 4; i++) to[n + i] = __uint_as_float(words.word[i]);
  }
}
template <int N> __device__ __forceinline__ void load_vector(const bf16* from, float (&to)[N]) {
  static_assert(N == 8, "a full-width load has eight bf16");
  const Words4 words = *(const Words4*)from;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    to[2 * i] = low_float(words.word[i]);
    to[2 * i + 1] = high_float(words.word[i]);
  }
}
template <int N> __device__ __forceinline__ void store_vector(float* to, const float (&from)[N]) {
#pragma unroll
  for (int n = 0; n < N; n += 4) {
    Words4 words;
#pragma unroll
    for (int i = 0; i < 4; i++) words.word[i] = __float_as_uint(from[n + i]);
    *(Words4*)(to + n) = words;
  }
}
template <int N> __device__ __forceinline__ void store_vector(bf16* to, const float (&from)[N]) {
  static_assert(N == 8, "a full-width store has eight bf16");
  Words4 words;
#pragma unroll
  for (int i = 0; i < 4; i++) words.word[i] = pack_bf16(from[2 * i], from[2 * i + 1]);
  *(Words4*)to = words;
}

// Of all 32 threads of a warp; every one gets the result.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}

// Of all threads of a block, whose count must be a multiple of 32; every one gets the result. Ends with a barrier.
__device__ __forceinline__ float block_sum(float x) {
  __shared__ float of_warp[32];
  x = warp_sum(x);
  if ((threadIdx.x & 31) == 0) of_warp[threadIdx.x >> 5] = x;
  __syncthreads();
  x = (threadIdx.x & 31) < (blockDim.x >> 5) ? of_warp[threadIdx.x & 31] : 0.0f;
  x = warp_sum(x);
  __syncthreads();
  return x;
}
__device__ __forceinline__ float block_max(float x) {
  __shared__ float of_warp[32];
  x = warp_max(x);
  if ((threadIdx.x & 31) == 0) of_warp[threadIdx.x >> 5] = x;
  __syncthreads();
  x = (threadIdx.x & 31) < (blockDim.x >> 5) ? of_warp[threadIdx.x & 31] : -__uint_as_float(0x7f800000u);
  x = warp_max(x);
  __syncthreads();
  return x;
}

// Shared memory whose size the launch says. One name a kernel. (1024: where a 128-byte swizzle of wgmma begins.)
#ifndef SPFT_EMULATED
#define SPFT_DYNAMIC_SHARED(type, name)                                  \
  extern __shared__ __align__(1024) unsigned char spft_dynamic_shared[]; \
  type* name = (type*)spft_dynamic_shared
#endif
