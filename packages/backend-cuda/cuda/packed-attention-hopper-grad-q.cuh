// The gradient of the queries on Hopper (packed-attention-hopper.cuh says how the block is divided). Of each tile of keys the products Q·Kᵀ and dout·Vᵀ
// start behind that of the tile before for dq.
#include "packed-attention-hopper.cuh"

extern "C" __global__ void __launch_bounds__(HOPPER_THREADS, 1)
packed_attention_grad_q(const bf16* q, const bf16* k, const bf16* v, const bf16* out, const bf16* dout, const float* lse, bf16* dq, float* delta,
                        const int* sequence_starts, const int* row_of_token, int sequences, int tokens, int kv_heads, int q_stride, int k_stride,
                        int v_stride, int out_stride, int dout_stride, int dq_stride, float scale, int longest) {
  SPFT_DYNAMIC_SHARED(u8, shared);
  u8* q_tile = shared;
  u8* out_tile = q_tile + tile_bytes(HOPPER_ROWS);
  u8* dout_tiles = out_tile + tile_bytes(HOPPER_ROWS);  // of this tile and the next: unlike q and out, read until the end
  u8* stages = dout_tiles + 2 * tile_bytes(HOPPER_ROWS);
  u64* ring_barriers = (u64*)(stages + STAGES * tile_bytes(HOPPER_KEYS));
  u64* query_barriers = ring_barriers + 2 * STAGES;  // full; empty but for dout, empty of dout twice
  init_barriers(ring_barriers, query_barriers);
  Ring ring(stages, ring_barriers);

  const int row_tiles = (longest * GROUP + HOPPER_ROWS - 1) / HOPPER_ROWS;
  const int count = row_tiles * sequences * kv_heads;
  const int lane = threadIdx.x & 31;
  u32 query_parity = 0, dout_parity = 0;  // tiles are taken in turn, so the first is also which of dout's

  if (threadIdx.x < 128) {
    ptx_fewer_registers<COPY_REGISTERS>();
    const int warp = threadIdx.x / 32;
    for (int round = 0; round * (int)gridDim.x < count; round++) {
      const int number = work_number(round);
      if (number >= count) continue;
      const Work work = work_of(number, row_tiles, sequence_starts, row_of_token, sequences, kv_heads);
      if (!work.any) continue;
      const Pair& pair = work.pair;
      const int q_row = row_or_none(pair, (work.first + warp * 32 + lane) / GROUP);
      const int mine = warp * 16 + (lane & 15);
      int row = row_or_none(pair, mine);
      const int head = pair.kv_head * (GROUP * HEAD_DIM);
      ptx_barrier_wait(query_barriers + 1, query_parity ^ 1);
      copy_queries(q_tile, q + head, q_stride, work.first, q_row);
      copy_queries(out_tile, out + head, out_stride, work.first, q_row);
      ptx_barrier_wait(query_barriers + 2 + query_parity, dout_parity ^ 1);
      copy_queries(dout_tiles + query_parity * tile_bytes(HOPPER_ROWS), dout + head, dout_stride, work.first, q_row);
      ptx_barrier_arrive_after_copies(query_barriers);
      dout_parity ^= query_parity;
      query_parity ^= 1;
      for (int j = 0; j < work.key_tiles; j++) {
        const int row_ahead = row_or_none(pair, (j + 1) * HOPPER_KEYS + mine);
        copy_stage(ring, k + pair.kv_head * HEAD_DIM, k_stride, row);
        copy_stage(ring, v + pair.kv_head * HEAD_DIM, v_stride, row);
        row = row_ahead;
      }
    }
    ptx_copy_async_commit();
    ptx_copy_async_wait<0>();
  } else {
    ptx_more_registers<MULTIPLY_REGISTERS>();
    const int row16 = threadIdx.x / 32 - 4;  // of the tile
    const u32 lane_a = lane_offset_a(lane);
    const float scale_log2 = scale * LOG2_E;
    for (int round = 0; round * (int)gridDim.x < count; round++) {
      const int number = work_number(round);
      if (number >= count) continue;
      const Work work = work_of(number, row_tiles, sequence_starts, row_of_token, sequences, kv_heads);
      if (!work.any) continue;
      const Pair& pair = work.pair;
      const int warp_first = work.first + row16 * 16;
      const int low_token = (warp_first + lane / 4) / GROUP, high_token = (warp_first + lane / 4 + 8) / GROUP;
      const int group_first = work.first + row16 / 4 * 64;
      const int group_first_token = group_first / GROUP;
      const int key_tiles = min(work.key_tiles, (group_first + 63) / GROUP / HOPPER_KEYS + 1);
      const int dq_row = row_or_none(pair, (warp_first + (lane & 15)) / GROUP);
      const i64 packed = ((i64)pair.kv_head * tokens + pair.start) * GROUP;  // where this pair begins in lse and delta

      // Of rows lane / 4 and lane / 4 + 8. Rows past the end have a probability of 2^-inf = 0 for every key.
      float row_lse[2], row_delta[2] = {0.0f, 0.0f};
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int r = warp_first + half * 8 + lane / 4;
        row_lse[half] = r < pair.packed_rows() ? lse[packed + r] : infinity();
      }
      u32 q_fragments[K_STEPS][4];
      ptx_barrier_wait(query_barriers, query_parity);
      ptx_fence_shared_for_wgmma();
      u8* dout_tile = dout_tiles + query_parity * tile_bytes(HOPPER_ROWS);
      u64* dout_empty = query_barriers + 2 + query_parity;
      query_parity ^= 1;
      load_a<HOPPER_ROWS>(q_fragments, q_tile, row16, lane_a);
      // delta = rowsum(dout * out) = rowsum(P * dP), as out = P·V.
#pragma unroll
      for (int n = 0; n < K_STEPS; n++) {
        u32 o[4], d[4];
        ptx_ldmatrix_x4(o, fragment<HOPPER_ROWS>(out_tile, lane_a, row16, n));
        ptx_ldmatrix_x4(d, fragment<HOPPER_ROWS>(dout_tile, lane_a, row16, n));
#pragma unroll
        for (int e = 0; e < 4; e++) {
          row_delta[e & 1] += low_float(o[e]) * low_float(d[e]) + high_float(o[e]) * high_float(d[e]);
        }
      }
      arrive_as_warp(query_barriers + 1);
#pragma unroll
      for (int half = 0; half < 2; half++) {
        row_delta[half] = quad_sum(row_delta[half]);
        const int r = warp_first + half * 8 + lane / 4;
        if ((lane & 3) == 0 && r < pair.packed_rows()) delta[packed + r] = row_delta[half];
      }

      float acc[CHUNKS][4], s[HOPPER_KEYS / 8][4], dp[HOPPER_KEYS / 8][4];
      u32 ds[HOPPER_KEYS / 16][4];
#pragma unroll
      for (int n = 0; n < CHUNKS; n++) acc[n][0] = acc[n][1] = acc[n][2] = acc[n][3] = 0.0f;

      int k_stage = 0;
#pragma unroll 1
      for (int j = 0; j < key_tiles; j++) {
        const int last_stage = k_stage;
        k_stage = ring.take();
        keep(s);
        keep(dp);
        keep(acc);
        if (j > 0) start_pb(acc, ds, ring.tile(last_stage));
        start_abt(s, q_fragments, ring.tile(k_stage));
        const int v_stage = ring.take();
        start_abt(dp, dout_tile, row16 / 4, ring.tile(v_stage));
        ptx_wgmma_wait<1>();
        keep(s);
        if (j > 0) ring.give(last_stage);
        const int key0 = j * HOPPER_KEYS;
        if (key0 + HOPPER_KEYS - 1 > group_first_token) mask_keys(s, low_token - key0, high_token - key0);
#pragma unroll
        for (int n = 0; n < HOPPER_KEYS / 8; n++) {
#pragma unroll
          for (int e = 0; e < 4; e++) s[n][e] = ptx_exp2(s[n][e] * scale_log2 - row_lse[e / 2]);
        }
        ptx_wgmma_wait<0>();
        keep(acc);
        keep(dp);
        ring.give(v_stage);
#pragma unroll
        for (int n = 0; n < HOPPER_KEYS / 8; n++) {
#pragma unroll
          for (int e = 0; e < 4; e++) s[n][e] *= dp[n][e] - row_delta[e / 2];  // dS, but for the scale
        }
        pack_a(ds, s);
      }
      keep(acc);
      start_pb(acc, ds, ring.tile(k_stage));
      ptx_wgmma_wait<0>();
      keep(acc);
      ring.give(k_stage);
      // The other warpgroup's rows may see one more tile of keys.
      if (key_tiles < work.key_tiles) {
        ring.give(ring.take());
        ring.give(ring.take());
      }

      // A warp reads no dout but of its own 16 rows, so it can overwrite them.
      store_accumulators<HOPPER_ROWS>(dout_tile, row16, acc, scale, scale);
      __syncwarp();
      write_rows(dout_tile, row16, dq + pair.kv_head * (GROUP * HEAD_DIM), dq_stride, work.first, dq_row);
      arrive_as_warp(dout_empty);
    }
  }
}
