// Causal grouped-query attention over a packed batch, backward (packed-attention.cuh says what packed rows are).
//
// Two kernels, each of which recomputes the probabilities: one has a tile of queries and runs over the keys (dq), one has a tile of keys and runs
// over the packed rows that see them (dk, dv; the sum over the group is part of it). That is seven products where one kernel with atomic sums of dq
// would have five, but it needs no float copy of dq, which would have to be cleared, summed through L2 and converted, and every sum has a fixed
// order: the same inputs give the same bits. On Hopper the second comes first and stores dS, of which one more product makes dq: five products too, for
// as many bytes as the scores have; where these are too many, dq's kernel recomputes as elsewhere.
//
// Entry points, in this order on one stream (the second reads the delta of the first), but for Hopper's
//   packed_attention_grad_q(const Element* q, const Element* k, const Element* v, const Element* out, const Element* dout, const float* lse,
//                           Element* dq, float* delta, const int* sequence_starts, const int* row_of_token, int sequences, int tokens, int kv_heads,
//                           int q_stride, int k_stride, int v_stride, int out_stride, int dout_stride, int dq_stride, float scale, int longest,
//                           const float* cosines, const float* sines)
//   packed_attention_grad_kv(const Element* q, const Element* k, const Element* v, const Element* dout, const float* lse, const float* delta,
//                            Element* dk, Element* dv, const int* sequence_starts, const int* row_of_token, int sequences, int tokens, int kv_heads,
//                            int q_stride, int k_stride, int v_stride, int dout_stride, int dk_stride, int dv_stride, float scale,
//                            const float* cosines, const float* sines)
//   WGMMA = 1: packed_attention_grad_kv(const bf16* q, const bf16* k, const bf16* v, const bf16* out, const bf16* dout, const float* lse, bf16* ds, bf16* dk,
//                           bf16* dv, const int* sequence_starts, const int* row_of_token, int sequences, int tokens, int kv_heads, int q_stride,
//                           int k_stride, int v_stride, int out_stride, int dout_stride, int dk_stride, int dv_stride, float scale, int key_tiles,
//                           const float* cosines, const float* sines)
//              packed_attention_grad_q_stored(const bf16* ds, const bf16* k, bf16* dq, const int* sequence_starts, const int* row_of_token, int sequences,
//                           int tokens, int kv_heads, int k_stride, int dq_stride, float scale, int longest, int key_tiles, const float* cosines,
//                           const float* sines)
//     key_tiles = ceil(longest / 128); ds [K · (floor(T · G / 64) + B + 1), key_tiles, 128, 64] is scratch between the two, or null, where grad_q
//     makes dq (whose delta may be null then).
//     With tables [T, HEAD_DIM / 2] that RoPE turned q and k by, dq and dk are turned back; these two are there where TENSOR_CORES is 1, and null otherwise.
//     Tensors and alignment as in packed-attention.cu; lse [K, T, G] of the forward; delta [K, T, G] float is scratch between the two.
//
// Launch     longest = length of the longest sequence
//   TENSOR_CORES = 1
//     grad_q:  grid.x = ceil(longest · G / Q_BLOCK_M) · B · K, block = 32 · Q_WARPS, Q_BLOCK_M = 16 · Q_WARPS,
//              dynamic shared bytes = HEAD_DIM · 2 · (2 · Q_BLOCK_M + 4 · Q_BLOCK_N) + 4 · (2 · Q_BLOCK_M + 2 · Q_BLOCK_N)
//              defines Q_WARPS (8), Q_BLOCK_N (64), Q_MIN_BLOCKS (1)
//     grad_kv: grid.x = ceil(longest / KV_BLOCK_N) · B · K, block = 32 · KV_WARPS, KV_BLOCK_N = 16 · KV_WARPS,
//              dynamic shared bytes = HEAD_DIM · 2 · (2 · KV_BLOCK_N + 4 · KV_BLOCK_M) + 4 · (KV_BLOCK_N + 6 · KV_BLOCK_M)
//              defines KV_WARPS (8), KV_BLOCK_M (64), KV_MIN_BLOCKS (1)
//     On GPUs with 99 KB of shared memory a block (sm_86, sm_89): Q_WARPS = KV_WARPS = 4, Q_BLOCK_N = KV_BLOCK_M = 32.
//   WGMMA = 1
//     grad_kv:       grid.x = ceil(longest / 128) · B · K, block = 384, dynamic shared bytes = HEAD_DIM · 2 · (2 · 128 + 7 · 64) + 2 · 16384 + 1624
//     grad_q_stored: grid.x = min(ceil(longest · G / 256) · B · K, multiprocessors), block = 384,
//                    dynamic shared bytes = HEAD_DIM · 2 · 6 · 64 + 4 · 32784
//     grad_q:        grid.x = min(ceil(longest · G / 128) · B · K, multiprocessors), block = 384,
//                    dynamic shared bytes = HEAD_DIM · 2 · (4 · 128 + 64 · STAGES) + 16 · STAGES + 32, defines STAGES (6; 6 or more)
//   TENSOR_CORES = 0: TILE = HEAD_DIM <= 128 ? 32 : 16, block = 4 · TILE, pitch = 16 · ceil(HEAD_DIM / 16) + 4
//     grad_q:  grid.x = ceil(longest · G / TILE) · B · K, dynamic shared bytes = 4 · (4 · TILE · pitch + TILE · (TILE + 1))
//     grad_kv: grid.x = ceil(longest / TILE) · B · K,     dynamic shared bytes = 4 · (4 · TILE · pitch + 2 · TILE · (TILE + 1) + 2 · TILE)
//   Above 48 KB the function's limit must be raised (CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES).
#include "packed-attention.cuh"

