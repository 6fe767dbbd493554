// x [rows, columns] times a weight for each column, in place. A thread has four numbers of a row: columns are a multiple of 4.
#include "spft.cuh"

extern "C" __global__ void scale_columns(float* x, const WEIGHT* weight, int columns, i64 size) {
  const i64 at = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * 4;
  if (at >= size) return;
  const int column = (int)(at % columns);
  float v[4];
  load_vector<4>(x + at, v);
#pragma unroll
  for (int i = 0; i < 4; i++) v[i] *= to_float(weight[column + i]);
  store_vector<4>(x + at, v);
}
