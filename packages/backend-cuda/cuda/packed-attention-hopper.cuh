// Attention on Hopper: what the kernels with warpgroup products share.
//
// A block has three warpgroups and stays on its multiprocessor for many tiles. The first copies tiles to shared memory, as far ahead as there is
// room; the other two multiply, 64 packed rows each, and share every tile of keys and values. Tiles of 64 keys or values come through a ring of
// stages in the order of their use, each with a barrier "full" (the copies of all 128 copying threads are there) and a barrier "empty" (all eight
// multiplying warps have done with it). The copies of the next tile of queries go on while this one is computed.
//
// cp.async writes through the generic proxy and wgmma reads through the async proxy: a copying thread waits for its copies and has a proxy fence before
// it arrives at "full", two groups of copies later than it started them. In the other direction the end of a product, the arrival at "empty" and the
// wait for it order reads before new copies.
#pragma once
#include "packed-attention.cuh"
#include "warpgroup.cuh"

#define HOPPER_THREADS 384
#define HOPPER_ROWS 128  // packed rows of a block's tile
#define HOPPER_KEYS 64   // of a stage
#ifndef STAGES
#define STAGES 6
#endif
#define QUERY_BARRIERS 4  // full, empty, and as the kernel likes
#define COPY_REGISTERS 56
#define MULTIPLY_REGISTERS 224

__device__ __forceinline__ void arrive_as_warp(u64* barrier) {
  __syncwarp();
  if ((threadIdx.x & 31) == 0) ptx_barrier_arrive(barrier);
}

struct Ring {
  u8* tiles;
  u64* full;
  u64* empty;
  int stage = 0;
  u32 parity = 0;

  __device__ __forceinline__ Ring(u8* tiles, u64* barriers) : tiles(tiles), full(barriers), empty(barriers + STAGES) {}
  __device__ __forceinline__ u8* tile(int of) const { return tiles + of * tile_bytes(HOPPER_KEYS); }
  __device__ __forceinline__ void advance() {
    if (++stage == STAGES) {
      stage = 0;
      parity ^= 1;
    }
  }
  // For who multiplies: the next stage, once it is full.
  __device__ __forceinline__ int take() {
    const int taken = stage;
    ptx_barrier_wait(full + taken, parity);
    advance();
    return taken;
  }
  // Waits for the next stage without taking it. (As a loop this also keeps ptxas from moving what is computed before it behind the wait for a product
  // that comes after it.)
  __device__ __forceinline__ void await() const { ptx_barrier_wait(full + stage, parity); }
  __device__ __forceinline__ void give(int taken) const { arrive_as_warp(empty + taken); }
};

__device__ __forceinline__ void init_barriers(u64* ring_barriers, u64* query_barriers) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      ptx_barrier_init(ring_barriers + i, 128);
      ptx_barrier_init(ring_barriers + STAGES + i, 8);
    }
    ptx_barrier_init(query_barriers, 128);
    for (int i = 1; i < QUERY_BARRIERS; i++) ptx_barrier_init(query_barriers + i, 8);
  }
  __syncthreads();
}

// One tile of packed rows.
struct Work {
  Pair pair;
  int first;  // packed row
  int key_tiles;
  bool any;
};

