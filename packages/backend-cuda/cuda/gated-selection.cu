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
// Channels, or columns, that a thread has at a time.
#define TOGETHER 3
// Sequences whose shares of scores it reads at a time.
#define SEQUENCES 16
// Rows that a thread reads at a time: by the registers that they take.
#define UNROLL (16 / (int)sizeof(X))

__device__ __forceinline__ float sigmoid(float z) { return ptx_reciprocal(1.0f + ptx_exp2(-1.4426950408889634f * z)); }

// Whether this is the last of `count` blocks to come here; then it sees what they wrote, and the ticket is 0 again. Has barriers: one thread's fences are for
// what all of the block wrote before and read after.
__device__ __forceinline__ bool is_last(int* ticket, int count) {
  __shared__ int last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(ticket, 1) == count - 1;
    if (last) *ticket = 0;
    __threadfence();
  }
  __syncthreads();
  return last;
}

// Numbers as they are stored. Loads of all of them begin before the first is waited for: the compiler would put each beside its use, and wait for each.
template <typename T> struct Stored8 {
  Words4 part[sizeof(T) / 2];
  __device__ __forceinline__ void load(const T* from) {
#pragma unroll
    for (int i = 0; i < (int)sizeof(T) / 2; i++) part[i] = ((const Words4*)from)[i];
  }
  __device__ __forceinline__ void keep() {
#pragma unroll
    for (int i = 0; i < (int)sizeof(T) / 2; i++) {
#pragma unroll
      for (int w = 0; w < 4; w++) ptx_keep(part[i].word[w]);
    }
  }
  __device__ __forceinline__ float operator[](int i) const {
    if (sizeof(T) == 4) return __uint_as_float(part[i / 4].word[i % 4]);
    return i & 1 ? high_float(part[0].word[i / 2]) : low_float(part[0].word[i / 2]);
  }
};

// Has what lies behind an address brought to the second cache, a part of it by each sequence's block.
__device__ __forceinline__ void prefetch(const void* from, int bytes) {
#pragma unroll 1
  for (int at = 128 * (blockIdx.y * BLOCK + threadIdx.x); at < bytes; at += 128 * BLOCK * gridDim.y) ptx_prefetch((const char*)from + at);
}

// Begins to copy `count` numbers, whole pieces of 16 bytes, to shared memory, where `to` is after them then. Returns where they will be.
template <typename T> __device__ __forceinline__ const T* copy_ahead(char*& to, const T* from, int count) {
  char* const begin = to;
  const int bytes = count * (int)sizeof(T);
#pragma unroll 1
  for (int at = 16 * threadIdx.x; at < bytes; at += 16 * BLOCK) ptx_copy_async_16(begin + at, (const char*)from + at, true);
  to += bytes;
  return (const T*)begin;
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
// blockIdx.y is the sequence; `width` is a multiple of 8, at most 8·BLOCK. Shared memory has room for 8·BLOCK + width numbers, and for n; from number `tables`
// on, if that is not 0, for the predictors, whose sizes are multiples of 16 bytes then.
extern "C" __global__ void __launch_bounds__(BLOCK)
    gated_selection(const X* x, const int* rows, const int* starts, const TYPE_A* gate_a, const TYPE_A* up_a, const TYPE_B* gate_b, const TYPE_B* up_b,
                    float* parts, float* squares, int* tickets, int* indices, int inputs, int width, int r, int n, int kept, int x_aligned, int a_aligned, int tables) {
  SPFT_DYNAMIC_SHARED(float, shared);
  __shared__ float of_warp[BLOCK / 32][RANKS];
  __shared__ __align__(16) float product[2 * RANKS];
  __shared__ int list[BLOCK];
  float* const mean = shared + 8 * BLOCK;
  const int thread = threadIdx.x, warp = thread >> 5, lane = thread & 31;
  const int sequence = blockIdx.y, sequences = gridDim.y, begin = starts[sequence], end = starts[sequence + 1], first = width * blockIdx.x;
  // What is read after x is on its way before it, where blocks are sure to read it: to shared memory, if there is room.
  if (tables) {
    char* to = (char*)(shared + tables);
    gate_a = copy_ahead(to, gate_a, inputs * r);
    up_a = copy_ahead(to, up_a, inputs * r);
    gate_b = copy_ahead(to, gate_b, n * r);
    up_b = copy_ahead(to, up_b, n * r);
    ptx_copy_async_commit();
  } else if (gridDim.x == 1) {
    prefetch(gate_a, inputs * r * (int)sizeof(TYPE_A));
    prefetch(up_a, inputs * r * (int)sizeof(TYPE_A));
    prefetch(gate_b, n * r * (int)sizeof(TYPE_B));
    prefetch(up_b, n * r * (int)sizeof(TYPE_B));
  }

  // A thread has an octet of columns of every `down`-th row.
  const int octets = width / 8, down = BLOCK / octets, row = thread / octets, column = first + thread % octets * 8, left = inputs - column;
  // Rows of the sequence that are listed at a time: as many for each thread.
  const int turn = BLOCK / down * down;
  float sum[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 1
  for (int from = begin; from < end; from += turn) {
    const int count = min(turn, end - from);
    if (thread < count) list[thread] = rows[from + thread];
    __syncthreads();
    if (row < down && left > 0 && x_aligned) {
#pragma unroll 1
      for (int at = row; at < count; at += UNROLL * down) {
        Stored8<X> of[UNROLL] = {};
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
          if (at + u * down < count) of[u].load(x + (i64)list[at + u * down] * inputs + column);
        }
#pragma unroll
        for (int u = 0; u < UNROLL; u++) of[u].keep();
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
#pragma unroll
          for (int i = 0; i < 8; i++) sum[i] += of[u][i];
        }
      }
    } else if (row < down && left > 0) {
#pragma unroll 1
      for (int at = row; at < count; at += down) {
        float of[8];
        load_octet(x + (i64)list[at] * inputs + column, left, false, of);
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] += of[i];
      }
    }
    __syncthreads();
  }
  ptx_copy_async_wait<0>();
  store_vector(shared + 8 * thread, sum);
  __syncthreads();
