// What products of codes on Hopper have in common (multiply-codes.cu, code-gradients.cu): tiles of 128 x 256 numbers, made by clusters of two blocks that share the
// second operand's, and the ring of stages through which operands come.
//
// What bounds such a product on Hopper is how fast the second cache gives tiles of its operands, so tiles of what is made are as large as registers allow, and two
// blocks, a cluster, make two of them below one another and share the tile of the second operand: each copies half of it to both.
//
// A block stays on its multiprocessor for many tiles. One thread of its first warpgroup copies, as far ahead as there is room; two warpgroups multiply, 64 rows
// each. Stages of 128 numbers of the inner dimension come through a ring, each with a barrier "full" (which counts bytes) and a barrier "empty" (the multiplying
// warpgroups of both blocks have done with it, as both get what is copied next). Copies of the next tile go on while this one is written.
#pragma once
#include "warpgroup.cuh"
#include "ptx-codes.cuh"

#define ROWS 128
#define COLUMNS 256
#define INNER 128  // bytes of a row of a stage, as many as a swizzle has
#define STAGES 4
#define BLOCKS 2  // of a cluster
#define BOX 64    // rows that are copied at once
#define STAGE_BYTES ((ROWS + COLUMNS) * INNER)
#define COPY_REGISTERS 40
#define MULTIPLY_REGISTERS 232
// Tiles of clusters below one another before the next column of them: what is at work at one time is about square, so that the second cache holds what is read again.
#ifndef TALL
#define TALL 8
#endif

struct Ring {
  u32 tiles, full, empty;
  int stage = 0;
  u32 parity = 0;

  __device__ __forceinline__ Ring(u32 begin) : tiles(begin), full(begin + STAGES * STAGE_BYTES), empty(full + 8 * STAGES) {}
  __device__ __forceinline__ u32 tile() const { return tiles + stage * STAGE_BYTES; }
  __device__ __forceinline__ void advance() {
    if (++stage == STAGES) {
      stage = 0;
      parity ^= 1;
    }
  }
};

struct Place {
  int row, column;
};

// Where the tile of that number of this block's cluster lies.
__device__ __forceinline__ Place place_of(int number, int tall, int wide, int block) {
  const int group = number / (TALL * wide), first = group * TALL, rows = min(TALL, tall - first), within = number - group * TALL * wide;
  return {((first + within % rows) * BLOCKS + block) * ROWS, within / rows * COLUMNS};
}

__device__ __forceinline__ u64 descriptor(u32 tile) { return descriptor_at(tile, BOX * INNER); }

// By one thread, before the blocks of a cluster meet.
__device__ __forceinline__ void make_barriers(const Ring& ring) {
  for (int i = 0; i < STAGES; i++) {
    ptx_barrier_init(ring.full + 8 * i, 1);
    ptx_barrier_init(ring.empty + 8 * i, 2 * BLOCKS);
  }
  ptx_fence_barriers();
}

// Says that a multiplying warpgroup has done with a stage: a thread each tells the blocks.
__device__ __forceinline__ void give(const Ring& ring, int stage, int thread) {
  if ((thread & 127) < BLOCKS) ptx_barrier_arrive_in(ring.empty + 8 * stage, thread & 127);
}

// Half of the second operand's tile, from row `row` on, to both blocks. `at` is where it begins in a row, in bytes.
__device__ __forceinline__ void copy_shared(const TensorMap* map, u32 tile, u32 full, int row, int at, int block) {
#pragma unroll
  for (int first = 0; first < COLUMNS; first += BLOCKS * BOX) {
    const int mine = first + block * BOX;
    ptx_copy_box_to_all(tile + (ROWS + mine) * INNER, map, at, row + mine, full, (1 << BLOCKS) - 1);
  }
}

// Waits until there is room, and says what comes. @returns the stage's barrier "full".
__device__ __forceinline__ u32 begin_stage(const Ring& ring) {
  ptx_barrier_wait(ring.empty + 8 * ring.stage, ring.parity ^ 1);
  const u32 full = ring.full + 8 * ring.stage;
  ptx_barrier_expect(full, STAGE_BYTES);
  return full;
}
