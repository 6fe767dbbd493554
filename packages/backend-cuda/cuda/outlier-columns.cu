// What is multiplied by the rests of outlier channels: their columns of a matrix of codes [rows, columns] once more, behind each row. Rows are `stride` apart.
#include "spft.cuh"

extern "C" __global__ void outlier_columns(u8* codes, const int* channels, int rows, int count, int columns, int stride) {
  const i64 all = (i64)rows * count;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < all; i += (i64)gridDim.x * blockDim.x) {
    const i64 row = i / count;
    const int n = (int)(i % count);
    u8* const line = codes + row * stride;
    line[columns + n] = line[channels[n]];
  }
}
