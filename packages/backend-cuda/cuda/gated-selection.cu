// The channels of a gated MLP with the highest scores by two low-rank predictors of the mean row of each sequence, in one launch: the means, the predictors'
// low-rank products, the scores (gated-scores.cu says of what) and the choice (top-k.cuh). A block has `width` columns of a sequence's mean and what they add
// to its products. The last block of a sequence goes on with its share of the scores, and the last of these with their sum and the choice: orders of sums
// do not depend on which ones these are. What is made beside it (products of a GPU) has to do without the multiprocessors that it takes, so blocks are few.
// X, TYPE_A and TYPE_B are the types of x, of both a, of both b. Reference: gated-scores.reference.ts and top-k-selection.reference.ts of sparse-ops.
#include "octets.cuh"
#include "top-k.cuh"

#define BLOCK 512
#define HALF (BLOCK / 2)
#define RANKS 8
#define UNROLL 8

// 1 / (1 + e^-z), without a slow division.
__device__ __forceinline__ float sigmoid(float z) { return __fdividef(1.0f, 1.0f + ptx_exp2(-1.4426950408889634f * z)); }

// Whether this is the last of `count` blocks to come here; then it sees what they wrote, and the ticket is 0 again. Has barriers.
__device__ __forceinline__ bool is_last(int* ticket, int count) {
  __shared__ int last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(ticket, 1) == count - 1;
  __syncthreads();
  if (!last) return false;
  __threadfence();
  if (threadIdx.x == 0) *ticket = 0;
  return true;
}

// Brings what lies behind an address to the first cache.
__device__ __forceinline__ void fetch(const void* from, i64 bytes) {
  for (i64 at = (i64)128 * threadIdx.x; at < bytes; at += 128 * BLOCK) ptx_fetch((const char*)from + at);
}

// The sum over a warp of v[lane / 4].
__device__ __forceinline__ float fold(const float (&v)[RANKS]) {
  const int lane = threadIdx.x & 31;
  float four[4], two[2];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float other = __shfl_xor_sync(0xffffffffu, lane & 16 ? v[i] : v[i + 4], 16);
    four[i] = (lane & 16 ? v[i + 4] : v[i]) + other;
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const float other = __shfl_xor_sync(0xffffffffu, lane & 8 ? four[i] : four[i + 2], 8);
    two[i] = (lane & 8 ? four[i + 2] : four[i]) + other;
  }
  const float other = __shfl_xor_sync(0xffffffffu, lane & 4 ? two[0] : two[1], 4);
  float one = (lane & 4 ? two[1] : two[0]) + other;
  one += __shfl_xor_sync(0xffffffffu, one, 2);
  return one + __shfl_xor_sync(0xffffffffu, one, 1);
}

