// Attention of one token of each of B sequences over the keys and values of those before it, and its own, which are put in their place: the queries and the
// key are turned first (rotary positions), as rope.cu does.
//
// The keys of a sequence are split over the blocks of a row of the grid, as many whatever the length, which is read on the device. Of a block's threads
// LANES share a key, each with eight of its numbers, and go through keys of their own; what they have is put together at the end of the block, and
// what the blocks have by the one that comes last, always in the same order.
//
// X is the type of q, k, v and y, KV that of the cache. HEAD_DIM numbers of a head; HEADS query heads of one key head a block, GROUP of them there are.
// Grid: [splits, kv heads · GROUP / HEADS, B].
#include "octets.cuh"

#define HALF (HEAD_DIM / 2)
#define WARPS (THREADS / 32)
// Threads that share a key: a power of two, up to 32, of eight numbers each.
#define KEYS_AT_ONCE (THREADS / LANES)
#define UNDER_WAY 2

// What was seen of some keys: the greatest score (of base 2), the sum of weights beside it, and the weighed sum of values.
struct Seen {
  float most, total, mixed[8];
  __device__ __forceinline__ void join(float other_most, float other_total, const float (&other)[8]) {
    const float greatest = fmaxf(most, other_most);
    // Of nothing seen the sums are zero, and its −∞ must not meet another.
    const float a = most == greatest ? 1.0f : ptx_exp2(most - greatest), b = other_most == greatest ? 1.0f : ptx_exp2(other_most - greatest);
    total = total * a + other_total * b;
#pragma unroll
    for (int i = 0; i < 8; i++) mixed[i] = mixed[i] * a + other[i] * b;
    most = greatest;
  }
};

__device__ __forceinline__ float turned(const X* of, int i, const float* cosines, const float* sines) {
  const bool first = i < HALF;
  const int pair = first ? i : i - HALF;
  const float a = to_float(of[i]), b = to_float(of[first ? i + HALF : i - HALF]);
  // Rounded as the rotation alone would be.
  return to_float(from_float<X>(first ? a * cosines[pair] - b * sines[pair] : a * cosines[pair] + b * sines[pair]));
}

extern "C" __global__ void __launch_bounds__(THREADS)
    decode_attention(const X* q, const X* k, const X* v, const float* cosines, const float* sines, const int* positions, KV* keys, KV* values, X* y,
                     float* parts, u32* arrivals, int kv_heads, int room, float scale) {
  // Of the block's warps or of the splits' blocks: most, total and HEAD_DIM sums of each.
  __shared__ float queries[HEADS * HEAD_DIM];
  __shared__ float of_warp[WARPS * HEADS * (HEAD_DIM + 2)];
  __shared__ u32 before;
  const int split = blockIdx.x, splits = gridDim.x, b = blockIdx.z;
  const int kv_head = blockIdx.y / (GROUP / HEADS), head = kv_head * GROUP + blockIdx.y % (GROUP / HEADS) * HEADS;
  const int heads = kv_heads * GROUP;
  ptx_let_next_begin();
  ptx_wait_for_previous();
  const int position = positions[b], length = min(position + 1, room);
  const int stretch = (length + splits - 1) / splits;
  const int begin = split * stretch, end = min(length, begin + stretch);
  cosines += (i64)b * HALF;
  sines += (i64)b * HALF;
  q += ((i64)b * heads + head) * HEAD_DIM;
  const i64 pitch = (i64)kv_heads * HEAD_DIM;
  keys += (i64)b * room * pitch + kv_head * HEAD_DIM;
  values += (i64)b * room * pitch + kv_head * HEAD_DIM;
  for (int i = threadIdx.x; i < HEADS * HEAD_DIM; i += THREADS) {
    const int h = i / HEAD_DIM;
    queries[i] = turned(q + h * HEAD_DIM, i - h * HEAD_DIM, cosines, sines) * scale;
  }
  // Every block that is about it writes the same; the one that reads it has written it.
  if (begin <= position && position < end) {
    for (int i = threadIdx.x; i < HEAD_DIM; i += THREADS) {
      keys[position * pitch + i] = from_float<KV>(turned(k + ((i64)b * kv_heads + kv_head) * HEAD_DIM, i, cosines, sines));
      values[position * pitch + i] = from_float<KV>(to_float(v[((i64)b * kv_heads + kv_head) * HEAD_DIM + i]));
    }
  }
  __syncthreads();

  const int lane = threadIdx.x % LANES, at = 8 * lane, left = HEAD_DIM - at;
  const bool aligned = HEAD_DIM % 8 == 0;
  float query[HEADS][8];
#pragma unroll
  for (int h = 0; h < HEADS; h++) {
#pragma unroll
    for (int i = 0; i < 8; i++) query[h][i] = i < left ? queries[h * HEAD_DIM + at + i] : 0.0f;
  }
  Seen seen[HEADS];
#pragma unroll
  for (int h = 0; h < HEADS; h++) {
    seen[h].most = -__uint_as_float(0x7f800000u);
    seen[h].total = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) seen[h].mixed[i] = 0.0f;
  }
  // All threads of a warp go round as often, as they shuffle together.
  for (int first = begin; first < end; first += UNDER_WAY * KEYS_AT_ONCE) {
    Octet<KV> key[UNDER_WAY], value[UNDER_WAY];
#pragma unroll
    for (int n = 0; n < UNDER_WAY; n++) {
      const int j = first + n * KEYS_AT_ONCE + threadIdx.x / LANES;
      const int there = j < end ? left : 0;
      const i64 from = (j < end ? j : begin) * pitch + at;
      key[n].load(keys + from, there, aligned);
      value[n].load(values + from, there, aligned);
    }
#pragma unroll
    for (int n = 0; n < UNDER_WAY; n++) {
      const bool there = first + n * KEYS_AT_ONCE + (int)threadIdx.x / LANES < end;
#pragma unroll
      for (int h = 0; h < HEADS; h++) {
        float score = 0.0f;
#pragma unroll
        for (int i = 0; i < 8; i++) score = fmaf(query[h][i], key[n][i], score);
#pragma unroll
        for (int offset = LANES / 2; offset > 0; offset /= 2) score += __shfl_xor_sync(0xffffffffu, score, offset);
        if (!there) continue;
        const float greatest = fmaxf(seen[h].most, score);
        const float fade = ptx_exp2(seen[h].most - greatest), weight = ptx_exp2(score - greatest);
        seen[h].total = seen[h].total * fade + weight;
#pragma unroll
        for (int i = 0; i < 8; i++) seen[h].mixed[i] = seen[h].mixed[i] * fade + weight * value[n][i];
        seen[h].most = greatest;
      }
    }
  }
  // Threads of a warp with the same numbers of other keys.
