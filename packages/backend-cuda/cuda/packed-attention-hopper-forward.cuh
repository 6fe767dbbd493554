// The forward on Hopper (packed-attention-hopper.cuh says how the block is divided). Of each tile of keys the product Q·Kᵀ starts first, then P·V of the
// tile before, whose end comes behind the softmax of this one.
#include "packed-attention-hopper.cuh"

extern "C" __global__ void __launch_bounds__(HOPPER_THREADS, 1)
packed_attention(const bf16* q, const bf16* k, const bf16* v, bf16* out, float* lse, const int* sequence_starts, const int* row_of_token,
                 int sequences, int tokens, int kv_heads, int q_stride, int k_stride, int v_stride, int out_stride, float scale, int longest) {
  SPFT_DYNAMIC_SHARED(u8, shared);
  u8* q_tile = shared;
  u8* out_tile = q_tile + tile_bytes(HOPPER_ROWS);
  u8* stages = out_tile + tile_bytes(HOPPER_ROWS);
  u64* ring_barriers = (u64*)(stages + STAGES * tile_bytes(HOPPER_KEYS));
  u64* query_barriers = ring_barriers + 2 * STAGES;  // full, empty
  init_barriers(ring_barriers, query_barriers);
  Ring ring(stages, ring_barriers);

  const int row_tiles = (longest * GROUP + HOPPER_ROWS - 1) / HOPPER_ROWS;
  const int lane = threadIdx.x & 31;
  u32 query_parity = 0;
  int round = 0;

  if (threadIdx.x < 128) {
    ptx_fewer_registers<COPY_REGISTERS>();
    Copies copies;
    const int warp = threadIdx.x / 32;
    Work work = next_work(round, row_tiles, sequence_starts, row_of_token, sequences, kv_heads);
    while (work.any) {
      const Work next = next_work(round, row_tiles, sequence_starts, row_of_token, sequences, kv_heads);
      const Pair& pair = work.pair;
      const int chunk = lane % CHUNKS * 8;
      const bf16* k_head = k + pair.kv_head * HEAD_DIM + chunk;
      const bf16* v_head = v + pair.kv_head * HEAD_DIM + chunk;
      const int q_row = row_or_last(pair, (work.first + warp * 32 + lane) / GROUP);
      const int mine = warp * 16 + (lane & 15);
      int row = row_or_last(pair, mine), row_ahead = row_or_last(pair, HOPPER_KEYS + mine);
      copies.wait(query_barriers + 1, query_parity ^ 1);
      copy_tile<HOPPER_ROWS, GROUP>(q_tile, q + pair.kv_head * (GROUP * HEAD_DIM) + chunk, q_stride, work.first, q_row);
      copies.started(query_barriers);
      query_parity ^= 1;
      copy_stage(copies, ring, k_head, k_stride, row);
      for (int j = 0; j < work.key_tiles; j++) {
        const int row_after = row_or_last(pair, (j + 2) * HOPPER_KEYS + mine);
        if (j + 1 < work.key_tiles) copy_stage(copies, ring, k_head, k_stride, row_ahead);
        copy_stage(copies, ring, v_head, v_stride, row);
        row = row_ahead;
        row_ahead = row_after;
      }
      work = next;
    }
    copies.finish();
  } else {
    ptx_more_registers<MULTIPLY_REGISTERS>();
    const int row16 = threadIdx.x / 32 - 4;  // of the tile
    const u32 lane_a = lane_offset_a(lane);
    const float scale_log2 = scale * LOG2_E;
    const float slack = 8.0f / scale_log2;
    u32 q_fragments[K_STEPS][4], p[HOPPER_KEYS / 16][4];
    float acc[CHUNKS][4], s[HOPPER_KEYS / 8][4];
    int k_stage = 0;
    // The first product of a tile starts while the last of the tile before is under way. Where there is no tile it multiplies what lies around, as a
    // product under a condition would keep ptxas from letting any two overlap.
    auto begin = [&](bool any) {
      if (any) ptx_barrier_wait(query_barriers, query_parity);
      load_a<HOPPER_ROWS>(q_fragments, q_tile, row16, lane_a);
      if (any) {
        query_parity ^= 1;
        arrive_as_warp(query_barriers + 1);
        k_stage = ring.take();
      }
      keep(s);
      start_abt(s, q_fragments, ring.tile(k_stage));
    };
    Work work = next_work(round, row_tiles, sequence_starts, row_of_token, sequences, kv_heads);
    begin(work.any);
    ptx_wgmma_wait<0>();
    keep(s);
    if (work.any) ring.give(k_stage);
    while (work.any) {
      const Work next = next_work(round, row_tiles, sequence_starts, row_of_token, sequences, kv_heads);
      const Pair& pair = work.pair;
      const int warp_first = work.first + row16 * 16;
      const int low_token = (warp_first + lane / 4) / GROUP, high_token = (warp_first + lane / 4 + 8) / GROUP;
      const int group_first = work.first + row16 / 4 * 64;
      const int group_first_token = group_first / GROUP;
      const int key_tiles = min(work.key_tiles, (group_first + 63) / GROUP / HOPPER_KEYS + 1);
      const int out_row = row_or_none(pair, (warp_first + (lane & 15)) / GROUP);

      float row_max[2], row_sum[2];  // of lane / 4 and lane / 4 + 8; the sums of this thread's columns
#pragma unroll
      for (int n = 0; n < CHUNKS; n++) acc[n][0] = acc[n][1] = acc[n][2] = acc[n][3] = 0.0f;

      if (HOPPER_KEYS - 1 > group_first_token) mask_keys(s, low_token, high_token);
      // Key 0 is seen by every row, so no maximum is infinite.
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float most = s[0][2 * half];
#pragma unroll
        for (int n = 0; n < HOPPER_KEYS / 8; n++) most = fmaxf(most, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
        row_max[half] = quad_max(most);
        const float shift = row_max[half] * scale_log2;
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < HOPPER_KEYS / 8; n++) {
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; e++) {
            s[n][e] = ptx_exp2(s[n][e] * scale_log2 - shift);
            sum += s[n][e];
          }
        }
        row_sum[half] = sum;
      }
      pack_a(p, s);

      for (int j = 1; j < key_tiles; j++) {
        k_stage = ring.take();
        keep(s);
        keep(acc);
        start_abt(s, q_fragments, ring.tile(k_stage));
        const int v_stage = ring.take();
        start_pb(acc, p, ring.tile(v_stage));
        ptx_wgmma_wait<1>();
        keep(s);
        ring.give(k_stage);
        const int key0 = j * HOPPER_KEYS;
        if (key0 + HOPPER_KEYS - 1 > group_first_token) mask_keys(s, low_token - key0, high_token - key0);
        // Any number near the maximum keeps the powers in range, so the old one stays until it is 2^8 too small.
        float most[2] = {row_max[0], row_max[1]};
#pragma unroll
        for (int n = 0; n < HOPPER_KEYS / 8; n++) {
          most[0] = fmaxf(most[0], fmaxf(s[n][0], s[n][1]));
          most[1] = fmaxf(most[1], fmaxf(s[n][2], s[n][3]));
        }
        const bool shrinks = __any_sync(0xffffffffu, most[0] > row_max[0] + slack || most[1] > row_max[1] + slack);
        float shrink[2] = {1.0f, 1.0f};
        if (shrinks) {
#pragma unroll
          for (int half = 0; half < 2; half++) {
            const float now = quad_max(most[half]);
            shrink[half] = ptx_exp2((row_max[half] - now) * scale_log2);
            row_max[half] = now;
            row_sum[half] *= shrink[half];
          }
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const float shift = row_max[half] * scale_log2;
#pragma unroll
          for (int n = 0; n < HOPPER_KEYS / 8; n++) {
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; e++) {
              s[n][e] = ptx_exp2(s[n][e] * scale_log2 - shift);
              row_sum[half] += s[n][e];
            }
          }
        }
        ring.await();
        ptx_wgmma_wait<0>();
        keep(acc);
        ring.give(v_stage);
        if (shrinks) {
#pragma unroll
          for (int n = 0; n < CHUNKS; n++) {
            acc[n][0] *= shrink[0];
            acc[n][1] *= shrink[0];
            acc[n][2] *= shrink[1];
            acc[n][3] *= shrink[1];
          }
        }
        pack_a(p, s);
      }

      // The other warpgroup's rows may see one more tile of keys.
      const bool one_more = key_tiles < work.key_tiles;
      if (one_more) ring.give(ring.take());
      const int v_stage = ring.take();
      keep(acc);
      start_pb(acc, p, ring.tile(v_stage));
      if (one_more) ring.give(ring.take());
      begin(next.any);
      const float sums[2] = {quad_sum(row_sum[0]), quad_sum(row_sum[1])};
      if ((lane & 3) == 0) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int r = warp_first + half * 8 + lane / 4;
          if (r < pair.packed_rows()) {
            lse[((i64)pair.kv_head * tokens + pair.start) * GROUP + r] = row_max[half] * scale_log2 + log2f(sums[half]);
          }
        }
      }
      ptx_wgmma_wait<1>();  // the product of the next tile goes on
      keep(acc);
      ring.give(v_stage);

      // Through shared memory, so that rows are written 16 bytes a thread.
      store_accumulators<HOPPER_ROWS>(out_tile, row16, acc, 1.0f / sums[0], 1.0f / sums[1]);
      __syncwarp();
      write_rows<HOPPER_ROWS, GROUP>(out_tile, row16, out + pair.kv_head * (GROUP * HEAD_DIM), out_stride, work.first, out_row);
      ptx_wgmma_wait<0>();
      keep(s);
      if (next.any) ring.give(k_stage);
      work = next;
    }
  }
}
