// Norms of the columns of x·a·b without the product: √(bⱼᵀ(PᵀP)bⱼ) with P = x·a.
#include "octets.cuh"

// Predictors that read x together.
#define MOST 3

#ifdef TYPE_A
// What gram_parts multiplies by, of a [n, r], r ≤ 8, n a multiple of 32: for each 32 rows of it what each thread of a warp wants of them, split into two bf16 so that
// it counts with 16 bits of mantissa; first the high parts of all, then the low ones. A thread of n has one thread's.
extern "C" __global__ void gram_fragments(const TYPE_A* a, Words4* fragments, int n, int r) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= n) return;
  const int lane = at & 31, first = at - lane, g = lane >> 2, row = first + 8 * (lane & 3);
  Words4 high, low;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const i64 from = (i64)(row + 2 * i) * r + g;
    const float u = g < r ? to_float(a[from]) : 0.0f, v = g < r ? to_float(a[from + r]) : 0.0f;
    high.word[i] = pack_bf16(u, v);
    low.word[i] = pack_bf16(u - low_float(high.word[i]), v - high_float(high.word[i]));
  }
  fragments[2 * first + lane] = high;
  fragments[2 * first + 32 + lane] = low;
}

// One pass over x [rows, n] (bf16; n a multiple of 32, rows on 16 bytes): for each of `count` predictors the Gram matrix PᵀP [8, 8] of each 32 rows,
// parts[predictor, block], of a as gram_fragments gives it. 16 warps share out the columns of x, 32 at a time, and multiply on tensor cores. Thread 4·g + q
// of a warp loads 8 numbers of rows g, g + 8, …: as inner index of the product their order does not matter, so they are fragments as they are.
#define WARPS 16
extern "C" __global__ void __launch_bounds__(32 * WARPS) gram_parts(const bf16* x, const Words4* a0, const Words4* a1, const Words4* a2,
                                                                   float* parts, int rows, int n, int count) {
  __shared__ float p[WARPS][32][9];
  const Words4* const as[MOST] = {a0, a1, a2};
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3;
  const i64 first = (i64)32 * blockIdx.x;
  float sum[MOST][2][4];
#pragma unroll
  for (int i = 0; i < MOST * 8; i++) sum[i >> 3][i >> 2 & 1][i & 3] = 0.0f;
#pragma unroll 2
  for (int k = 32 * warp; k < n; k += 32 * WARPS) {
    const int column = k + 8 * q;
    Words4 x4[4];
#pragma unroll
    for (int m = 0; m < 4; m++) {
      const i64 row = first + 8 * m + g;
      if (row < rows) x4[m] = *(const Words4*)(x + row * n + column);
      else x4[m] = Words4{{0u, 0u, 0u, 0u}};
    }
#pragma unroll
    for (int predictor = 0; predictor < MOST; predictor++) {
      if (predictor >= count) break;
      const Words4 high = as[predictor][2 * k + lane], low = as[predictor][2 * k + 32 + lane];
#pragma unroll
      for (int m = 0; m < 2; m++) {
#pragma unroll
        for (int s = 0; s < 2; s++) {
          const u32 fragment[4] = {x4[2 * m].word[2 * s], x4[2 * m + 1].word[2 * s], x4[2 * m].word[2 * s + 1], x4[2 * m + 1].word[2 * s + 1]};
          ptx_mma_16816(sum[predictor][m], fragment, high.word[2 * s], high.word[2 * s + 1]);
          ptx_mma_16816(sum[predictor][m], fragment, low.word[2 * s], low.word[2 * s + 1]);
        }
      }
    }
  }
#pragma unroll
  for (int predictor = 0; predictor < MOST; predictor++) {
    if (predictor >= count) break;
    __syncthreads();
#pragma unroll
    for (int m = 0; m < 2; m++) {
      p[warp][16 * m + g][2 * q] = sum[predictor][m][0];
      p[warp][16 * m + g][2 * q + 1] = sum[predictor][m][1];
      p[warp][16 * m + g + 8][2 * q] = sum[predictor][m][2];
      p[warp][16 * m + g + 8][2 * q + 1] = sum[predictor][m][3];
    }
    __syncthreads();
    // The warps' sums in turn: P of 32 rows, in the place of the first warp's.
    if (threadIdx.x < 256) {
      const int row = threadIdx.x >> 3, c = threadIdx.x & 7;
      float total = 0.0f;
#pragma unroll
      for (int w = 0; w < WARPS; w++) total += p[w][row][c];
      p[0][row][c] = total;
    }
    __syncthreads();
    if (threadIdx.x < 64) {
      const int i = threadIdx.x >> 3, j = threadIdx.x & 7;
      float product = 0.0f;
      for (int row = 0; row < 32; row++) product += p[0][row][i] * p[0][row][j];
      parts[64 * ((i64)predictor * gridDim.x + blockIdx.x) + threadIdx.x] = product;
    }
  }
}
#endif

#ifdef TYPE_B
// y[j] = √max(0, bⱼᵀ·G·bⱼ) with G [r, r] the upper left of the sum of `count` parts [side, side]; b is [r, n]. G is kept in shared memory. blockIdx.y
// is the predictor. Of several parts, which are of 64 numbers then, four threads each have a number: blocks of 256.
extern "C" __global__ void gram_scores(const float* parts, const TYPE_B* b0, const TYPE_B* b1, const TYPE_B* b2, float* y0, float* y1, float* y2,
                                       int count, int side, int r0, int r1, int r2, int n0, int n1, int n2) {
  SPFT_DYNAMIC_SHARED(float, gram);
  __shared__ float quarters[4][64];
  const int predictor = blockIdx.y;
  const TYPE_B* b = predictor == 0 ? b0 : predictor == 1 ? b1 : b2;
  float* y = predictor == 0 ? y0 : predictor == 1 ? y1 : y2;
  const int r = predictor == 0 ? r0 : predictor == 1 ? r1 : r2, n = predictor == 0 ? n0 : predictor == 1 ? n1 : n2;
  if ((i64)blockIdx.x * blockDim.x >= n) return;
  parts += (i64)predictor * count * side * side;
  if (side * side == 64) {
    const int e = threadIdx.x & 63, quarter = threadIdx.x >> 6;
    float sum = 0.0f;
#pragma unroll 16
    for (int k = quarter; k < count; k += 4) sum += parts[(i64)k * 64 + e];
    quarters[quarter][e] = sum;
    __syncthreads();
    const int i = e >> 3, j = e & 7;
    if (threadIdx.x < 64 && i < r && j < r) gram[i * r + j] = quarters[0][e] + quarters[1][e] + quarters[2][e] + quarters[3][e];
  } else {
    for (int e = threadIdx.x; e < r * r; e += blockDim.x) gram[e] = parts[e];
  }
  __syncthreads();
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= n) return;
  float squares = 0.0f;
  for (int i = 0; i < r; i++) {
    float sum = 0.0f;
    for (int j = 0; j < r; j++) sum += gram[i * r + j] * to_float(b[(i64)j * n + column]);
    squares += sum * to_float(b[(i64)i * n + column]);
  }
  y[column] = sqrtf(fmaxf(0.0f, squares));
}

// y[i, j] = b[i, j]·dy[j]/scores[j], zero where a score is.
extern "C" __global__ void weigh_columns(const TYPE_B* b, const float* dy, const float* scores, float* y, int r, int n) {
  const i64 e = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (e >= (i64)r * n) return;
  const int j = (int)(e % n);
  y[e] = scores[j] == 0.0f ? 0.0f : to_float(b[e]) * (dy[j] / scores[j]);
}
#endif
