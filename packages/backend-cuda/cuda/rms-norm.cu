// RMSNorm of rows of n numbers, and its gradient. A block has one row after the other and holds it in registers: each thread OCTETS octets of it,
// and of the weight, which it reads once. With one octet the next row is on its way while this one is summed. Rows that are longer are read twice
// instead (`_long`). X is the type of x, y and dy, W that of the weight.
#include "octets.cuh"

// Both sums over the block, in every thread, with one barrier: `turn` alternates between calls, so that a slow thread still finds its sums.
__device__ __forceinline__ void block_sums(float& a, float& b, int turn) {
  __shared__ float of_warp[2][2][32];
  a = warp_sum(a);
  b = warp_sum(b);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  if (lane == 0) {
    of_warp[turn][0][warp] = a;
    of_warp[turn][1][warp] = b;
  }
  __syncthreads();
  const bool has = lane < (blockDim.x >> 5);
  a = warp_sum(has ? of_warp[turn][0][lane] : 0.0f);
  b = warp_sum(has ? of_warp[turn][1][lane] : 0.0f);
}

#ifdef OCTETS
#define PREFETCH (OCTETS == 1)

template <typename T> __device__ __forceinline__ void load_row(const T* from, int n, int aligned, float (&to)[OCTETS][8]) {
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    load_octet(from + at, n - at, aligned, to[o]);
  }
}

extern "C" __global__ void rms_norm(const X* x, const W* weight, X* y, int rows, int n, float eps, int aligned) {
  float w[OCTETS][8], row[OCTETS][8];
  load_row(weight, n, aligned, w);
  if (PREFETCH && blockIdx.x < rows) load_row(x + (i64)blockIdx.x * n, n, aligned, row);
  int turn = 0;
  for (int r = blockIdx.x; r < rows; r += gridDim.x, turn ^= 1) {
    float next[OCTETS][8];
    if (!PREFETCH) load_row(x + (i64)r * n, n, aligned, row);
    if (PREFETCH && r + gridDim.x < rows) load_row(x + (i64)(r + gridDim.x) * n, n, aligned, next);
    float squares = 0.0f, none = 0.0f;
#pragma unroll
    for (int o = 0; o < OCTETS; o++) {
#pragma unroll
      for (int i = 0; i < 8; i++) squares += row[o][i] * row[o][i];
    }
    block_sums(squares, none, turn);
    const float scale = rsqrtf(squares / n + eps);
#pragma unroll
    for (int o = 0; o < OCTETS; o++) {
      const int at = 8 * (threadIdx.x + o * blockDim.x);
#pragma unroll
      for (int i = 0; i < 8; i++) row[o][i] *= scale * w[o][i];
      store_octet(y + (i64)r * n + at, n - at, aligned, row[o]);
#pragma unroll
      for (int i = 0; i < 8; i++) row[o][i] = next[o][i];
    }
  }
}

// dx = s·(g − s²·x·mean(g·x)) with g = dy·w and s = 1/√(mean(x²) + ε), plus `residual`, the gradient that x gets elsewhere, unless it is null.
extern "C" __global__ void rms_norm_grad(const X* x, const W* weight, const X* dy, const X* residual, X* dx, int rows, int n, float eps,
                                         int aligned) {
  float w[OCTETS][8], row[OCTETS][8], g[OCTETS][8];
  load_row(weight, n, aligned, w);
  if (PREFETCH && blockIdx.x < rows) {
    load_row(x + (i64)blockIdx.x * n, n, aligned, row);
    load_row(dy + (i64)blockIdx.x * n, n, aligned, g);
  }
  int turn = 0;
  for (int r = blockIdx.x; r < rows; r += gridDim.x, turn ^= 1) {
    const i64 begin = (i64)r * n, after = (i64)(r + gridDim.x) * n;
    float next_row[OCTETS][8], next_g[OCTETS][8], besides[OCTETS][8];
    if (!PREFETCH) {
      load_row(x + begin, n, aligned, row);
      load_row(dy + begin, n, aligned, g);
    }
    if (PREFETCH && residual) load_row(residual + begin, n, aligned, besides);
    if (PREFETCH && r + gridDim.x < rows) {
      load_row(x + after, n, aligned, next_row);
      load_row(dy + after, n, aligned, next_g);
    }
    float squares = 0.0f, products = 0.0f;
#pragma unroll
    for (int o = 0; o < OCTETS; o++) {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        g[o][i] *= w[o][i];
        squares += row[o][i] * row[o][i];
        products += row[o][i] * g[o][i];
      }
    }
    block_sums(squares, products, turn);
    const float scale = rsqrtf(squares / n + eps);
    const float along = scale * scale * products / n;
    if (!PREFETCH && residual) load_row(residual + begin, n, aligned, besides);
#pragma unroll
    for (int o = 0; o < OCTETS; o++) {
      const int at = 8 * (threadIdx.x + o * blockDim.x);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        g[o][i] = scale * (g[o][i] - row[o][i] * along);
        if (residual) g[o][i] += besides[o][i];
      }
      store_octet(dx + begin + at, n - at, aligned, g[o]);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        row[o][i] = next_row[o][i];
        g[o][i] = next_g[o][i];
      }
    }
  }
}
#endif

extern "C" __global__ void rms_norm_long(const X* x, const W* weight, X* y, int n, float eps) {
  x += (i64)blockIdx.x * n;
  y += (i64)blockIdx.x * n;
  float squares = 0.0f;
  for (int i = threadIdx.x; i < n; i += blockDim.x) squares += to_float(x[i]) * to_float(x[i]);
  const float scale = rsqrtf(block_sum(squares) / n + eps);
  for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] = from_float<X>(to_float(x[i]) * scale * to_float(weight[i]));
}

extern "C" __global__ void rms_norm_grad_long(const X* x, const W* weight, const X* dy, const X* residual, X* dx, int n, float eps) {
  const i64 begin = (i64)blockIdx.x * n;
  x += begin;
  dy += begin;
  dx += begin;
  if (residual) residual += begin;
  float squares = 0.0f, products = 0.0f;
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    squares += to_float(x[i]) * to_float(x[i]);
    products += to_float(x[i]) * to_float(dy[i]) * to_float(weight[i]);
  }
  block_sums(squares, products, 0);
  const float scale = rsqrtf(squares / n + eps);
  const float along = scale * scale * products / n;
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    const float g = scale * (to_float(dy[i]) * to_float(weight[i]) - to_float(x[i]) * along);
    dx[i] = from_float<X>(residual ? g + to_float(residual[i]) : g);
  }
}
