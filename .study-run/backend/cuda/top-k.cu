// Keys for sort.cu that put the greatest elements first, of equal ones the first; and the first `k` of each row after sorting.
#include "elements.cuh"

// Unsigned numbers in the order of the elements. A NaN is greater than anything or, negative, less.
__device__ __forceinline__ u32 ordered(float x) {
  const u32 bits = __float_as_uint(x == 0.0f ? 0.0f : x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ u32 ordered(int x) { return (u32)x ^ 0x80000000u; }

extern "C" __global__ void top_k_keys(const FROM* x, u64* keys, i64 rows, i64 n, i64 padded) {
  for (i64 i = first_index(); i < rows * padded; i += index_step()) {
    const i64 row = i / padded, at = i - row * padded;
    keys[i] = at < n ? (u64)~ordered(number(x[row * n + at])) << 32 | (u64)at : ~0ull;
  }
}

extern "C" __global__ void top_k_take(const FROM* x, const u64* keys, FROM* values, int* indices, i64 rows, i64 n, i64 padded, i64 k) {
  for (i64 i = first_index(); i < rows * k; i += index_step()) {
    const i64 row = i / k, at = (i64)(keys[row * padded + (i - row * k)] & 0xffffffffu);
    values[i] = x[row * n + at];
    indices[i] = (int)at;
  }
}
