// Every row of a matrix filled with the same numbers, or the same numbers added to it: a bias, or the kept ones of it.
#include "spft.cuh"

// to[t, j] = from[indices ? indices[j] : j] for j < columns; rows of `to` lie `stride` elements apart. FROM and TO are types of spft.cuh.
extern "C" __global__ void fill_rows(const FROM* from, const int* indices, TO* to, i64 rows, int columns, int stride) {
  const i64 size = rows * columns;
  const i64 step = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
    const int j = (int)(i % columns);
    to[i / columns * stride + j] = from_float<TO>(to_float(from[indices ? indices[j] : j]));
  }
}

// to[t, j] += from[j].
extern "C" __global__ void add_rows(const FROM* from, TO* to, i64 rows, int columns) {
  const i64 size = rows * columns;
  const i64 step = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
    to[i] = from_float<TO>(to_float(to[i]) + to_float(from[i % columns]));
  }
}
