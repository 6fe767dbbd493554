// RMSNorm of rows of n numbers, and its gradient. A block has rows in turn and holds one in registers, each thread OCTETS octets of it, as they are stored: so
// more threads have room, and more loads are under way. Where OCTETS is 1 the next row is fetched while the sums of this one are waited for. Rows that are
// longer are read twice instead (`_long`), a block each. X is the type of x, y and dy, W that of the weight. Where `codes` is not null, a row's codes in
// E4M3 and their scale are written too, and without outliers may be all that is written of a norm: y is null then.
#include "e4m3-row-scale.cuh"

// N sums over the block, in every thread, with one barrier; `turn` alternates, so that a slow warp still finds those of the turn before. Once a kernel.
template <int N> __device__ __forceinline__ void block_sums(float (&x)[N], int turn) {
  __shared__ float of_warp[2][N][32];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
#pragma unroll
  for (int i = 0; i < N; i++) {
    x[i] = warp_sum(x[i]);
    if (lane == 0) of_warp[turn][i][warp] = x[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; i++) x[i] = warp_sum(lane < (int)(blockDim.x >> 5) ? of_warp[turn][i][lane] : 0.0f);
}

#ifdef OCTETS

#define AHEAD (OCTETS == 1)
// Whether there are outliers.
#ifndef OUTLIERS
#define OUTLIERS 0
#endif
// THREADS: how many a block has at most, 512 or 1024. The latter have room with up to 64 registers; of those of 512 three share a multiprocessor with up to 40.
#if THREADS == 512
#define FORWARD_BOUNDS __launch_bounds__(512, 3)
#else
#define FORWARD_BOUNDS __launch_bounds__(1024)
#endif
// After a block's first row, where it has no more.
#define LAST_WITHOUT_AHEAD \
  if (!AHEAD) break

template <typename T> __device__ __forceinline__ void load_row(const T* from, int n, int aligned, Octet<T> (&to)[OCTETS]) {
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    to[o].load(from + at, n - at, aligned);
  }
}

// Codes of a row that was written.
__device__ __forceinline__ void write_codes(const Octet<X> (&values)[OCTETS], float inverse, e4m3* to, int n) {
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    if (at >= n) break;
    float v[8];
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = values[o][i] * inverse;
    store_vector<8>(to + at, v);
  }
}

// The scale of a row of activations is written; once a kernel, as those of `block_sums`. @returns its inverse.
__device__ __forceinline__ float scale_of_row(const Octet<X> (&values)[OCTETS], float* scale, int n, int turn) {
  __shared__ Noted<1024 * OCTETS> noted[2];
  const int octets = (n + 7) / 8, stretch = stretch_of(octets);
#pragma unroll
  for (int o = 0; o < OCTETS; o++) note_most(most_of(values[o], 0u), threadIdx.x + o * blockDim.x, octets, stretch, noted[turn].most);
  __syncthreads();
  return finest_scale(octets, stretch, noted[turn], scale);
}

// The same of a row of gradients.
__device__ __forceinline__ float scale_of_gradient(const Octet<X> (&values)[OCTETS], float* to, int turn) {
  __shared__ u32 of_warp[2][32];
  u32 most = 0;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) most = most_of(values[o], most);
  const float scale = scale_for(block_most(most, of_warp[turn]));
  if (threadIdx.x == 0) *to = scale;
  return inverse_of(scale);
}

// Where `inverse_rms` is not null, what each row is multiplied by beside the weight is written there. Rows of codes are `code_stride` apart; with OUTLIERS `outliers`
// says which channels have a column behind the row for what their codes leave.
extern "C" __global__ void FORWARD_BOUNDS rms_norm(const X* x, const W* weight, X* y, u8* codes, float* scales, const u16* outliers, float* inverse_rms, int rows, int n,
                                                     float eps, int aligned, int code_stride) {
  Octet<X> values[OCTETS], next[OCTETS];
  Octet<W> w[OCTETS];
#if OUTLIERS
  // Of the row before nobody reads any more once the sums of a row are there.
  __shared__ OutlierOctets<X> strong;
  u32 bits[OCTETS];
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int octet = threadIdx.x + o * blockDim.x;
    bits[o] = 8 * octet < n ? outliers[octet] : 0u;
  }