#pragma unroll
  for (int h = 0; h < HEADS; h++) {
#pragma unroll
    for (int offset = LANES; offset < 32; offset *= 2) {
      float other[8];
      const float most = __shfl_xor_sync(0xffffffffu, seen[h].most, offset), total = __shfl_xor_sync(0xffffffffu, seen[h].total, offset);
#pragma unroll
      for (int i = 0; i < 8; i++) other[i] = __shfl_xor_sync(0xffffffffu, seen[h].mixed[i], offset);
      seen[h].join(most, total, other);
    }
    if ((threadIdx.x & 31) < LANES) {
      float* to = of_warp + ((threadIdx.x >> 5) * HEADS + h) * (HEAD_DIM + 2);
      if (lane == 0) {
        to[0] = seen[h].most;
        to[1] = seen[h].total;
      }
#pragma unroll
      for (int i = 0; i < 8; i++) {
        if (i < left) to[2 + at + i] = seen[h].mixed[i];
      }
    }
  }
  __syncthreads();

  // Of `count` lists, `apart` floats from each other, number i of head h: unweighed sum and total.
  auto together = [&](const float* from, int count, i64 apart, int h, int i, float& most, float& total) {
    from += (i64)h * (HEAD_DIM + 2);
    most = -__uint_as_float(0x7f800000u);
    for (int n = 0; n < count; n++) most = fmaxf(most, from[n * apart]);
    float sum = 0.0f;
    total = 0.0f;
    for (int n = 0; n < count; n++) {
      const float there = from[n * apart];
      // A split without keys has seen nothing.
      const float weight = there == most ? 1.0f : ptx_exp2(there - most);
      total += from[n * apart + 1] * weight;
      sum += from[n * apart + 2 + i] * weight;
    }
    return sum;
  };
  const i64 of_split = (i64)HEADS * (HEAD_DIM + 2);
  const i64 row = (i64)b * gridDim.y + blockIdx.y;
  y += ((i64)b * heads + head) * HEAD_DIM;
  parts += row * splits * of_split;
  for (int i = threadIdx.x; i < HEADS * HEAD_DIM; i += THREADS) {
    const int h = i / HEAD_DIM, n = i - h * HEAD_DIM;
    float most, total;
    const float sum = together(of_warp, WARPS, of_split, h, n, most, total);
    if (splits == 1) {
      y[i] = from_float<X>(sum / total);
      continue;
    }
    float* to = parts + split * of_split + h * (HEAD_DIM + 2);
    to[2 + n] = sum;
    if (n == 0) {
      to[0] = most;
      to[1] = total;
    }
  }
  if (splits == 1) return;
  // The last of the row's blocks puts them together; the count is zero again for the next launch.
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) before = atomicInc(arrivals + row, splits - 1);
  __syncthreads();
  if (before != splits - 1) return;
  __threadfence();
  for (int i = threadIdx.x; i < HEADS * HEAD_DIM; i += THREADS) {
    const int h = i / HEAD_DIM;
    float most, total;
    const float sum = together(parts, splits, of_split, h, i - h * HEAD_DIM, most, total);
    y[i] = from_float<X>(sum / total);
  }
}