// Tiles go to blocks round by round, every second round backwards, as they come in order of their work.
__device__ __forceinline__ int work_number(int round) {
  return round * gridDim.x + (round & 1 ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
}
template <int ROWS = HOPPER_ROWS>
__device__ __forceinline__ Work work_of(int number, int row_tiles, const int* sequence_starts, const int* row_of_token, int sequences, int kv_heads) {
  Work work;
  int tile;
  work.pair = pair_of(number, sequence_starts, row_of_token, sequences, kv_heads, tile);
  work.first = (row_tiles - 1 - tile) * ROWS;  // later rows see more keys
  work.any = work.first < work.pair.packed_rows();
  work.key_tiles = min((work.first + ROWS - 1) / GROUP, work.pair.length - 1) / HOPPER_KEYS + 1;
  return work;
}

// The next of this block's tiles that has rows; `any` is false after the last.
template <int ROWS = HOPPER_ROWS>
__device__ __forceinline__ Work next_work(int& round, int row_tiles, const int* sequence_starts, const int* row_of_token, int sequences, int kv_heads) {
  const int count = row_tiles * sequences * kv_heads;
  Work work;
  work.any = false;
  while (!work.any && round * (int)gridDim.x < count) {
    const int number = work_number(round++);
    if (number < count) work = work_of<ROWS>(number, row_tiles, sequence_starts, row_of_token, sequences, kv_heads);
  }
  return work;
}

// Row of token in q, k, …; past the end that of the last token, whose copies do no harm: no row sees the keys, and nobody reads such rows' results.
__device__ __forceinline__ int row_or_last(const Pair& pair, int token) { return pair.row_of_token[min(token, pair.length - 1)]; }

// The groups of copies under way, whose barriers are still to be told.
struct Copies {
  u64* last = nullptr;
  u64* before = nullptr;

  static __device__ __forceinline__ void tell(u64* barrier) {
    if (barrier) ptx_barrier_arrive(barrier);
  }
  __device__ __forceinline__ void started(u64* barrier) {
    ptx_copy_async_commit();
    if (before) {
      ptx_copy_async_wait<2>();
      ptx_fence_shared_for_wgmma();
      tell(before);
    }
    before = last;
    last = barrier;
  }
  // Waits, but never with copies that nobody was told of: what is waited for may depend on them.
  __device__ __forceinline__ void wait(u64* barrier, u32 parity) {
    if (ptx_barrier_test(barrier, parity)) return;
    finish();
    ptx_barrier_wait(barrier, parity);
  }
  __device__ __forceinline__ void finish() {
    ptx_copy_async_wait<0>();
    ptx_fence_shared_for_wgmma();
    tell(before);
    tell(last);
    last = before = nullptr;
  }
};

// Copies of a warp: its quarter of a tile. `row` of lane l is that of the warp's row l; x points at this thread's chunk of the pair's first head: HEADS is GROUP for
// packed rows, of which `first` is the tile's first, and 1 for keys.
#define ROWS_AT_ONCE (32 / CHUNKS)
template <int ROWS, int HEADS> __device__ __forceinline__ void copy_tile(u8* to, const bf16* x, int stride, int first, int row) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x & 31;
  const u32 tile = ptx_shared_address(to) + chunk_offset<ROWS>(warp * (ROWS / 4) + lane / CHUNKS, lane % CHUNKS);
#pragma unroll 8
  for (int i = 0; i < ROWS / 4 / ROWS_AT_ONCE; i++) {
    const int down = i * ROWS_AT_ONCE, r = warp * (ROWS / 4) + down + lane / CHUNKS;
    const int from = __shfl_sync(0xffffffffu, row, down + lane / CHUNKS);
    const int head = (ROWS % HEADS == 0 ? r : first + r) % HEADS;
    ptx_copy_async_16((tile ^ (down & 7) << 4) + down * 128, x + (i64)from * stride + head * HEAD_DIM);
  }
}
__device__ __forceinline__ void copy_stage(Copies& copies, Ring& ring, const bf16* x, int stride, int row) {
  copies.wait(ring.empty + ring.stage, ring.parity ^ 1);
  __syncwarp();
  copy_tile<HOPPER_KEYS, 1>(ring.tile(ring.stage), x, stride, 0, row);
  copies.started(ring.full + ring.stage);
  ring.advance();
}

// Of a tile of ROWS rows, from a byte of it on.
template <int ROWS> __device__ __forceinline__ u64 descriptor(const u8* tile, u32 offset) {
  return descriptor_at(ptx_shared_address(tile) + offset, ROWS * 128);
}
template <int ROWS> __device__ __forceinline__ u32 k_offset(int k) { return (k >> 2) * (ROWS * 128) + (k & 3) * 32; }

