// Where columns are among kept ones.
#pragma once
#include "spft.cuh"

// Of N neighbouring columns from `column` on: their places in the `kept` ascending indices, -1 of those that are not among them.
template <int N> __device__ __forceinline__ void places_of(const int* indices, int kept, int column, int (&place)[N]) {
  int low = 0, high = kept;
  while (low < high) {
    const int middle = (low + high) >> 1;
    if (indices[middle] < column) low = middle + 1;
    else high = middle;
  }
#pragma unroll
  for (int i = 0; i < N; i++) place[i] = low < kept && indices[low] == column + i ? low++ : -1;
}