#pragma unroll 1
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
  const int columns = min(width, inputs - first);
  if (r == RANKS && a_aligned) {
#pragma unroll 1
    for (int c = thread % HALF; c < columns; c += TOGETHER * HALF) {
      Stored8<TYPE_A> of[TOGETHER];
#pragma unroll
      for (int t = 0; t < TOGETHER; t++) of[t].load(a + (i64)(first + min(c + t * HALF, columns - 1)) * RANKS);
#pragma unroll
      for (int t = 0; t < TOGETHER; t++) of[t].keep();
#pragma unroll
      for (int t = 0; t < TOGETHER; t++) {
        const float x_mean = c + t * HALF < columns ? mean[c + t * HALF] : 0.0f;
#pragma unroll
        for (int k = 0; k < RANKS; k++) share[k] += x_mean * of[t][k];
      }
    }
  } else {
#pragma unroll 1
    for (int c = thread % HALF; c < columns; c += HALF) {
#pragma unroll
      for (int k = 0; k < RANKS; k++) share[k] += k < r ? mean[c] * to_float(a[(i64)(first + c) * r + k]) : 0.0f;
    }
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
#pragma unroll 1
  for (int from = thread; from < n; from += TOGETHER * BLOCK) {
    float of_b[2][TOGETHER][RANKS], of_gate[TOGETHER], of_up[TOGETHER];
#pragma unroll
    for (int t = 0; t < TOGETHER; t++) {
      const int j = min(from + t * BLOCK, n - 1);
#pragma unroll
      for (int k = 0; k < RANKS; k++) {
        of_b[0][t][k] = k < r ? to_float(gate_b[k * n + j]) : 0.0f;
        of_b[1][t][k] = k < r ? to_float(up_b[k * n + j]) : 0.0f;
      }
    }
#pragma unroll
    for (int i = 0; i < 2 * TOGETHER * RANKS; i++) ptx_keep(of_b[i & 1][i / 2 % TOGETHER][i / 2 / TOGETHER]);
#pragma unroll
    for (int t = 0; t < TOGETHER; t++) {
      of_gate[t] = of_up[t] = 0.0f;
#pragma unroll
      for (int k = 0; k < RANKS; k++) {
        of_gate[t] += p[k] * of_b[0][t][k];
        of_up[t] += q[k] * of_b[1][t][k];
      }
    }
#pragma unroll
    for (int t = 0; t < TOGETHER; t++) {
      const int j = from + t * BLOCK;
      const float value = of_gate[t] * sigmoid(of_gate[t]) * of_up[t];
      if (j < n) squares[(i64)sequence * n + j] = value * value;
    }
  }
  if (!is_last(tickets, sequences)) return;
#pragma unroll 1
  for (int from = thread; from < n; from += TOGETHER * BLOCK) {
    float total[TOGETHER] = {};
#pragma unroll 1
    for (int s = 0; s < sequences; s += SEQUENCES) {
      float of[SEQUENCES][TOGETHER];
#pragma unroll
      for (int i = 0; i < SEQUENCES * TOGETHER; i++) {
        const int sequence = min(s + i / TOGETHER, sequences - 1), j = min(from + i % TOGETHER * BLOCK, n - 1);
        of[i / TOGETHER][i % TOGETHER] = __ldcg(squares + sequence * n + j);
      }
#pragma unroll
      for (int i = 0; i < SEQUENCES * TOGETHER; i++) ptx_keep(of[i / TOGETHER][i % TOGETHER]);
#pragma unroll
      for (int i = 0; i < SEQUENCES * TOGETHER; i++) total[i % TOGETHER] += s + i / TOGETHER < sequences ? of[i / TOGETHER][i % TOGETHER] : 0.0f;
    }
#pragma unroll
    for (int t = 0; t < TOGETHER; t++) {
      if (from + t * BLOCK < n) shared[from + t * BLOCK] = sqrtf(total[t]);
    }
  }
  __syncthreads();
  keep_highest<PER_THREAD, BLOCK>(shared, indices, n, kept);
}
