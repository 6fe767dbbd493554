// Eight numbers at a time: 16-byte accesses where rows and addresses allow them (`aligned`), else number by number. Of a row's last octet there
// may be fewer than eight left.
#pragma once
#include "spft.cuh"

template <typename T> __device__ __forceinline__ void load_octet(const T* from, i64 left, bool aligned, float (&to)[8]) {
  if (aligned && left >= 8) {
    load_vector(from, to);
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; i++) to[i] = i < left ? to_float(from[i]) : 0.0f;
}

template <typename T> __device__ __forceinline__ void store_octet(T* to, i64 left, bool aligned, const float (&from)[8]) {
  if (aligned && left >= 8) {
    store_vector(to, from);
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; i++) {
    if (i < left) to[i] = from_float<T>(from[i]);
  }
}
