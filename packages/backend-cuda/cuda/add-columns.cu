// y[row, indices[j]] += x[row, j] of matrices of X. A thread has eight neighbouring columns of `count` rows, AT_A_TIME of them under way.
#include "kept-columns.cuh"
#include "octets.cuh"

#define AT_A_TIME 4

extern "C" __global__ void add_columns(const X* x, const int* indices, X* y, int rows, int kept, int total, int count, int aligned) {
  const int column = 8 * (blockIdx.x * blockDim.x + threadIdx.x), left = total - column;
  if (left <= 0) return;
  int place[8];
  places_of(indices, kept, column, place);
  const i64 begin = (i64)blockIdx.y * count, end = min((i64)rows, begin + count);
  for (i64 row = begin; row < end; row += AT_A_TIME) {
    float sum[AT_A_TIME][8], more[AT_A_TIME][8];
#pragma unroll
    for (int u = 0; u < AT_A_TIME; u++) {
      const bool there = row + u < end;
      load_octet(y + (there ? (row + u) * total + column : 0), there ? left : 0, aligned, sum[u]);
#pragma unroll
      for (int i = 0; i < 8; i++) more[u][i] = there && place[i] >= 0 ? to_float(x[(row + u) * kept + place[i]]) : 0.0f;
    }
#pragma unroll
    for (int u = 0; u < AT_A_TIME; u++) {
      if (row + u >= end) break;
#pragma unroll
      for (int i = 0; i < 8; i++) sum[u][i] += more[u][i];
      store_octet(y + (row + u) * total + column, left, aligned, sum[u]);
    }
  }
}
