// dS between the kernel that makes it (packed-attention-hopper-grad-kv.cuh) and the one that multiplies it (packed-attention-hopper-grad-q-stored.cuh).
#pragma once
#include "packed-attention-hopper.cuh"

#define GRAD_KEYS 128
#define GRAD_ROWS 64  // packed rows of a tile
#define DS_TILE (GRAD_KEYS * GRAD_ROWS)  // numbers: a row for each key, its chunks in the order of a tile in shared memory

static_assert(GRAD_KEYS == HOPPER_ROWS && GRAD_ROWS == HOPPER_KEYS, "products are those of the other kernels");

// Where the tile of dS of a step of rows and a tile of keys lies. Every sequence begins a step of its own.
__device__ __forceinline__ i64 ds_offset(const Pair& pair, int tokens, int sequences, int row, int key_tiles, int key_tile) {
  const int first = pair.kv_head * (tokens * GROUP / GRAD_ROWS + sequences + 1) + pair.start * GROUP / GRAD_ROWS + pair.sequence;
  return ((i64)(first + row / GRAD_ROWS) * key_tiles + key_tile) * DS_TILE;
}
