// What DoRA does beside its products. Y is the type of activations, D that of dy, W that of the weight, V that of the bias.
#include "column-sums.cuh"
#include "octets.cuh"

// m/norm, zero for a row of norm zero.
__device__ __forceinline__ float rescaling(const float* magnitude, const float* norms, int c) {
  return norms[c] == 0.0f ? 0.0f : magnitude[c] / norms[c];
}

#ifdef Y
// y = c ⊙ (z − b) + b, c = m/norm by column, plus `residual` unless it is null; y may be z. A thread has eight columns of `count` rows.
extern "C" __global__ void rescale(const Y* z, const Y* residual, Y* y, const float* magnitude, const float* norms, const V* bias, int rows,
                                   int n, int count, int aligned) {
  const int column = 8 * (blockIdx.x * blockDim.x + threadIdx.x), left = n - column;
  if (left <= 0) return;
  float c[8], b[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
  for (int i = 0; i < 8; i++) {
    c[i] = i < left ? rescaling(magnitude, norms, column + i) : 0.0f;
    if (bias && i < left) b[i] = to_float(bias[column + i]);
  }
  const i64 begin = (i64)blockIdx.y * count, end = min((i64)rows, begin + count);
#pragma unroll 2
  for (i64 row = begin; row < end; row++) {
    float v[8];
    load_octet(z + row * n + column, left, aligned, v);
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = c[i] * (v[i] - b[i]) + b[i];
    if (residual) {
      float r[8];
      load_octet(residual + row * n + column, left, aligned, r);
#pragma unroll
      for (int i = 0; i < 8; i++) v[i] += r[i];
    }
    store_octet(y + row * n + column, left, aligned, v);
  }
}

#ifdef D
// dbase = c ⊙ dy, and partial[chunk, c] = Σ dy·(base − b) over the chunk's `count` rows: a block of 8 by 32 threads has 64 columns.
extern "C" __global__ void dora_base_grad(const D* dy, const Y* base, const float* magnitude, const float* norms, const V* bias, D* dbase,
                                          float* partial, int rows, int n, int count, int aligned) {
  const int column = 64 * blockIdx.x + 8 * threadIdx.x, left = n - column;
  float c[8], b[8], sum[8];
#pragma unroll
  for (int i = 0; i < 8; i++) {
    c[i] = i < left ? rescaling(magnitude, norms, column + i) : 0.0f;
    b[i] = bias && i < left ? to_float(bias[column + i]) : 0.0f;
    sum[i] = 0.0f;
  }
  const i64 begin = (i64)blockIdx.y * count, end = min((i64)rows, begin + count);
  if (left > 0) {
#pragma unroll 2
    for (i64 row = begin + threadIdx.y; row < end; row += blockDim.y) {
      float g[8], v[8];
      load_octet(dy + row * n + column, left, aligned, g);
      load_octet(base + row * n + column, left, aligned, v);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        sum[i] += g[i] * (v[i] - b[i]);
        g[i] *= c[i];
      }
      store_octet(dbase + row * n + column, left, aligned, g);
    }
  }
  sum_rows(sum);
  if (threadIdx.y == 0 && left > 0) store_sums(partial + (i64)blockIdx.y * n + column, sum, left, 0);
}
#endif
#endif

// Of output o, a warp each: dB[o] = c·sums[o], dm[o] = (Σ of partial[·, o] + Σ sums[o]·B[o]) / norm. `sums` [n, r] is made into dB.
extern "C" __global__ void dora_magnitude_grad(const float* partial, float* sums, const float* lora_b, const float* magnitude,
                                               const float* norms, float* dmagnitude, int n, int r, int chunks) {
  const int o = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  if (o >= n) return;
  float sum = 0.0f;
  for (int k = lane; k < chunks; k += 32) sum += partial[(i64)k * n + o];
  const float c = rescaling(magnitude, norms, o);
  for (int k = lane; k < r; k += 32) {
    const float s = sums[(i64)o * r + k];
    sum += s * lora_b[(i64)o * r + k];
    sums[(i64)o * r + k] = c * s;
  }
  sum = warp_sum(sum);
  if (lane == 0) dmagnitude[o] = norms[o] == 0.0f ? 0.0f : sum / norms[o];
}