#endif
  int row = blockIdx.x, turn = 0;
  if (AHEAD) load_row(x + (i64)row * n, n, aligned, next);
  load_row(weight, n, aligned, w);
  for (; row < rows; row += gridDim.x, turn ^= 1) {
    const i64 begin = (i64)row * n;
    if (AHEAD) {
      values[0] = next[0];
      if (row + (int)gridDim.x < rows) load_row(x + begin + (i64)gridDim.x * n, n, aligned, next);
    } else load_row(x + begin, n, aligned, values);
    float squares[1] = {0.0f};
#pragma unroll
    for (int o = 0; o < OCTETS; o++) {
#pragma unroll
      for (int i = 0; i < 8; i++) squares[0] += values[o][i] * values[o][i];
    }
    block_sums(squares, turn);
    const float scale = rsqrtf(squares[0] / n + eps);
    if (inverse_rms && threadIdx.x == 0) inverse_rms[row] = scale;
#pragma unroll
    for (int o = 0; o < OCTETS; o++) {
      const int at = 8 * (threadIdx.x + o * blockDim.x);
      float v[8];
#pragma unroll
      for (int i = 0; i < 8; i++) v[i] = values[o][i] * scale * w[o][i];
      if (y) store_octet(y + begin + at, n - at, aligned, v);
      // As it is written.
      values[o].hold(v);
    }
    if (codes) {
      e4m3* const to = (e4m3*)codes + (i64)row * code_stride;
#if OUTLIERS
#pragma unroll
      for (int o = 0; o < OCTETS; o++) strong.note(values[o], bits[o]);
#endif
      const float inverse = scale_of_row(values, scales + row, n, turn);
      write_codes(values, inverse, to, n);
#if OUTLIERS
      strong.store_rests(to + n, outliers, code_stride - n, inverse);
#endif
    }
    LAST_WITHOUT_AHEAD;
  }
}

// dx = s·(g − s²·x·mean(g·x)) with g = dy·w and s = 1/√(mean(x²) + ε), plus `residual`, the gradient that x gets elsewhere, unless it is null.
extern "C" __global__ void __launch_bounds__(1024) rms_norm_grad(const X* x, const W* weight, const X* dy, const X* residual, X* dx, u8* codes, float* scales, int rows, int n,
                                         float eps, int aligned) {
  Octet<X> values[OCTETS], g[OCTETS], besides[OCTETS], next[OCTETS], next_g[OCTETS], next_besides[OCTETS];
  Octet<W> w[OCTETS];
  int row = blockIdx.x, turn = 0;
  if (AHEAD) {
    load_row(x + (i64)row * n, n, aligned, next);
    load_row(dy + (i64)row * n, n, aligned, next_g);
    if (residual) load_row(residual + (i64)row * n, n, aligned, next_besides);
  }
  load_row(weight, n, aligned, w);
  for (; row < rows; row += gridDim.x, turn ^= 1) {
    const i64 begin = (i64)row * n;
    if (AHEAD) {
      values[0] = next[0];
      g[0] = next_g[0];
      if (residual) besides[0] = next_besides[0];
      if (row + (int)gridDim.x < rows) {
        const i64 after = begin + (i64)gridDim.x * n;
        load_row(x + after, n, aligned, next);
        load_row(dy + after, n, aligned, next_g);
        if (residual) load_row(residual + after, n, aligned, next_besides);
      }
    } else {
      load_row(x + begin, n, aligned, values);
      load_row(dy + begin, n, aligned, g);
      if (residual) load_row(residual + begin, n, aligned, besides);
    }
    // Of squares, and of products.
    float sums[2] = {0.0f, 0.0f};
#pragma unroll
    for (int o = 0; o < OCTETS; o++) {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        sums[0] += values[o][i] * values[o][i];
        sums[1] += values[o][i] * (g[o][i] * w[o][i]);
      }
    }
    block_sums(sums, turn);
    const float scale = rsqrtf(sums[0] / n + eps);
    const float along = scale * scale * sums[1] / n;
#pragma unroll
    for (int o = 0; o < OCTETS; o++) {
      const int at = 8 * (threadIdx.x + o * blockDim.x);
      float v[8];
#pragma unroll
      for (int i = 0; i < 8; i++) {
        v[i] = scale * (g[o][i] * w[o][i] - values[o][i] * along);
        if (residual) v[i] += besides[o][i];
      }
      store_octet(dx + begin + at, n - at, aligned, v);
      values[o].hold(v);
    }
    if (codes) write_codes(values, scale_of_gradient(values, scales + row, turn), (e4m3*)codes + (i64)row * n, n);
    LAST_WITHOUT_AHEAD;
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
  float sums[2] = {0.0f, 0.0f};
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    sums[0] += to_float(x[i]) * to_float(x[i]);
    sums[1] += to_float(x[i]) * to_float(dy[i]) * to_float(weight[i]);
  }
  block_sums(sums, 0);
  const float scale = rsqrtf(sums[0] / n + eps);
  const float along = scale * scale * sums[1] / n;
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    const float g = scale * (to_float(dy[i]) * to_float(weight[i]) - to_float(x[i]) * along);
    dx[i] = from_float<X>(residual ? g + to_float(residual[i]) : g);
  }
}