#if TENSOR_CORES

#if WGMMA

#include "packed-attention-hopper-grad-kv.cuh"
#include "packed-attention-hopper-grad-q-stored.cuh"
#include "packed-attention-hopper-grad-q.cuh"

#else

#ifndef Q_WARPS
#define Q_WARPS 8
#endif
#ifndef Q_BLOCK_N
#define Q_BLOCK_N 64
#endif
#ifndef Q_MIN_BLOCKS
#define Q_MIN_BLOCKS 1
#endif
#ifndef KV_WARPS
#define KV_WARPS 8
#endif
#ifndef KV_BLOCK_M
#define KV_BLOCK_M 64
#endif
#ifndef KV_MIN_BLOCKS
#define KV_MIN_BLOCKS 1
#endif
#define Q_THREADS (32 * Q_WARPS)
#define Q_BLOCK_M (16 * Q_WARPS)
#define KV_THREADS (32 * KV_WARPS)
#define KV_BLOCK_N (16 * KV_WARPS)
static_assert(Q_BLOCK_N % 16 == 0 && Q_BLOCK_N <= Q_THREADS && Q_BLOCK_N * CHUNKS % Q_THREADS == 0, "tile sizes of grad_q do not fit");
static_assert(KV_BLOCK_M % 16 == 0 && KV_BLOCK_M <= KV_THREADS && KV_BLOCK_M * CHUNKS % KV_THREADS == 0, "tile sizes of grad_kv do not fit");

