// Scores of a gated MLP's channels by two low-rank predictors: the norm over rows of silu(x·a₁·b₁) ⊙ (x·a₂·b₂). X, TYPE_A and TYPE_B are the types of x, of
// both a, of both b.
#include "octets.cuh"

#define RANKS 8

// 1 / (1 + e^-z), without a slow division.
__device__ __forceinline__ float sigmoid(float z) { return __fdividef(1.0f, 1.0f + ptx_exp2(-1.4426950408889634f * z)); }

#ifdef TYPE_A
#define WARPS 8

// p[side, row, k] = Σ x[row, i]·a[i, k]. A block has WARPS warps, blockDim.y rows (x), one of both a (y) and eight k (z). Many rows have a warp each: it need
// not wait for others, and those beside it find a in the first cache.
extern "C" __global__ void predict_low_rank(const X* x, const TYPE_A* gate, const TYPE_A* up, float* p, int rows, int n, int r) {
  const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x & 31, first = RANKS * blockIdx.z;
  const int end = row < rows ? n : 0, step = blockDim.x, warps = step >> 5, warp = threadIdx.y * warps + (threadIdx.x >> 5);
  const TYPE_A* const a = blockIdx.y == 0 ? gate : up;
  const bool whole = r == RANKS && ((u64)a & 15) == 0;
  x += (i64)row * n;
  float sum[RANKS] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
  if (whole) {
#pragma unroll 4
    for (int i = threadIdx.x; i < end; i += step) {
      float of[RANKS];
      load_vector<RANKS>(a + (i64)i * RANKS, of);
      const float v = to_float(x[i]);
#pragma unroll
      for (int k = 0; k < RANKS; k++) sum[k] += v * of[k];
    }
  } else {
#pragma unroll 4
    for (int i = threadIdx.x; i < end; i += step) {
      const float v = to_float(x[i]);
#pragma unroll
      for (int k = 0; k < RANKS; k++) {
        if (first + k < r) sum[k] += v * to_float(a[(i64)i * r + first + k]);
      }
    }
  }
  __shared__ float of_warp[WARPS][RANKS];
#pragma unroll
  for (int k = 0; k < RANKS; k++) {
    const float total = warp_sum(sum[k]);
    if (lane == k) of_warp[warp][k] = total;
  }
  __syncthreads();
  const int k = threadIdx.x;
  if (k >= RANKS || first + k >= r || row >= rows) return;
  float total = 0.0f;
  for (int w = 0; w < warps; w++) total += of_warp[warp + w][k];
  p[((i64)blockIdx.y * rows + row) * r + first + k] = total;
}
#endif

#ifdef TYPE_B
#define LINES 32

// y[j] = norm over rows of silu(Σₖ p[0, row, k]·gate[k, j])·(Σₖ p[1, row, k]·up[k, j]). A block has 32 channels (x), each of its LINES lines of threads (y) every
// LINES-th row of them: there are few channels and hundreds of rows.
extern "C" __global__ void gated_scores(const float* p, const TYPE_B* gate, const TYPE_B* up, float* y, int rows, int n, int r) {
  const int j = blockIdx.x * 32 + threadIdx.x;
  const float* second = p + (i64)rows * r;
  float squares = 0.0f;
  if (j < n && r <= RANKS) {
    float g[RANKS], u[RANKS];
#pragma unroll
    for (int k = 0; k < RANKS; k++) {
      g[k] = k < r ? to_float(gate[(i64)k * n + j]) : 0.0f;
      u[k] = k < r ? to_float(up[(i64)k * n + j]) : 0.0f;
    }
#pragma unroll 2
    for (int row = threadIdx.y; row < rows; row += LINES) {
      float a = 0.0f, b = 0.0f, of_gate[RANKS], of_up[RANKS];
      if (r == RANKS) {
        load_vector<RANKS>(p + row * RANKS, of_gate);
        load_vector<RANKS>(second + row * RANKS, of_up);
      } else {
#pragma unroll
        for (int k = 0; k < RANKS; k++) {
          of_gate[k] = k < r ? p[row * r + k] : 0.0f;
          of_up[k] = k < r ? second[row * r + k] : 0.0f;
        }
      }
#pragma unroll
      for (int k = 0; k < RANKS; k++) {
        a += of_gate[k] * g[k];
        b += of_up[k] * u[k];
      }
      const float value = a * sigmoid(a) * b;
      squares += value * value;
    }
  } else if (j < n) {
    for (int row = threadIdx.y; row < rows; row += LINES) {
      float a = 0.0f, b = 0.0f;
      for (int k = 0; k < r; k++) {
        a += p[(i64)row * r + k] * to_float(gate[(i64)k * n + j]);
        b += second[(i64)row * r + k] * to_float(up[(i64)k * n + j]);
      }
      const float value = a * sigmoid(a) * b;
      squares += value * value;
    }
  }
  __shared__ float of_line[LINES][32];
  of_line[threadIdx.y][threadIdx.x] = squares;
  __syncthreads();
  if (threadIdx.y > 0 || j >= n) return;
  float sum = 0.0f;
#pragma unroll
  for (int line = 0; line < LINES; line++) sum += of_line[line][threadIdx.x];
  y[j] = sqrtf(sum);
}
#endif
