// What elementwise kernels share: packs of neighbours, and the number type that a tensor's elements are computed in.
#pragma once
#include "spft.cuh"

// N neighbours, moved in as few accesses as their type allows; their address must be a multiple of the pack's alignment.
template <typename T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
  T item[N];
};

// Floats of any width are computed in float, int32 and bool in int.
__device__ __forceinline__ float number(float x) { return x; }
__device__ __forceinline__ float number(bf16 x) { return to_float(x); }
__device__ __forceinline__ int number(int x) { return x; }
__device__ __forceinline__ int number(u8 x) { return x; }

// A number as an element of a tensor; to integers by truncation. Other than from_float it keeps an int an int.
template <typename T> struct Stored;
template <> struct Stored<float> {
  static __device__ __forceinline__ float of(float x) { return x; }
};
template <> struct Stored<bf16> {
  static __device__ __forceinline__ bf16 of(float x) { return from_float<bf16>(x); }
};
template <> struct Stored<int> {
  static __device__ __forceinline__ int of(int x) { return x; }
  static __device__ __forceinline__ int of(float x) { return x != x ? 0 : (int)x; }
};
template <> struct Stored<u8> {
  static __device__ __forceinline__ u8 of(int x) { return (u8)x; }
  static __device__ __forceinline__ u8 of(float x) { return x != x ? 0 : (u8)(int)x; }
};

#define SPFT_INFINITY __uint_as_float(0x7f800000u)
#define SPFT_NAN __uint_as_float(0x7fc00000u)

// Greatest and least as JavaScript has them: NaN wins.
__device__ __forceinline__ float greater_of(float a, float b) { return a != a ? a : b != b ? b : fmaxf(a, b); }
__device__ __forceinline__ int greater_of(int a, int b) { return a > b ? a : b; }
__device__ __forceinline__ float lesser_of(float a, float b) { return a != a ? a : b != b ? b : fminf(a, b); }
__device__ __forceinline__ int lesser_of(int a, int b) { return a < b ? a : b; }

// This thread's first index and the step to its next, of a one-dimensional grid.
__device__ __forceinline__ i64 first_index() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ i64 index_step() { return (i64)gridDim.x * blockDim.x; }
