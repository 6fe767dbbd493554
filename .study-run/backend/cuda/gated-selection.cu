// The channels of a gated MLP with the highest scores by two low-rank predictors of the mean row of each sequence, in one launch: the means, the predictors'
// low-rank products, the scores (gated-scores.cu says of what) and the choice (top-k.cuh). Each block has 64 columns of a sequence's mean and what they add
// to the products; the block that comes last has all of them and does the rest, in an order that does not depend on which one it is.
// X, TYPE_A and TYPE_B are the types of x, of both a, of both b. Reference: gated-scores.reference.ts and top-k-selection.reference.ts of sparse-ops.
#include "octets.cuh"
#include "top-k.cuh"

#define RANKS 8
#define COLUMNS 64
#define MOST_SEQUENCES 64

// 1 / (1 + e^-z), without a slow division.
__device__ __forceinline__ float sigmoid(float z) { return __fdividef(1.0f, 1.0f + ptx_exp2(-1.4426950408889634f * z)); }

// x [T, inputs], whose rows of sequence b are `rows`[starts[b]] up to `rows`[starts[b + 1]]; a [inputs, r] and b [r, n], r at most RANKS. parts [gridDim.y,
// gridDim.x, 2, RANKS] is for what blocks leave to the last one; ticket is 0, and is so again at the end. A block has 8 by 128 threads; blockIdx.y is b.
extern "C" __global__ void __launch_bounds__(THREADS)
    gated_selection(const X* x, const int* rows, const int* starts, const TYPE_A* gate_a, const TYPE_A* up_a, const TYPE_B* gate_b, const TYPE_B* up_b,
                    float* parts, int* ticket, int* indices, int inputs, int r, int n, int kept, int aligned) {
  SPFT_DYNAMIC_SHARED(float, scores);
  __shared__ float of_warp[THREADS / 32][COLUMNS];
  __shared__ float mean[COLUMNS];
  __shared__ __align__(16) float product[MOST_SEQUENCES][2 * RANKS];
  __shared__ int is_last;
  const int thread = threadIdx.y * 8 + threadIdx.x, warp = thread >> 5, lane = thread & 31;
  const int first = COLUMNS * blockIdx.x, column = first + 8 * threadIdx.x, left = inputs - column;
  const int sequence = blockIdx.y, begin = starts[sequence], end = starts[sequence + 1], sequences = gridDim.y;

  float sum[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
  if (left > 0) {
    for (int at = begin + threadIdx.y; at < end; at += THREADS / 8) {
      float v[8];
      load_octet(x + (i64)rows[at] * inputs + column, left, aligned, v);
#pragma unroll
      for (int i = 0; i < 8; i++) sum[i] += v[i];
    }
  }
  // A warp has four rows.
#pragma unroll
  for (int i = 0; i < 8; i++) {
    sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], 8);
    sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], 16);
  }
  if (lane < 8) {
#pragma unroll
    for (int i = 0; i < 8; i++) of_warp[warp][8 * lane + i] = sum[i];
  }
  __syncthreads();
  if (thread < COLUMNS) {
    float total = 0.0f;
#pragma unroll
    for (int w = 0; w < THREADS / 32; w++) total += of_warp[w][thread];
    mean[thread] = end > begin ? total / (float)(end - begin) : 0.0f;
  }
  __syncthreads();

  // A warp makes one number of a predictor's product.
  if (warp < 2 * RANKS) {
    const int k = warp % RANKS;
    const TYPE_A* const a = warp < RANKS ? gate_a : up_a;
    float share = 0.0f;
    for (int c = lane; c < COLUMNS; c += 32) {
      if (k < r && first + c < inputs) share += mean[c] * to_float(a[(i64)(first + c) * r + k]);
    }
    share = warp_sum(share);
    if (lane == 0) parts[((i64)sequence * gridDim.x + blockIdx.x) * 2 * RANKS + warp] = share;
  }
  __threadfence();
  __syncthreads();
  if (thread == 0) is_last = atomicAdd(ticket, 1) == (int)(gridDim.x * gridDim.y) - 1;
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  if (thread == 0) *ticket = 0;

  for (int i = thread; i < sequences * 2 * RANKS; i += THREADS) {
    const float* const of = parts + (i64)(i / (2 * RANKS)) * gridDim.x * 2 * RANKS + i % (2 * RANKS);
    float total = 0.0f;
    // Past the first cache, which knows nothing of other blocks' writes.
#pragma unroll 8
    for (int block = 0; block < (int)gridDim.x; block++) total += __ldcg(of + block * 2 * RANKS);
    product[i / (2 * RANKS)][i % (2 * RANKS)] = total;
  }
  __syncthreads();
  for (int j = thread; j < n; j += THREADS) {
    float g[RANKS], u[RANKS];
#pragma unroll
    for (int k = 0; k < RANKS; k++) {
      g[k] = k < r ? to_float(gate_b[(i64)k * n + j]) : 0.0f;
      u[k] = k < r ? to_float(up_b[(i64)k * n + j]) : 0.0f;
    }
    float squares = 0.0f;
#pragma unroll 2
    for (int s = 0; s < sequences; s++) {
      float p[RANKS], q[RANKS], of_gate = 0.0f, of_up = 0.0f;
      load_vector<RANKS>(product[s], p);
      load_vector<RANKS>(product[s] + RANKS, q);
#pragma unroll
      for (int k = 0; k < RANKS; k++) {
        of_gate += p[k] * g[k];
        of_up += q[k] * u[k];
      }
      const float value = of_gate * sigmoid(of_gate) * of_up;
      squares += value * value;
    }
    scores[j] = sqrtf(squares);
  }
  __syncthreads();
  keep_highest<PER_THREAD>(scores, indices, n, kept);
}
