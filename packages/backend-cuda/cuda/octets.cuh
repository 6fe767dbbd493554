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

// Eight numbers in registers as they are stored, so that more of them have room.
template <typename T> struct Octet;
template <> struct Octet<bf16> {
  u32 pair[4];
  __device__ __forceinline__ void load(const bf16* from, i64 left, bool aligned) {
    if (aligned && left >= 8) {
      const Words4 words = *(const Words4*)from;
#pragma unroll
      for (int i = 0; i < 4; i++) pair[i] = words.word[i];
      return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const u32 low = 2 * i < left ? from[2 * i].bits : 0, high = 2 * i + 1 < left ? from[2 * i + 1].bits : 0;
      pair[i] = low | high << 16;
    }
  }
  __device__ __forceinline__ void hold(const float (&from)[8]) {
#pragma unroll
    for (int i = 0; i < 4; i++) pair[i] = pack_bf16(from[2 * i], from[2 * i + 1]);
  }
  // To a multiple of 16 bytes.
  __device__ __forceinline__ void store(bf16* to) const { *(Words4*)to = Words4{{pair[0], pair[1], pair[2], pair[3]}}; }
  __device__ __forceinline__ float operator[](int i) const { return i & 1 ? high_float(pair[i / 2]) : low_float(pair[i / 2]); }
};
template <> struct Octet<float> {
  float number[8];
  __device__ __forceinline__ void load(const float* from, i64 left, bool aligned) { load_octet(from, left, aligned, number); }
  __device__ __forceinline__ void hold(const float (&from)[8]) {
#pragma unroll
    for (int i = 0; i < 8; i++) number[i] = from[i];
  }
  __device__ __forceinline__ void store(float* to) const { store_vector(to, number); }
  __device__ __forceinline__ float operator[](int i) const { return number[i]; }
};