#ifdef W
// squares[o] = Σ W[o, i]², a block each; or its square root.
extern "C" __global__ void row_squares(const W* weight, float* squares, int n, int root, int aligned) {
  weight += (i64)blockIdx.x * n;
  float sum = 0.0f;
#pragma unroll 2
  for (int at = 8 * threadIdx.x; at < n; at += 8 * blockDim.x) {
    float w[8];
    load_octet(weight + at, n - at, aligned, w);
#pragma unroll
    for (int i = 0; i < 8; i++) sum += w[i] * w[i];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) squares[blockIdx.x] = root ? sqrtf(sum) : sum;
}

// norms[o] = ‖W[o] + s·B[o]·A‖ of one small matrix: a block has ROWS rows of W, and makes their sum column by column without storing it. `lora_a` [r, n],
// `lora_b` [out, r] in float, r ≤ MOST_RANK.
#define ROWS 8
#define MOST_RANK 64
extern "C" __global__ void turned_norms(const W* weight, const float* lora_a, const float* lora_b, float* norms, int out, int n, int r,
                                        float scaling) {
  __shared__ float b[MOST_RANK][ROWS];
  __shared__ float of_warp[ROWS][32];
  const int first = ROWS * blockIdx.x, here = min(ROWS, out - first);
  for (int at = threadIdx.x; at < ROWS * r; at += blockDim.x) {
    const int row = at / r, k = at - row * r;
    b[k][row] = row < here ? scaling * lora_b[(i64)(first + row) * r + k] : 0.0f;
  }
  __syncthreads();
  float sum[ROWS];
#pragma unroll
  for (int row = 0; row < ROWS; row++) sum[row] = 0.0f;
  for (int at = threadIdx.x; at < n; at += blockDim.x) {
    float turned[ROWS];
#pragma unroll
    for (int row = 0; row < ROWS; row++) turned[row] = row < here ? to_float(weight[(i64)(first + row) * n + at]) : 0.0f;
#pragma unroll 8
    for (int k = 0; k < r; k++) {
      const float a = lora_a[(i64)k * n + at];
#pragma unroll
      for (int row = 0; row < ROWS; row++) turned[row] += b[k][row] * a;
    }
#pragma unroll
    for (int row = 0; row < ROWS; row++) sum[row] += turned[row] * turned[row];
  }
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
#pragma unroll
  for (int row = 0; row < ROWS; row++) {
    sum[row] = warp_sum(sum[row]);
    if (lane == 0) of_warp[row][warp] = sum[row];
  }
  __syncthreads();
  if (threadIdx.x >= here) return;
  float whole = 0.0f;
  for (int w = 0; w < (int)blockDim.x >> 5; w++) whole += of_warp[threadIdx.x][w];
  norms[first + threadIdx.x] = sqrtf(whole);
}
#endif

// norms[o] = √max(0, squares[o] + 2s·(B[o]·U[o]) + s²·(B[o]·V[o])) with U = W·Aᵀ and V = B·(A·Aᵀ), a warp each.
extern "C" __global__ void dora_norms(const float* squares, const float* lora_b, const float* u, const float* v, float* norms, int n, int r,
                                      float scaling) {
  const int o = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  if (o >= n) return;
  float sum = 0.0f;
  for (int k = lane; k < r; k += 32) {
    const i64 at = (i64)o * r + k;
    sum += lora_b[at] * scaling * (2.0f * u[at] + scaling * v[at]);
  }
  sum = warp_sum(sum);
  if (lane == 0) norms[o] = sqrtf(fmaxf(0.0f, squares[o] + sum));
}