extern "C" __global__ void __launch_bounds__(Q_THREADS, Q_MIN_BLOCKS)
packed_attention_grad_q(const bf16* q, const bf16* k, const bf16* v, const bf16* out, const bf16* dout, const float* lse, bf16* dq, float* delta,
                        const int* sequence_starts, const int* row_of_token, int sequences, int tokens, int kv_heads, int q_stride, int k_stride,
                        int v_stride, int out_stride, int dout_stride, int dq_stride, float scale, int longest, const float* cosines, const float* sines) {
  int tile;
  const Pair pair = pair_of_block(sequence_starts, row_of_token, sequences, kv_heads, tile);
  const int first = ((int)gridDim.x / (sequences * kv_heads) - 1 - tile) * Q_BLOCK_M;
  if (first >= pair.packed_rows()) return;

  SPFT_DYNAMIC_SHARED(u8, shared);
  u8* q_tile = shared;
  u8* dout_tile = q_tile + tile_bytes(Q_BLOCK_M);
  u8* kv_tiles = dout_tile + tile_bytes(Q_BLOCK_M);  // stage 0: K, V; stage 1: K, V
  int* q_rows = (int*)(kv_tiles + 4 * tile_bytes(Q_BLOCK_N));
  float* deltas = (float*)(q_rows + Q_BLOCK_M);
  int* kv_rows = (int*)(deltas + Q_BLOCK_M);  // of two stages

  const bf16* q_head = q + pair.kv_head * (GROUP * HEAD_DIM);
  const bf16* k_head = k + pair.kv_head * HEAD_DIM;
  const bf16* v_head = v + pair.kv_head * HEAD_DIM;
  const bf16* dout_head = dout + pair.kv_head * (GROUP * HEAD_DIM);
  const int thread = threadIdx.x, warp = thread / 32, lane = thread & 31;
  for (int r = thread; r < Q_BLOCK_M; r += Q_THREADS) q_rows[r] = row_or_none(pair, (first + r) / GROUP);
  if (thread < Q_BLOCK_N) {
    kv_rows[thread] = row_or_none(pair, thread);
    kv_rows[Q_BLOCK_N + thread] = row_or_none(pair, Q_BLOCK_N + thread);
  }
  __syncthreads();
  fetch_angles(cosines, sines, q_rows[warp * 16 + (lane & 15)]);
  copy_rows<Q_BLOCK_M, Q_THREADS, GROUP>(q_tile, q_head, q_stride, first, q_rows);
  copy_rows<Q_BLOCK_M, Q_THREADS, GROUP>(dout_tile, dout_head, dout_stride, first, q_rows);
  copy_rows<Q_BLOCK_N, Q_THREADS, 1>(kv_tiles, k_head, k_stride, 0, kv_rows);
  copy_rows<Q_BLOCK_N, Q_THREADS, 1>(kv_tiles + tile_bytes(Q_BLOCK_N), v_head, v_stride, 0, kv_rows);
  ptx_copy_async_commit();

  // delta = rowsum(dout * out) = rowsum(P * dP), as out = P·V.
  const i64 packed = ((i64)pair.kv_head * tokens + pair.start) * GROUP;  // where this pair begins in lse and delta
#pragma unroll
  for (int i = 0; i < Q_BLOCK_M * CHUNKS / Q_THREADS; i++) {
    const int r = thread / CHUNKS + i * (Q_THREADS / CHUNKS), chunk = thread % CHUNKS;
    const int row = q_rows[r];
    float sum = 0.0f;
    if (row >= 0) {
      float o[8], d[8];
      load_vector<8>(out + query_offset(pair, row, first + r, out_stride) + chunk * 8, o);
      load_vector<8>(dout + query_offset(pair, row, first + r, dout_stride) + chunk * 8, d);
#pragma unroll
      for (int e = 0; e < 8; e++) sum += o[e] * d[e];
    }
#pragma unroll
    for (int offset = CHUNKS / 2; offset > 0; offset >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (chunk == 0) {
      deltas[r] = sum;
      if (row >= 0) delta[packed + first + r] = sum;
    }
  }

  const u32 lane_a = lane_offset_a(lane), lane_b = lane_offset_b(lane);
  const float scale_log2 = scale * LOG2_E;
  const int warp_first = first + warp * 16;
  const int warp_first_token = warp_first / GROUP, warp_last_token = (warp_first + 15) / GROUP;
  const int last_token = min((first + Q_BLOCK_M - 1) / GROUP, pair.length - 1);
  const int key_tiles = last_token / Q_BLOCK_N + 1;

  // Of rows lane / 4 and lane / 4 + 8. Rows past the end have a probability of 2^-inf = 0 for every key.
  float row_lse[2], row_delta[2];
  u32 q_fragments[1][K_STEPS][4], dout_fragments[1][K_STEPS][4];
  float acc[1][CHUNKS][4] = {};
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int r = warp_first + half * 8 + lane / 4;
    row_lse[half] = r < pair.packed_rows() ? lse[packed + r] : infinity();
  }

  for (int j = 0; j < key_tiles; j++) {
    ptx_copy_async_wait<0>();
    __syncthreads();  // tile j is there, and nobody reads tile j - 1 any more
    const int stage = j & 1, key0 = j * Q_BLOCK_N;
    const u8* k_tile = kv_tiles + stage * (2 * tile_bytes(Q_BLOCK_N));
    const u8* v_tile = k_tile + tile_bytes(Q_BLOCK_N);
    if (j + 1 < key_tiles) {
      u8* next = kv_tiles + (stage ^ 1) * (2 * tile_bytes(Q_BLOCK_N));
      copy_rows<Q_BLOCK_N, Q_THREADS, 1>(next, k_head, k_stride, 0, kv_rows + (stage ^ 1) * Q_BLOCK_N);
      copy_rows<Q_BLOCK_N, Q_THREADS, 1>(next + tile_bytes(Q_BLOCK_N), v_head, v_stride, 0, kv_rows + (stage ^ 1) * Q_BLOCK_N);
    }
    ptx_copy_async_commit();
    int row_ahead = -1;
    if (thread < Q_BLOCK_N) row_ahead = row_or_none(pair, key0 + 2 * Q_BLOCK_N + thread);
    if (j == 0) {
      load_a<Q_BLOCK_M>(q_fragments[0], q_tile, warp, lane_a);
      load_a<Q_BLOCK_M>(dout_fragments[0], dout_tile, warp, lane_a);
      row_delta[0] = deltas[warp * 16 + lane / 4];
      row_delta[1] = deltas[warp * 16 + lane / 4 + 8];
    }

    const int limit = min((warp_last_token - key0 + 16) >> 4, Q_BLOCK_N / 16);
    if (limit > 0) {
      float s[1][Q_BLOCK_N / 8][4], dp[1][Q_BLOCK_N / 8][4];
      clear(s);
      clear(dp);
      multiply_abt<Q_BLOCK_N>(s, q_fragments, k_tile, lane_b, 0, limit);
      multiply_abt<Q_BLOCK_N>(dp, dout_fragments, v_tile, lane_b, 0, limit);
      if (key0 + Q_BLOCK_N - 1 > warp_first_token) {
        const int low = (warp_first + lane / 4) / GROUP - key0, high = (warp_first + lane / 4 + 8) / GROUP - key0;
#pragma unroll
        for (int n = 0; n < Q_BLOCK_N / 8; n++) {
          const int key = n * 8 + (lane & 3) * 2;
          if (key > low) s[0][n][0] = -infinity();
          if (key + 1 > low) s[0][n][1] = -infinity();
          if (key > high) s[0][n][2] = -infinity();
          if (key + 1 > high) s[0][n][3] = -infinity();
        }
      }
#pragma unroll
      for (int n = 0; n < Q_BLOCK_N / 8; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
          s[0][n][e] = ptx_exp2(s[0][n][e] * scale_log2 - row_lse[e / 2]) * (dp[0][n][e] - row_delta[e / 2]);  // dS, but for the scale
        }
      }
      u32 ds[1][Q_BLOCK_N / 16][4];
      accumulators_to_a(ds, s);
      multiply_pb<Q_BLOCK_N>(acc, ds, k_tile, lane_a, 0, limit);
    }
    if (thread < Q_BLOCK_N) kv_rows[stage * Q_BLOCK_N + thread] = row_ahead;
  }

  store_accumulators<Q_BLOCK_M>(q_tile, warp, acc[0], scale, scale);
  __syncwarp();
  if (cosines) {
#pragma unroll
    for (int i = 0; i < CHUNKS / 4; i++) {
      const int r = warp * 16 + i * (64 / CHUNKS) + lane / (CHUNKS / 2), row = q_rows[r];
      if (row >= 0) write_turned_back<Q_BLOCK_M>(dq + query_offset(pair, row, first + r, dq_stride), q_tile, r, lane % (CHUNKS / 2), cosines, sines, row);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < CHUNKS / 2; i++) {
    const int r = warp * 16 + i * (32 / CHUNKS) + lane / CHUNKS, chunk = lane % CHUNKS;
    const int row = q_rows[r];
    if (row >= 0) {
      *(Words4*)(dq + query_offset(pair, row, first + r, dq_stride) + chunk * 8) = *(const Words4*)(q_tile + chunk_offset<Q_BLOCK_M>(r, chunk));
    }
  }
}

