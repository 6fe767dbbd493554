// The gradient of the queries on Hopper from dS as `packed_attention_grad_kv` wrote it: one product, dq = dS·K, where packed-attention-hopper-grad-q.cuh makes S and dP
// again. What bounds it is how fast dS is read.
//
// Tiles of 256 packed rows, of which each multiplying warpgroup has two times 64. A stage has 64 keys, and dS of these for all four times 64 rows; zeros where
// rows do not see them.
#include "packed-attention-hopper-ds.cuh"

#define STORED_ROWS 256
#define STORED_STAGES 4
#define STORED_UNITS (STORED_ROWS / GRAD_ROWS)
#define STORED_PART (DS_TILE / 2)  // numbers of dS of a stage, for 64 rows
#define STORED_STAGE_BYTES (tile_bytes(HOPPER_KEYS) + STORED_UNITS * STORED_PART * 2)

extern "C" __global__ void __launch_bounds__(HOPPER_THREADS, 1)
packed_attention_grad_q_stored(const bf16* ds, const bf16* k, bf16* dq, const int* sequence_starts, const int* row_of_token, int sequences, int tokens, int kv_heads,
                               int k_stride, int dq_stride, float scale, int longest, int key_tiles, const float* cosines, const float* sines) {
  SPFT_DYNAMIC_SHARED(u8, shared);
  u8* const stages = shared;
  u8* const dq_tiles = stages + STORED_STAGES * STORED_STAGE_BYTES;  // of each warpgroup
  u64* const full = (u64*)(dq_tiles + 2 * tile_bytes(GRAD_ROWS));
  u64* const empty = full + STORED_STAGES;
  if (threadIdx.x == 0) {
    for (int i = 0; i < STORED_STAGES; i++) {
      ptx_barrier_init(full + i, 128);
      ptx_barrier_init(empty + i, 8);
    }
  }
  __syncthreads();

  const int row_tiles = (longest * GROUP + STORED_ROWS - 1) / STORED_ROWS;
  const int lane = threadIdx.x & 31;
  int round = 0, stage = 0;
  u32 parity = 0;
  auto advance = [&]() {
    if (++stage == STORED_STAGES) {
      stage = 0;
      parity ^= 1;
    }
  };
  auto next = [&]() { return next_work<STORED_ROWS>(round, row_tiles, sequence_starts, row_of_token, sequences, kv_heads); };

  if (threadIdx.x < 128) {
    ptx_fewer_registers<COPY_REGISTERS>();
    const int warp = threadIdx.x / 32;
    Copies copies;
    for (Work work = next(); work.any; work = next()) {
      const Pair& pair = work.pair;
      const bf16* const k_head = k + pair.kv_head * HEAD_DIM + lane % CHUNKS * 8;
      for (int j = 0; j < work.key_tiles; j++) {
        const int row = row_or_last(pair, j * HOPPER_KEYS + warp * 16 + (lane & 15));
        copies.wait(empty + stage, parity ^ 1);
        __syncwarp();
        u8* const k_tile = stages + stage * STORED_STAGE_BYTES;
        copy_tile<HOPPER_KEYS, 1>(k_tile, k_head, k_stride, 0, row);
        u8* to = k_tile + tile_bytes(HOPPER_KEYS) + threadIdx.x * 16;
#pragma unroll
        for (int unit = 0; unit < STORED_UNITS; unit++) {
          const int first = work.first + unit * GRAD_ROWS;
          const bool seen = first < pair.packed_rows() && j * (HOPPER_KEYS * GROUP) <= first;  // a key tile's first row begins such 64
          const bf16* const from =
              seen ? ds + ds_offset(pair, tokens, sequences, first, key_tiles, j / 2) + (j & 1) * STORED_PART + threadIdx.x * 8 : ds;
#pragma unroll
          for (int i = 0; i < STORED_PART / 8 / 128; i++) ptx_copy_async_16(to + i * (128 * 16), from + i * (128 * 8), seen);
          to += STORED_PART * 2;
        }
        copies.started(full + stage);
        advance();
      }
    }
    copies.finish();
  } else {
    ptx_more_registers<MULTIPLY_REGISTERS>();
    const int warp = threadIdx.x / 32 - 4, group = warp / 4;
    u8* const dq_tile = dq_tiles + group * tile_bytes(GRAD_ROWS);
    for (Work work = next(); work.any; work = next()) {
      const Pair& pair = work.pair;
      bf16* const dq_head = dq + pair.kv_head * (GROUP * HEAD_DIM);
      const int first = work.first + group * (2 * GRAD_ROWS);
      int rows[2];  // of lane l < 16: that of the warp's row l of each 64
#pragma unroll
      for (int unit = 0; unit < 2; unit++) {
        rows[unit] = row_or_none(pair, (first + unit * GRAD_ROWS + warp % 4 * 16 + (lane & 15)) / GROUP);
        fetch_angles(cosines, sines, rows[unit]);
      }
      float acc[2][CHUNKS][4];
#pragma unroll
      for (int n = 0; n < CHUNKS; n++) {
        acc[0][n][0] = acc[0][n][1] = acc[0][n][2] = acc[0][n][3] = 0.0f;
        acc[1][n][0] = acc[1][n][1] = acc[1][n][2] = acc[1][n][3] = 0.0f;
      }
      u64* last = nullptr;
      for (int j = 0; j < work.key_tiles; j++) {
        ptx_barrier_wait(full + stage, parity);
        const u8* const k_tile = stages + stage * STORED_STAGE_BYTES;
        const u64 b = descriptor<HOPPER_KEYS>(k_tile, 0);
        const u64 a = descriptor<HOPPER_KEYS>(k_tile + tile_bytes(HOPPER_KEYS), group * (2 * STORED_PART * 2));
        keep(acc[0]);
        keep(acc[1]);
        ptx_wgmma_fence();
#pragma unroll
        for (int unit = 0; unit < 2; unit++) {
#pragma unroll
          for (int step = 0; step < HOPPER_KEYS / 16; step++) {
            ptx_wgmma<1, 1>(acc[unit], a + (unit * (STORED_PART * 2) + step * 2048) / 16, b + step * (2048 / 16), 1);
          }
        }
        ptx_wgmma_commit();
        ptx_wgmma_wait<1>();
        if (last) arrive_as_warp(last);
        last = empty + stage;
        advance();
      }
      ptx_wgmma_wait<0>();
      keep(acc[0]);
      keep(acc[1]);
      arrive_as_warp(last);
#pragma unroll
      for (int unit = 0; unit < 2; unit++) {
        const int row0 = first + unit * GRAD_ROWS;
        store_accumulators<GRAD_ROWS>(dq_tile, warp % 4, acc[unit], scale, scale);
        __syncwarp();
        if (cosines) write_rows_turned_back<GRAD_ROWS, GROUP>(dq_tile, warp % 4, dq_head, dq_stride, row0, rows[unit], cosines, sines);
        else write_rows<GRAD_ROWS, GROUP>(dq_tile, warp % 4, dq_head, dq_stride, row0, rows[unit]);
        __syncwarp();
      }
    }
  }
}
