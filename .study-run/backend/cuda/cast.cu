// Elements of one type as another: FROM and TO are types of spft.cuh. To bool is a test for zero, to int a truncation.
#include "spft.cuh"

template <typename To> __device__ __forceinline__ To convert(float x) { return from_float<To>(x); }
template <> __device__ __forceinline__ int convert<int>(float x) { return (int)x; }
template <> __device__ __forceinline__ u8 convert<u8>(float x) { return x != 0.0f; }

template <typename From, typename To> struct Cast {
  static __device__ __forceinline__ To of(From x) { return convert<To>(to_float(x)); }
};
template <typename From> struct Cast<From, From> {
  static __device__ __forceinline__ From of(From x) { return x; }
};
// Not by way of float, which holds integers up to 2^24 only.
template <> struct Cast<int, u8> {
  static __device__ __forceinline__ u8 of(int x) { return x != 0; }
};
template <> struct Cast<u8, int> {
  static __device__ __forceinline__ int of(u8 x) { return x; }
};

extern "C" __global__ void cast_elements(const FROM* from, TO* to, i64 size) {
  const i64 stride = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) to[i] = Cast<FROM, TO>::of(from[i]);
}