// Products of a warpgroup with a stage. Registers of A are those of the warp's 16 rows; no register that a product reads or writes is touched
// between its start and the wait for its end.
__device__ __forceinline__ void start_abt(float (&acc)[HOPPER_KEYS / 8][4], const u32 (&a)[K_STEPS][4], const u8* tile) {
  const u64 b = descriptor<HOPPER_KEYS>(tile, 0);
  ptx_wgmma_fence();
#pragma unroll
  for (int k = 0; k < K_STEPS; k++) ptx_wgmma<0>(acc, a[k], b + k_offset<HOPPER_KEYS>(k) / 16, k > 0);
  ptx_wgmma_commit();
}
// The same with A from the warpgroup's 64 rows, from 64 * group on, of a tile of packed rows.
__device__ __forceinline__ void start_abt(float (&acc)[HOPPER_KEYS / 8][4], const u8* a_tile, int group, const u8* tile) {
  const u64 a = descriptor<HOPPER_ROWS>(a_tile, group * (64 * 128)), b = descriptor<HOPPER_KEYS>(tile, 0);
  ptx_wgmma_fence();
#pragma unroll
  for (int k = 0; k < K_STEPS; k++) ptx_wgmma<0>(acc, a + k_offset<HOPPER_ROWS>(k) / 16, b + k_offset<HOPPER_KEYS>(k) / 16, k > 0);
  ptx_wgmma_commit();
}
__device__ __forceinline__ void start_pb(float (&acc)[CHUNKS][4], const u32 (&p)[HOPPER_KEYS / 16][4], const u8* tile) {
  const u64 b = descriptor<HOPPER_KEYS>(tile, 0);
  ptx_wgmma_fence();
#pragma unroll
  for (int k = 0; k < HOPPER_KEYS / 16; k++) ptx_wgmma<1>(acc, p[k], b + k * (2048 / 16), 1);
  ptx_wgmma_commit();
}
__device__ __forceinline__ void pack_a(u32 (&a)[HOPPER_KEYS / 16][4], const float (&x)[HOPPER_KEYS / 8][4]) {
#pragma unroll
  for (int k = 0; k < HOPPER_KEYS / 16; k++) {
    a[k][0] = pack_bf16(x[2 * k][0], x[2 * k][1]);
    a[k][1] = pack_bf16(x[2 * k][2], x[2 * k][3]);
    a[k][2] = pack_bf16(x[2 * k + 1][0], x[2 * k + 1][1]);
    a[k][3] = pack_bf16(x[2 * k + 1][2], x[2 * k + 1][3]);
  }
}

// Scores of keys that a row does not see become -inf. low and high: the tokens of this thread's two rows, from the tile's first key on.
__device__ __forceinline__ void mask_keys(float (&s)[HOPPER_KEYS / 8][4], int low, int high) {
#pragma unroll
  for (int n = 0; n < HOPPER_KEYS / 8; n++) {
    const int key = n * 8 + (threadIdx.x & 3) * 2;
    if (key > low) s[n][0] = -infinity();
    if (key + 1 > low) s[n][1] = -infinity();
    if (key > high) s[n][2] = -infinity();
    if (key + 1 > high) s[n][3] = -infinity();
  }
}

// Writes a warp's rows of a tile; row of lane l < 16 is that of its row l, -1 past the end. x points at the pair's first head, HEADS and first are as for copy_tile.
template <int ROWS, int HEADS> __device__ __forceinline__ void write_rows(const u8* tile, int row16, bf16* x, int stride, int first, int row) {
  const int lane = threadIdx.x & 31, chunk = lane % CHUNKS;
#pragma unroll
  for (int i = 0; i < 16 / ROWS_AT_ONCE; i++) {
    const int l = i * ROWS_AT_ONCE + lane / CHUNKS, r = row16 * 16 + l;
    const int to = __shfl_sync(0xffffffffu, row, l);
    if (to >= 0) *(Words4*)(x + (i64)to * stride + (first + r) % HEADS * HEAD_DIM + chunk * 8) = *(const Words4*)(tile + chunk_offset<ROWS>(r, chunk));
  }
}

// The same of gradients of what RoPE turned.
template <int ROWS, int HEADS>
__device__ __forceinline__ void write_rows_turned_back(const u8* tile, int row16, bf16* x, int stride, int first, int row, const float* cosines,
                                                       const float* sines) {
  const int lane = threadIdx.x & 31, piece = lane % (CHUNKS / 2);
#pragma unroll
  for (int i = 0; i < 8 / ROWS_AT_ONCE; i++) {
    const int l = i * (2 * ROWS_AT_ONCE) + lane / (CHUNKS / 2), r = row16 * 16 + l;
    const int to = __shfl_sync(0xffffffffu, row, l);
    if (to >= 0) write_turned_back<ROWS>(x + (i64)to * stride + (first + r) % HEADS * HEAD_DIM, tile, r, piece, cosines, sines, to);
  }
}
