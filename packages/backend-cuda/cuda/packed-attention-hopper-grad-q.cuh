// The gradient of the queries on Hopper (packed-attention-hopper.cuh says how the block is divided). Of each tile of keys the products Q·Kᵀ and dout·Vᵀ
// start behind that of the tile before for dq.
#include "packed-attention-hopper.cuh"

static_assert(STAGES >= 6, "a stage is held until the fifth after it is full");

extern "C" __global__ void __launch_bounds__(HOPPER_THREADS, 1)
packed_attention_grad_q(const bf16* q, const bf16* k, const bf16* v, const bf16* out, const bf16* dout, const float* lse, bf16* dq, float* delta,
                        const int* sequence_starts, const int* row_of_token, int sequences, int tokens, int kv_heads, int q_stride, int k_stride,
                        int v_stride, int out_stride, int dout_stride, int dq_stride, float scale, int longest, const float* cosines, const float* sines) {
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
  const int lane = threadIdx.x & 31;
  int round = 0;
  u32 query_parity = 0, dout_parity = 0;  // tiles are taken in turn, so the first is also which of dout's

  if (threadIdx.x < 128) {
    ptx_fewer_registers<COPY_REGISTERS>();
    Copies copies;
    const int warp = threadIdx.x / 32;
    Work work = next_work(round, row_tiles, sequence_starts, row_of_token, sequences, kv_heads);
    while (work.any) {
      const Work next = next_work(round, row_tiles, sequence_starts, row_of_token, sequences, kv_heads);
      const Pair& pair = work.pair;
      const int chunk = lane % CHUNKS * 8;
      const int q_row = row_or_last(pair, (work.first + warp * 32 + lane) / GROUP);
      const int mine = warp * 16 + (lane & 15);
      int row = row_or_last(pair, mine);
      const int head = pair.kv_head * (GROUP * HEAD_DIM) + chunk;
      copies.wait(query_barriers + 1, query_parity ^ 1);
      copy_tile<HOPPER_ROWS, GROUP>(q_tile, q + head, q_stride, work.first, q_row);
      copy_tile<HOPPER_ROWS, GROUP>(out_tile, out + head, out_stride, work.first, q_row);
      copies.wait(query_barriers + 2 + query_parity, dout_parity ^ 1);
      copy_tile<HOPPER_ROWS, GROUP>(dout_tiles + query_parity * tile_bytes(HOPPER_ROWS), dout + head, dout_stride, work.first, q_row);
      copies.started(query_barriers);
      dout_parity ^= query_parity;
      query_parity ^= 1;
      for (int j = 0; j < work.key_tiles; j++) {
        const int row_ahead = row_or_last(pair, (j + 1) * HOPPER_KEYS + mine);
        copy_stage(copies, ring, k + pair.kv_head * HEAD_DIM + chunk, k_stride, row);
        copy_stage(copies, ring, v + pair.kv_head * HEAD_DIM + chunk, v_stride, row);
        row = row_ahead;
      }
      work = next;
    }
    copies.finish();
  } else {
    ptx_more_registers<MULTIPLY_REGISTERS>();
    const int row16 = threadIdx.x / 32 - 4;  // of the tile
    const u32 lane_a = lane_offset_a(lane);
    const float scale_log2 = scale * LOG2_E;
    u32 q_fragments[K_STEPS][4], ds[HOPPER_KEYS / 16][4];
    float acc[CHUNKS][4], s[HOPPER_KEYS / 8][4], dp[HOPPER_KEYS / 8][4];
    float row_lse[2], row_delta[2];  // of rows lane / 4 and lane / 4 + 8
    int k_stage = 0, v_stage = 0;
    u8* dout_tile = dout_tiles;
    u64* dout_empty = nullptr;
    // The first products of a tile start while the last of the tile before is under way. Where there is no tile they multiply what lies around, as
    // products under a condition would keep ptxas from letting any two overlap.
    auto begin = [&](const Work& of) {
      row_lse[0] = row_lse[1] = infinity();  // rows past the end: a probability of 2^-inf = 0 for every key
      const i64 packed = ((i64)of.pair.kv_head * tokens + of.pair.start) * GROUP;  // where this pair begins in lse and delta
      const int r0 = of.first + row16 * 16 + lane / 4;
      if (of.any) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          if (r0 + half * 8 < of.pair.packed_rows()) row_lse[half] = lse[packed + r0 + half * 8];
        }
        ptx_barrier_wait(query_barriers, query_parity);
        dout_tile = dout_tiles + query_parity * tile_bytes(HOPPER_ROWS);
        dout_empty = query_barriers + 2 + query_parity;
        query_parity ^= 1;
      }
      load_a<HOPPER_ROWS>(q_fragments, q_tile, row16, lane_a);
      if (of.any) {
        k_stage = ring.take();
        v_stage = ring.take();
      }
      keep(s);
      keep(dp);
      start_abt(s, q_fragments, ring.tile(k_stage));
      start_abt(dp, dout_tile, row16 / 4, ring.tile(v_stage));
      // delta = rowsum(dout * out) = rowsum(P * dP), as out = P·V.
      row_delta[0] = row_delta[1] = 0.0f;
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
      row_delta[0] = quad_sum(row_delta[0]);
      row_delta[1] = quad_sum(row_delta[1]);
      if (of.any) {
        arrive_as_warp(query_barriers + 1);
#pragma unroll
        for (int half = 0; half < 2; half++) {
          if (delta && (lane & 3) == 0 && r0 + half * 8 < of.pair.packed_rows()) delta[packed + r0 + half * 8] = row_delta[half];
        }
      }
    };
    Work work = next_work(round, row_tiles, sequence_starts, row_of_token, sequences, kv_heads);
    begin(work);
    ptx_wgmma_wait<0>();
    keep(s);
    keep(dp);
    while (work.any) {
      const Work next = next_work(round, row_tiles, sequence_starts, row_of_token, sequences, kv_heads);
      const Pair& pair = work.pair;
      const int warp_first = work.first + row16 * 16;
      const int low_token = (warp_first + lane / 4) / GROUP, high_token = (warp_first + lane / 4 + 8) / GROUP;
      const int group_first = work.first + row16 / 4 * 64;
      const int group_first_token = group_first / GROUP;
      const int key_tiles = min(work.key_tiles, (group_first + 63) / GROUP / HOPPER_KEYS + 1);
      const int dq_row = row_or_none(pair, (warp_first + (lane & 15)) / GROUP);
      fetch_angles(cosines, sines, dq_row);

#pragma unroll
      for (int n = 0; n < CHUNKS; n++) acc[n][0] = acc[n][1] = acc[n][2] = acc[n][3] = 0.0f;
      // s and dp to ds.
      auto powers = [&](int key0) {
        if (key0 + HOPPER_KEYS - 1 > group_first_token) mask_keys(s, low_token - key0, high_token - key0);
#pragma unroll
        for (int n = 0; n < HOPPER_KEYS / 8; n++) {
#pragma unroll
          for (int e = 0; e < 4; e++) s[n][e] = ptx_exp2(s[n][e] * scale_log2 - row_lse[e / 2]);
        }
      };
      auto finish = [&]() {
#pragma unroll
        for (int n = 0; n < HOPPER_KEYS / 8; n++) {
#pragma unroll
          for (int e = 0; e < 4; e++) s[n][e] *= dp[n][e] - row_delta[e / 2];  // dS, but for the scale
        }
        pack_a(ds, s);
      };
      ring.give(v_stage);
      powers(0);
      finish();
      for (int j = 1; j < key_tiles; j++) {
        const int last_stage = k_stage;
        k_stage = ring.take();
        keep(s);
        keep(dp);
        keep(acc);
        start_pb(acc, ds, ring.tile(last_stage));
        start_abt(s, q_fragments, ring.tile(k_stage));
        v_stage = ring.take();
        start_abt(dp, dout_tile, row16 / 4, ring.tile(v_stage));
        ptx_wgmma_wait<1>();
        keep(s);
        ring.give(last_stage);
        powers(j * HOPPER_KEYS);
        if (j + 1 < work.key_tiles) ring.await();
        ptx_wgmma_wait<0>();
        keep(acc);
        keep(dp);
        ring.give(v_stage);
        finish();
      }
      const int last_stage = k_stage;
      u8* dq_tile = dout_tile;
      u64* dq_empty = dout_empty;
      keep(acc);
      start_pb(acc, ds, ring.tile(last_stage));
      // The other warpgroup's rows may see one more tile of keys.
      if (key_tiles < work.key_tiles) {
        ring.give(ring.take());
        ring.give(ring.take());
      }
      begin(next);
      ptx_wgmma_wait<2>();  // the products of the next tile go on
      keep(acc);
      ring.give(last_stage);

      // A warp reads no dout but of its own 16 rows, so it can overwrite them.
      store_accumulators<HOPPER_ROWS>(dq_tile, row16, acc, scale, scale);
      __syncwarp();
      bf16* const dq_head = dq + pair.kv_head * (GROUP * HEAD_DIM);
      if (cosines) write_rows_turned_back<HOPPER_ROWS, GROUP>(dq_tile, row16, dq_head, dq_stride, work.first, dq_row, cosines, sines);
      else write_rows<HOPPER_ROWS, GROUP>(dq_tile, row16, dq_head, dq_stride, work.first, dq_row);
      arrive_as_warp(dq_empty);
      ptx_wgmma_wait<0>();
      keep(s);
      keep(dp);
      work = next;
    }
  }
}
