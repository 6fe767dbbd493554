// The `kept` highest of n scores as ascending indices; of equal scores the lower index first. One block of BLOCK threads.
//
// The kept-th highest score is found bit by bit, two at a time: three candidates, the scores not below each are counted. HELD scores a thread
// stay in registers; where it is 0, they are read again for each count. Counts are of integers, so nothing depends on an order.
#pragma once
#include "spft.cuh"

// As an unsigned number in the order of the floats; both zeros are one.
__device__ __forceinline__ u32 key_of(float x) {
  const u32 bits = x == 0.0f ? 0u : __float_as_uint(x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The sums over the block, in every thread. `shared` is [2][BLOCK / 32][3], `turn` alternates. With PACKED no sum is above 65535, and two go together.
template <bool PACKED, int BLOCK> __device__ __forceinline__ void block_counts(int (&count)[3], int (*shared)[BLOCK / 32][3], int turn) {
  const int thread = threadIdx.y * blockDim.x + threadIdx.x, lane = thread & 31, warp = thread >> 5;
  if (PACKED) count[0] |= count[1] << 16;
#pragma unroll
  for (int c = 0; c < 3; c++) {
    if (!PACKED || c != 1) count[c] = __reduce_add_sync(0xffffffffu, count[c]);
  }
  if (lane == 0) {
#pragma unroll
    for (int c = 0; c < 3; c++) shared[turn][warp][c] = count[c];
  }
  __syncthreads();
#pragma unroll
  for (int c = 0; c < 3; c++) {
    if (!PACKED || c != 1) count[c] = __reduce_add_sync(0xffffffffu, lane < BLOCK / 32 ? shared[turn][lane][c] : 0);
  }
  if (PACKED) {
    count[1] = (int)((u32)count[0] >> 16);
    count[0] &= 0xffff;
  }
}

// Writes them in the block's threads; `scores` may be in shared memory.
template <int HELD, int BLOCK> __device__ __forceinline__ void keep_highest(const float* scores, int* indices, int n, int kept) {
  static_assert(HELD * BLOCK < 65536, "counts of two have a register");
  __shared__ int counts[2][BLOCK / 32][3];
  __shared__ int totals[2][BLOCK / 32];
  const int thread = threadIdx.y * blockDim.x + threadIdx.x, lane = thread & 31, warp = thread >> 5;
  // No score has key 0: it would be a NaN of all ones below zero, taken for the lowest.
  const auto read = [&](int k) {
    const int i = k * BLOCK + thread;
    return i < n ? max(1u, key_of(scores[i])) : 0u;
  };
  u32 keys[HELD > 0 ? HELD : 1];
  if (HELD > 0) {
#pragma unroll
    for (int k = 0; k < HELD; k++) keys[k] = read(k);
  }
  const auto key_at = [&](int k) { return HELD > 0 ? keys[HELD > 0 ? k : 0] : read(k); };
  const int steps = HELD > 0 ? HELD : (n + BLOCK - 1) / BLOCK;

  // The largest threshold that at least `kept` keys reach is the kept-th highest key.
  u32 threshold = 0;
  for (int bit = 30; bit >= 0; bit -= 2) {
    const u32 low = threshold | 1u << bit, middle = threshold | 2u << bit, high = threshold | 3u << bit;
    int count[3] = {0, 0, 0};
#pragma unroll
    for (int k = 0; k < steps; k++) {
      if (k * BLOCK >= n) break;
      const u32 key = key_at(k);
      count[0] += key >= low;
      count[1] += key >= middle;
      count[2] += key >= high;
    }
    block_counts<(HELD > 0), BLOCK>(count, counts, bit >> 1 & 1);
    // Where exactly `kept` reach a candidate, the highest key below it separates them as well.
    if (count[0] == kept || count[1] == kept || count[2] == kept) {
      threshold = (count[2] == kept ? high : count[1] == kept ? middle : low) - 1u;
      break;
    }
    threshold = count[2] >= kept ? high : count[1] >= kept ? middle : count[0] >= kept ? low : threshold;
  }
  int above[3] = {0, 0, 0};
#pragma unroll
  for (int k = 0; k < steps; k++) {
    if (k * BLOCK >= n) break;
    above[0] += key_at(k) > threshold;
  }
  // The loop may have ended on either of the two; nobody reads them any more after this.
  __syncthreads();
  block_counts<(HELD > 0), BLOCK>(above, counts, 1);
  // Of those equal to the threshold the first so many are kept.
  const int equals = kept - above[0];

  // BLOCK scores at a time in their order: what lies before each one, of higher ones (lower half) and of equal ones (upper half).
  int higher_before = 0, equal_before = 0;
#pragma unroll
  for (int k = 0; k < steps; k++) {
    if (k * BLOCK >= n) break;
    const u32 key = key_at(k);
    const u32 higher = __ballot_sync(0xffffffffu, key > threshold), equal = __ballot_sync(0xffffffffu, key == threshold);
    if (lane == 0) totals[k & 1][warp] = __popc(higher) | __popc(equal) << 16;
    __syncthreads();
    int sum = lane < BLOCK / 32 ? totals[k & 1][lane] : 0;
#pragma unroll
    for (int offset = 1; offset < 32; offset <<= 1) {
      const int before = __shfl_up_sync(0xffffffffu, sum, offset);
      if (lane >= offset) sum += before;
    }
    const int all = __shfl_sync(0xffffffffu, sum, 31), warps = __shfl_sync(0xffffffffu, sum, (warp + 31) & 31);
    const int before = warp == 0 ? 0 : warps;
    const u32 lower_lanes = (1u << lane) - 1u;
    const int h = higher_before + (before & 0xffff) + __popc(higher & lower_lanes);
    const int e = equal_before + (before >> 16) + __popc(equal & lower_lanes);
    if (key > threshold || (key == threshold && e < equals)) indices[h + min(e, equals)] = k * BLOCK + thread;
    higher_before += all & 0xffff;
    equal_before += all >> 16;
  }
}