// x [T, inputs], whose rows of sequence b are `rows`[starts[b]] up to `rows`[starts[b + 1]]; a [inputs, r] and b [r, n], r at most RANKS. parts [sequences,
// gridDim.x, 2, RANKS] and squares [sequences, n] are for what blocks leave to the last one; tickets [1 + sequences] are 0, and are so again at the end.
// blockIdx.y is the sequence; `width` is a multiple of 8, at most 8·BLOCK. Shared memory has room for 8·BLOCK + width numbers, and for n.
extern "C" __global__ void __launch_bounds__(BLOCK)
    gated_selection(const X* x, const int* rows, const int* starts, const TYPE_A* gate_a, const TYPE_A* up_a, const TYPE_B* gate_b, const TYPE_B* up_b,
                    float* parts, float* squares, int* tickets, int* indices, int inputs, int width, int r, int n, int kept, int x_aligned, int a_aligned) {
  SPFT_DYNAMIC_SHARED(float, shared);
  __shared__ float of_warp[BLOCK / 32][RANKS];
  __shared__ __align__(16) float product[2 * RANKS];
  float* const mean = shared + 8 * BLOCK;
  const int thread = threadIdx.x, warp = thread >> 5, lane = thread & 31;
  const int sequence = blockIdx.y, sequences = gridDim.y, begin = starts[sequence], end = starts[sequence + 1], first = width * blockIdx.x;
  // What is read after x is on its way before it, where this block is sure to read it.
  if (gridDim.x == 1) {
    fetch(gate_a, (i64)inputs * r * sizeof(TYPE_A));
    fetch(up_a, (i64)inputs * r * sizeof(TYPE_A));
    fetch(gate_b, (i64)n * r * sizeof(TYPE_B));
    fetch(up_b, (i64)n * r * sizeof(TYPE_B));
  }

  // A thread has an octet of columns of every `down`-th row.
  const int octets = width / 8, down = BLOCK / octets, row = thread / octets, column = first + thread % octets * 8, left = inputs - column;
  float sum[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
  if (row < down && left > 0) {
    for (int at = begin + row; at < end; at += UNROLL * down) {
      Octet<X> of[UNROLL];
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
        const int place = at + u * down;
        const bool there = place < end;
        of[u].load(x + (there ? (i64)rows[place] * inputs + column : 0), there ? left : 0, x_aligned);
      }
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] += of[u][i];
      }
    }
  }
  store_vector(shared + 8 * thread, sum);
  __syncthreads();
  for (int c = thread; c < width; c += BLOCK) {
    float total = 0.0f;
#pragma unroll 4
    for (int d = 0; d < down; d++) total += shared[d * width + c];
    mean[c] = end > begin ? total / (float)(end - begin) : 0.0f;
  }
  __syncthreads();

  // Half of the threads have a predictor each, a thread all of its products with some columns.
  const TYPE_A* const a = thread < HALF ? gate_a : up_a;
  float share[RANKS] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 2
  for (int c = thread % HALF; c < min(width, inputs - first); c += HALF) {
    float of[RANKS];
    load_octet(a + (i64)(first + c) * r, r, a_aligned, of);
#pragma unroll
    for (int k = 0; k < RANKS; k++) share[k] += mean[c] * of[k];
  }
  const float folded = fold(share);
  if ((lane & 3) == 0) of_warp[warp][lane >> 2] = folded;
  __syncthreads();
  if (thread < 2 * RANKS) {
    float total = 0.0f;
#pragma unroll
    for (int w = 0; w < HALF / 32; w++) total += of_warp[thread / RANKS * (HALF / 32) + w][thread % RANKS];
    if (gridDim.x == 1) product[thread] = total;
    else parts[((i64)sequence * gridDim.x + blockIdx.x) * 2 * RANKS + thread] = total;
  }
  if (gridDim.x > 1) {
    if (!is_last(tickets + 1 + sequence, gridDim.x)) return;
    if (thread < 2 * RANKS) {
      const float* const of = parts + (i64)sequence * gridDim.x * 2 * RANKS + thread;
      float total = 0.0f;
      // Past the first cache, which knows nothing of other blocks' writes.
#pragma unroll 8
      for (int block = 0; block < (int)gridDim.x; block++) total += __ldcg(of + block * 2 * RANKS);
      product[thread] = total;
    }
  }
  __syncthreads();

  float p[RANKS], q[RANKS];
  load_vector<RANKS>(product, p);
  load_vector<RANKS>(product + RANKS, q);
#pragma unroll 3
  for (int j = thread; j < n; j += BLOCK) {
    float of_gate = 0.0f, of_up = 0.0f;
#pragma unroll
    for (int k = 0; k < RANKS; k++) {
      if (k >= r) break;
      of_gate += p[k] * to_float(gate_b[(i64)k * n + j]);
      of_up += q[k] * to_float(up_b[(i64)k * n + j]);
    }
    const float value = of_gate * sigmoid(of_gate) * of_up;
    squares[(i64)sequence * n + j] = value * value;
  }
  if (!is_last(tickets, sequences)) return;
  for (int j = thread; j < n; j += BLOCK) {
    float total = 0.0f;
#pragma unroll 16
    for (int s = 0; s < sequences; s++) total += __ldcg(squares + (i64)s * n + j);
    shared[j] = sqrtf(total);
  }
  __syncthreads();
  keep_highest<PER_THREAD, BLOCK>(shared, indices, n, kept);
}
