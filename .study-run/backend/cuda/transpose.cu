// Transposes matrices of WORD through shared memory, so that loads and stores both run along rows: to[.., i, j] = from[.., j, i] of a batch
// in two dimensions, whose matrices lie anywhere. The result is contiguous.
#include "elements.cuh"

#define TILE 32
#define ROWS 8

extern "C" __global__ void transpose_tiles(const WORD* from, WORD* to, int batch0, int batch1, i64 stride0, i64 stride1, int rows, int columns,
                                           i64 row_stride, i64 tiles) {
  __shared__ WORD tile[TILE][TILE + 1];
  const int across = (columns + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
  const int x = threadIdx.x, y = threadIdx.y;
  for (i64 t = blockIdx.x; t < tiles; t += gridDim.x) {
    const i64 matrix = t / ((i64)across * down);
    const int place = (int)(t - matrix * across * down);
    const int i0 = place / across * TILE, j0 = place % across * TILE;
    // Element (i, j) of the result lies at j * row_stride + i.
    const WORD* source = from + matrix / batch1 * stride0 + matrix % batch1 * stride1;
    for (int n = y; n < TILE; n += ROWS) {
      if (j0 + n < columns && i0 + x < rows) tile[n][x] = source[(j0 + n) * row_stride + i0 + x];
    }
    __syncthreads();
    WORD* target = to + matrix * rows * columns;
    for (int n = y; n < TILE; n += ROWS) {
      if (i0 + n < rows && j0 + x < columns) target[(i64)(i0 + n) * columns + j0 + x] = tile[x][n];
    }
    __syncthreads();
  }
}
