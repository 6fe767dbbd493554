// RMSNorm of rows of n numbers, and its gradient. A block has a row and holds it in registers, each thread OCTETS octets of it, as they are stored: so
// more threads have room, and more loads are under way. Rows that are longer are read twice instead (`_long`). X is the type of x, y and dy, W that of
// the weight. Where `codes` is not null, a row's codes in E4M3 and their scale are written too.
#include "e4m3.cuh"

// Both sums over the block, in every thread, with one barrier. Once a kernel.
__device__ __forceinline__ void block_sums(float& a, float& b) {
  __shared__ float of_warp[2][32];
  a = warp_sum(a);
  b = warp_sum(b);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  if (lane == 0) {
    of_warp[0][warp] = a;
    of_warp[1][warp] = b;
  }
  __syncthreads();
  const bool has = lane < (blockDim.x >> 5);
  a = warp_sum(has ? of_warp[0][lane] : 0.0f);
  b = warp_sum(has ? of_warp[1][lane] : 0.0f);
}

#ifdef OCTETS

template <typename T> __device__ __forceinline__ void load_row(const T* from, int n, int aligned, Octet<T> (&to)[OCTETS]) {
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    to[o].load(from + at, n - at, aligned);
  }
}

// Codes of a row that was written, and their scale. Once a kernel.
__device__ __forceinline__ void write_codes(const Octet<X> (&row)[OCTETS], u8* codes, float* scales, int n) {
  __shared__ u32 of_warp[32];
  u32 most = 0;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) most = most_of(row[o], most);
  const float scale = scale_for(block_most(most, of_warp)), inverse = inverse_of(scale);
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  e4m3* to = (e4m3*)codes + (i64)blockIdx.x * n;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    if (at >= n) break;
    float v[8];
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = row[o][i] * inverse;
    store_vector<8>(to + at, v);
  }
}

extern "C" __global__ void rms_norm(const X* x, const W* weight, X* y, u8* codes, float* scales, int n, float eps, int aligned) {
  const i64 begin = (i64)blockIdx.x * n;
  Octet<X> row[OCTETS];
  Octet<W> w[OCTETS];
  load_row(x + begin, n, aligned, row);
  load_row(weight, n, aligned, w);
  float squares = 0.0f, none = 0.0f;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
#pragma unroll
    for (int i = 0; i < 8; i++) squares += row[o][i] * row[o][i];
  }
  block_sums(squares, none);
  const float scale = rsqrtf(squares / n + eps);
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    float v[8];
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = row[o][i] * scale * w[o][i];
    store_octet(y + begin + at, n - at, aligned, v);
    // As it is written.
    row[o].hold(v);
  }
  if (codes) write_codes(row, codes, scales, n);
}

// dx = s·(g − s²·x·mean(g·x)) with g = dy·w and s = 1/√(mean(x²) + ε), plus `residual`, the gradient that x gets elsewhere, unless it is null.
extern "C" __global__ void rms_norm_grad(const X* x, const W* weight, const X* dy, const X* residual, X* dx, u8* codes, float* scales, int n, float eps,
                                         int aligned) {
  const i64 begin = (i64)blockIdx.x * n;
  Octet<X> row[OCTETS], g[OCTETS], besides[OCTETS];
  Octet<W> w[OCTETS];
  load_row(x + begin, n, aligned, row);
  load_row(dy + begin, n, aligned, g);
  if (residual) load_row(residual + begin, n, aligned, besides);
  load_row(weight, n, aligned, w);
  float squares = 0.0f, products = 0.0f;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      squares += row[o][i] * row[o][i];
      products += row[o][i] * (g[o][i] * w[o][i]);
    }
  }
  block_sums(squares, products);
  const float scale = rsqrtf(squares / n + eps);
  const float along = scale * scale * products / n;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    float v[8];
#pragma unroll
    for (int i = 0; i < 8; i++) {
      v[i] = scale * (g[o][i] * w[o][i] - row[o][i] * along);
      if (residual) v[i] += besides[o][i];
    }
    store_octet(dx + begin + at, n - at, aligned, v);
    row[o].hold(v);
  }
  if (codes) write_codes(row, codes, scales, n);
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
  block_sums(squares, products);
  const float scale = rsqrtf(squares / n + eps);
  const float along = scale * scale * products / n;
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    const float g = scale * (to_float(dy[i]) * to_float(weight[i]) - to_float(x[i]) * along);
    dx[i] = from_float<X>(residual ? g + to_float(residual[i]) : g);
  }
}
