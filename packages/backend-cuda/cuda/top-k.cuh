// The `kept` highest of n scores as ascending indices; of equal scores the lower index first. One block of BLOCK threads.
//
// The kept-th highest score is found from its highest bit on, five bits at a time, by counting how many scores that begin like it go on with each of the 32
// digits. It begins below the bits that all scores have in common, and ends where exactly the wanted ones are above a digit. HELD scores a thread stay in
// registers; where it is 0, they are read again for each count. Counts are of integers, so nothing depends on an order.
#pragma once
#include "spft.cuh"

// As an unsigned number in the order of the floats; both zeros are one.
__device__ __forceinline__ u32 key_of(float x) {
  const u32 bits = x == 0.0f ? 0u : __float_as_uint(x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Scores above `above` are kept, and of those equal to it the first `equals`.
struct Threshold {
  u32 above;
  int equals;
};

// `key_at(k)` is a thread's k-th key of `steps`, 0 where it has none.
template <int HELD, int BLOCK, typename KeyAt> __device__ __forceinline__ Threshold threshold_of(const KeyAt& key_at, int steps, int n, int kept) {
  constexpr int WARPS = BLOCK / 32;
  __shared__ u32 of_warp[WARPS][2];
  __shared__ int digits[2][WARPS][32];
  const int thread = threadIdx.y * blockDim.x + threadIdx.x, lane = thread & 31, warp = thread >> 5;
  u32 in_all = 0xffffffffu, in_any = 0u;
#pragma unroll
  for (int k = 0; k < steps; k++) {
    if (k * BLOCK >= n) break;
    const u32 key = key_at(k);
    in_all &= key ? key : 0xffffffffu;
    in_any |= key;
  }
  in_all = __reduce_and_sync(0xffffffffu, in_all);
  in_any = __reduce_or_sync(0xffffffffu, in_any);
  if (lane == 0) of_warp[warp][0] = in_all, of_warp[warp][1] = in_any;
  __syncthreads();
  in_all = __reduce_and_sync(0xffffffffu, lane < WARPS ? of_warp[lane][0] : 0xffffffffu);
  in_any = __reduce_or_sync(0xffffffffu, lane < WARPS ? of_warp[lane][1] : 0u);

  // Bits that are still to be found, the others, and how many scores are wanted of those that begin with these.
  int left = 32 - __clz(in_all ^ in_any), wanted = kept;
  u32 found = left < 32 ? in_all >> left << left : 0u;
#pragma unroll 1
  for (int turn = 0; left > 0; turn ^= 1) {
    const int shift = max(0, left - 5);
    int* const own = digits[turn][warp];
    own[lane] = 0;
    __syncwarp();
#pragma unroll
    for (int k = 0; k < steps; k++) {
      if (k * BLOCK >= n) break;
      const u32 key = key_at(k);
      if (key && (left == 32 || key >> left == found >> left)) atomicAdd(own + (key >> shift & (1u << (left - shift)) - 1u), 1);
    }
    __syncthreads();
    // In each warp, of a lane's digit and all above it.
    int count = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) count += digits[turn][w][lane];
#pragma unroll
    for (int offset = 1; offset < 32; offset <<= 1) {
      const int above = __shfl_down_sync(0xffffffffu, count, offset);
      if (lane + offset < 32) count += above;
    }
    const int digit = 31 - __clz(__ballot_sync(0xffffffffu, count >= wanted));
    const int reached = __shfl_sync(0xffffffffu, count, digit), above = __shfl_sync(0xffffffffu, count, (digit + 1) & 31);
    found |= (u32)digit << shift;
    // The highest key below it separates them as well; no score has key 0.
    if (reached == wanted) return Threshold{found ? found - 1u : 0u, 0};
    wanted -= digit < 31 ? above : 0;
    left = shift;
  }
  return Threshold{found, wanted};
}

// Writes them in the block's threads; `scores` may be in shared memory.
template <int HELD, int BLOCK> __device__ __forceinline__ void keep_highest(const float* scores, int* indices, int n, int kept) {
  static_assert(HELD * BLOCK < 65536, "counts of two have a register");
  constexpr int WARPS = BLOCK / 32;
  __shared__ int totals[HELD > 0 ? HELD : 2][WARPS];
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
  const Threshold threshold = threshold_of<HELD, BLOCK>(key_at, steps, n, kept);

  // BLOCK scores at a time in their order: what lies before each one, of higher ones (lower half) and of equal ones (upper half).
  const auto count = [&](int k, int to) {
    const u32 key = key_at(k);
    const u32 higher = __ballot_sync(0xffffffffu, key > threshold.above), equal = __ballot_sync(0xffffffffu, key == threshold.above);
    if (lane == 0) totals[to][warp] = __popc(higher) | __popc(equal) << 16;
  };
  int higher_before = 0, equal_before = 0;
  const auto write = [&](int k, int from) {
    const u32 key = key_at(k), lower_lanes = (1u << lane) - 1u;
    const u32 higher = __ballot_sync(0xffffffffu, key > threshold.above), equal = __ballot_sync(0xffffffffu, key == threshold.above);
    const int own = lane < WARPS ? totals[from][lane] : 0;
    const int before = __reduce_add_sync(0xffffffffu, lane < warp ? own : 0), all = __reduce_add_sync(0xffffffffu, own);
    const int h = higher_before + (before & 0xffff) + __popc(higher & lower_lanes);
    const int e = equal_before + (before >> 16) + __popc(equal & lower_lanes);
    if (key > threshold.above || (key == threshold.above && e < threshold.equals)) indices[h + min(e, threshold.equals)] = k * BLOCK + thread;
    higher_before += all & 0xffff;
    equal_before += all >> 16;
  };
  if (HELD > 0) {
#pragma unroll
    for (int k = 0; k < HELD; k++) count(k, HELD > 0 ? k : 0);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < HELD; k++) write(k, HELD > 0 ? k : 0);
    return;
  }
#pragma unroll 1
  for (int k = 0; k < steps; k++) {
    count(k, k & 1);
    __syncthreads();
    write(k, k & 1);
  }
}