extern "C" __global__ void __launch_bounds__(KV_THREADS, KV_MIN_BLOCKS)
packed_attention_grad_kv(const bf16* q, const bf16* k, const bf16* v, const bf16* dout, const float* lse, const float* delta, bf16* dk, bf16* dv,
                         const int* sequence_starts, const int* row_of_token, int sequences, int tokens, int kv_heads, int q_stride, int k_stride,
                         int v_stride, int dout_stride, int dk_stride, int dv_stride, float scale, const float* cosines, const float* sines) {
  int tile;
  const Pair pair = pair_of_block(sequence_starts, row_of_token, sequences, kv_heads, tile);
  const int key0 = tile * KV_BLOCK_N;  // earlier keys are seen by more rows
  if (key0 >= pair.length) return;

  SPFT_DYNAMIC_SHARED(u8, shared);
  u8* k_tile = shared;
  u8* v_tile = k_tile + tile_bytes(KV_BLOCK_N);
  u8* q_tiles = v_tile + tile_bytes(KV_BLOCK_N);  // stage 0: Q, dout; stage 1: Q, dout
  int* kv_rows = (int*)(q_tiles + 4 * tile_bytes(KV_BLOCK_M));
  // Of two stages each.
  int* q_rows = kv_rows + KV_BLOCK_N;
  float* lses = (float*)(q_rows + 2 * KV_BLOCK_M);
  float* deltas = lses + 2 * KV_BLOCK_M;

  const bf16* q_head = q + pair.kv_head * (GROUP * HEAD_DIM);
  const bf16* k_head = k + pair.kv_head * HEAD_DIM;
  const bf16* v_head = v + pair.kv_head * HEAD_DIM;
  const bf16* dout_head = dout + pair.kv_head * (GROUP * HEAD_DIM);
  const int thread = threadIdx.x, warp = thread / 32, lane = thread & 31;
  const i64 packed = ((i64)pair.kv_head * tokens + pair.start) * GROUP;
  // The first packed row that sees a key of this tile, and how many tiles of rows there are from it on.
  const int first = key0 * GROUP, last = pair.packed_rows();
  const int row_tiles = (last - first + KV_BLOCK_M - 1) / KV_BLOCK_M;
  if (thread < KV_BLOCK_N) kv_rows[thread] = row_or_none(pair, key0 + thread);
  if (thread < KV_BLOCK_M) {
    const int r = first + thread;
    q_rows[thread] = row_or_none(pair, r / GROUP);
    q_rows[KV_BLOCK_M + thread] = row_or_none(pair, (r + KV_BLOCK_M) / GROUP);
    lses[thread] = r < last ? lse[packed + r] : infinity();
    deltas[thread] = r < last ? delta[packed + r] : 0.0f;
  }
  __syncthreads();
  fetch_angles(cosines, sines, kv_rows[warp * 16 + (lane & 15)]);
  copy_rows<KV_BLOCK_N, KV_THREADS, 1>(k_tile, k_head, k_stride, 0, kv_rows);
  copy_rows<KV_BLOCK_N, KV_THREADS, 1>(v_tile, v_head, v_stride, 0, kv_rows);
  copy_rows<KV_BLOCK_M, KV_THREADS, GROUP>(q_tiles, q_head, q_stride, first, q_rows);
  copy_rows<KV_BLOCK_M, KV_THREADS, GROUP>(q_tiles + tile_bytes(KV_BLOCK_M), dout_head, dout_stride, first, q_rows);
  ptx_copy_async_commit();

  const u32 lane_a = lane_offset_a(lane), lane_b = lane_offset_b(lane);
  const float scale_log2 = scale * LOG2_E;
  const int warp_key = key0 + warp * 16;
  float dk_acc[1][CHUNKS][4] = {}, dv_acc[1][CHUNKS][4] = {};

  for (int i = 0; i < row_tiles; i++) {
    ptx_copy_async_wait<0>();
    __syncthreads();  // tile i is there, and nobody reads tile i - 1 any more
    const int stage = i & 1, row0 = first + i * KV_BLOCK_M;
    const u8* q_tile = q_tiles + stage * (2 * tile_bytes(KV_BLOCK_M));
    const u8* dout_tile = q_tile + tile_bytes(KV_BLOCK_M);
    if (i + 1 < row_tiles) {
      u8* next = q_tiles + (stage ^ 1) * (2 * tile_bytes(KV_BLOCK_M));
      const int* rows = q_rows + (stage ^ 1) * KV_BLOCK_M;
      copy_rows<KV_BLOCK_M, KV_THREADS, GROUP>(next, q_head, q_stride, row0 + KV_BLOCK_M, rows);
      copy_rows<KV_BLOCK_M, KV_THREADS, GROUP>(next + tile_bytes(KV_BLOCK_M), dout_head, dout_stride, row0 + KV_BLOCK_M, rows);
    }
    ptx_copy_async_commit();
    // What the next tiles need, under way while this one is computed.
    int row_ahead = -1;
    float lse_ahead = infinity(), delta_ahead = 0.0f;
    if (thread < KV_BLOCK_M) {
      const int r = row0 + KV_BLOCK_M + thread;
      row_ahead = row_or_none(pair, (r + KV_BLOCK_M) / GROUP);
      if (r < last) {
        lse_ahead = lse[packed + r];
        delta_ahead = delta[packed + r];
      }
    }

    // Rows before the token of the first key see none of these keys.
    const int begin = max(warp_key * GROUP - row0, 0) >> 4;
    if (begin < KV_BLOCK_M / 16) {
      // All of it transposed: a row of the accumulators is a key, a column a packed row, so that Pᵀ and dSᵀ are operands as they are.
      float s[1][KV_BLOCK_M / 8][4], dp[1][KV_BLOCK_M / 8][4];
      u32 p[1][KV_BLOCK_M / 16][4], ds[1][KV_BLOCK_M / 16][4];
      clear(s);
      clear(dp);
      multiply_abt<KV_BLOCK_N, KV_BLOCK_M>(s, k_tile, warp, q_tile, lane_a, lane_b, begin, KV_BLOCK_M / 16);
      if (warp_key + 15 > row0 / GROUP) {
        const int low = warp_key + lane / 4, high = low + 8;
#pragma unroll
        for (int n = 0; n < KV_BLOCK_M / 8; n++) {
          const int r = row0 + n * 8 + (lane & 3) * 2;
          const int token = r / GROUP, next_token = (r + 1) / GROUP;
          if (low > token) s[0][n][0] = -infinity();
          if (low > next_token) s[0][n][1] = -infinity();
          if (high > token) s[0][n][2] = -infinity();
          if (high > next_token) s[0][n][3] = -infinity();
        }
      }
      const float* column_lse = lses + stage * KV_BLOCK_M + (lane & 3) * 2;
      const float* column_delta = deltas + stage * KV_BLOCK_M + (lane & 3) * 2;
#pragma unroll
      for (int n = 0; n < KV_BLOCK_M / 8; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) s[0][n][e] = ptx_exp2(s[0][n][e] * scale_log2 - column_lse[n * 8 + e % 2]);
      }
      accumulators_to_a(p, s);
      multiply_abt<KV_BLOCK_N, KV_BLOCK_M>(dp, v_tile, warp, dout_tile, lane_a, lane_b, begin, KV_BLOCK_M / 16);
      multiply_pb<KV_BLOCK_M>(dv_acc, p, dout_tile, lane_a, begin, KV_BLOCK_M / 16);
#pragma unroll
      for (int n = 0; n < KV_BLOCK_M / 8; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) dp[0][n][e] = s[0][n][e] * (dp[0][n][e] - column_delta[n * 8 + e % 2]);
      }
      accumulators_to_a(ds, dp);
      multiply_pb<KV_BLOCK_M>(dk_acc, ds, q_tile, lane_a, begin, KV_BLOCK_M / 16);
    }
    if (thread < KV_BLOCK_M) {
      q_rows[stage * KV_BLOCK_M + thread] = row_ahead;
      lses[(stage ^ 1) * KV_BLOCK_M + thread] = lse_ahead;
      deltas[(stage ^ 1) * KV_BLOCK_M + thread] = delta_ahead;
    }
  }

  // A warp reads no K or V but its own 16 rows, so it can overwrite them.
  store_accumulators<KV_BLOCK_N>(k_tile, warp, dk_acc[0], scale, scale);
  store_accumulators<KV_BLOCK_N>(v_tile, warp, dv_acc[0], 1.0f, 1.0f);
  __syncwarp();
#pragma unroll
  for (int i = 0; i < CHUNKS / 2; i++) {
    const int n = warp * 16 + i * (32 / CHUNKS) + lane / CHUNKS, chunk = lane % CHUNKS;
    const int row = kv_rows[n];
    if (row >= 0) {
      const u32 at = chunk_offset<KV_BLOCK_N>(n, chunk);
      if (!cosines) *(Words4*)(dk + key_offset(pair, row, dk_stride) + chunk * 8) = *(const Words4*)(k_tile + at);
      *(Words4*)(dv + key_offset(pair, row, dv_stride) + chunk * 8) = *(const Words4*)(v_tile + at);
    }
  }
  if (cosines) {
#pragma unroll
    for (int i = 0; i < CHUNKS / 4; i++) {
      const int n = warp * 16 + i * (64 / CHUNKS) + lane / (CHUNKS / 2), row = kv_rows[n];
      if (row >= 0) write_turned_back<KV_BLOCK_N>(dk + key_offset(pair, row, dk_stride), k_tile, n, lane % (CHUNKS / 2), cosines, sines, row);
    }
  }
}

#endif

#else

#include "packed-attention-float-grad.cuh"

#endif
