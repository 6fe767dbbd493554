// Sums down the columns of matrices [rows, n]. A block of 8 by 32 threads has 64 columns, each thread eight of them in every 32nd row; what the
// warps have is added up in a fixed order. TYPE_A and TYPE_B are the types of the operands.
#include "column-sums.cuh"
#include "octets.cuh"

#define UNROLL 4

#ifdef TYPE_A
// partial[chunk, c] = Σ a[t, c]·b[t, c] over the chunk's `count` rows; blockIdx.y is the chunk. With `root`, its square root: of one chunk.
extern "C" __global__ void column_dots(const TYPE_A* a, const TYPE_B* b, float* partial, int rows, int n, int count, int root, int aligned) {
  const int column = 64 * blockIdx.x + 8 * threadIdx.x, left = n - column;
  const i64 begin = (i64)blockIdx.y * count, end = min((i64)rows, begin + count);
  float sum[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
  if (left > 0) {
    for (i64 row = begin + threadIdx.y; row < end; row += UNROLL * blockDim.y) {
      float x[UNROLL][8], y[UNROLL][8];
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
        const i64 r = row + u * blockDim.y;
        const int there = r < end ? left : 0;
        load_octet(a + (there ? r * n + column : 0), there, aligned, x[u]);
        load_octet(b + (there ? r * n + column : 0), there, aligned, y[u]);
      }
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] += x[u][i] * y[u][i];
      }
    }
  }
  sum_rows(sum);
  if (threadIdx.y == 0 && left > 0) store_sums(partial + (i64)blockIdx.y * n + column, sum, left, root);
}
// The same of a alone, which is read once.
extern "C" __global__ void column_squares(const TYPE_A* a, float* partial, int rows, int n, int count, int root, int aligned) {
  const int column = 64 * blockIdx.x + 8 * threadIdx.x, left = n - column;
  const i64 begin = (i64)blockIdx.y * count, end = min((i64)rows, begin + count);
  float sum[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
  if (left > 0) {
    for (i64 row = begin + threadIdx.y; row < end; row += UNROLL * blockDim.y) {
      float x[UNROLL][8];
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
        const i64 r = row + u * blockDim.y;
        const int there = r < end ? left : 0;
        load_octet(a + (there ? r * n + column : 0), there, aligned, x[u]);
      }
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] += x[u][i] * x[u][i];
      }
    }
  }
  sum_rows(sum);
  if (threadIdx.y == 0 && left > 0) store_sums(partial + (i64)blockIdx.y * n + column, sum, left, root);
}
#endif

// Σ over chunks of partial[chunk, c], or its square root.
extern "C" __global__ void column_totals(const float* partial, float* y, int n, int chunks, int root) {
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= n) return;
  float sum = 0.0f;
#pragma unroll 8
  for (int k = 0; k < chunks; k++) sum += partial[(i64)k * n + c];
  y[c] = root ? sqrtf(sum) : sum;
}

#ifdef X
// y[b, c] = the mean of x[row, c] over the rows of sequence b: `rows`[starts[b]] up to `rows`[starts[b + 1]]; 0 where it has none. blockIdx.y is b.
extern "C" __global__ void sequence_means(const X* x, const int* rows, const int* starts, Y* y, int n, int aligned) {
  const int column = 64 * blockIdx.x + 8 * threadIdx.x, left = n - column, b = blockIdx.y;
  const int end = starts[b + 1];
  float sum[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
  if (left > 0) {
    for (int at = starts[b] + threadIdx.y; at < end; at += UNROLL * blockDim.y) {
      float v[UNROLL][8];
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
        const int place = at + u * blockDim.y;
        const int there = place < end ? left : 0;
        load_octet(x + (there ? (i64)rows[place] * n + column : 0), there, aligned, v[u]);
      }
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] += v[u][i];
      }
    }
  }
  sum_rows(sum);
  if (threadIdx.y == 0 && left > 0) {
    const float share = end > starts[b] ? 1.0f / (float)(end - starts[b]) : 0.0f;
    for (int i = 0; i < 8; i++) {
      if (i < left) y[(i64)b * n + column + i] = from_float<Y>(sum[i] * share);
    }
  }
}
#endif
