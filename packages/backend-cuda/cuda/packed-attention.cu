// Causal grouped-query attention over a packed batch, forward: flash attention (Dao 2023, arXiv:2307.08691) on packed rows (packed-attention.cuh).
//
// Entry point
//   packed_attention(const Element* q, const Element* k, const Element* v, Element* out, float* lse,
//                    const int* sequence_starts, const int* row_of_token, int sequences, int tokens, int kv_heads,
//                    int q_stride, int k_stride, int v_stride, int out_stride, float scale, int longest)
//     q [T, N·d], k and v [T, K·d], out [T, N·d] in row order, strides in elements from row to row;
//     lse [K, T, G] float, packed order, base 2 (written; the backward reads it); sequence_starts [B + 1], row_of_token [T]; scale = 1 / sqrt(d).
//     With BF16: pointers multiples of 16 bytes, strides multiples of 8 elements, where TENSOR_CORES.
//
// Launch     grid.x = ceil(longest · G / BLOCK_M) · B · K, longest = length of the longest sequence; nothing to launch where it is 0.
//   TENSOR_CORES = 1: block = 32 · WARPS, BLOCK_M = 16 · WARPS · ROW_TILES,
//                     dynamic shared bytes = HEAD_DIM · 2 · (BLOCK_M + 4 · BLOCK_N) + 4 · (BLOCK_M + 2 · BLOCK_N)
//                     defines WARPS (4), ROW_TILES (2: 16-row tiles a warp), BLOCK_N (64), MIN_BLOCKS (2: blocks a multiprocessor that registers allow)
//   WGMMA = 1:        grid.x = min(ceil(longest · G / 128) · B · K, multiprocessors), block = 384,
//                     dynamic shared bytes = HEAD_DIM · 2 · (2 · 128 + 64 · STAGES) + 16 · STAGES + 32, defines STAGES (6; 4 or more)
//   TENSOR_CORES = 0: TILE = HEAD_DIM <= 128 ? 32 : 16, block = 4 · TILE, BLOCK_M = TILE,
//                     dynamic shared bytes = 4 · (3 · TILE · (16 · ceil(HEAD_DIM / 16) + 4) + TILE · (TILE + 1))
//   Above 48 KB the function's limit must be raised (CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES).
#include "packed-attention.cuh"

#if WGMMA

#include "packed-attention-hopper-forward.cuh"

#elif TENSOR_CORES

#ifndef WARPS
#define WARPS 4
#endif
#ifndef ROW_TILES
#define ROW_TILES 2
#endif
#ifndef BLOCK_N
#define BLOCK_N 64
#endif
#ifndef MIN_BLOCKS
#define MIN_BLOCKS 2
#endif
#ifndef Q_IN_REGISTERS
#define Q_IN_REGISTERS (ROW_TILES == 1)
#endif
#define THREADS (32 * WARPS)
#define BLOCK_M (16 * WARPS * ROW_TILES)
static_assert(BLOCK_N % 16 == 0 && BLOCK_N <= THREADS && BLOCK_N * CHUNKS % THREADS == 0 && BLOCK_M * CHUNKS % THREADS == 0, "tile sizes do not fit");

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
packed_attention(const bf16* q, const bf16* k, const bf16* v, bf16* out, float* lse, const int* sequence_starts, const int* row_of_token,
                 int sequences, int tokens, int kv_heads, int q_stride, int k_stride, int v_stride, int out_stride, float scale, int longest) {
  int tile;
  const Pair pair = pair_of_block(sequence_starts, row_of_token, sequences, kv_heads, tile);
  // Later rows see more keys.
  const int first = ((int)gridDim.x / (sequences * kv_heads) - 1 - tile) * BLOCK_M;
  if (first >= pair.packed_rows()) return;

  SPFT_DYNAMIC_SHARED(u8, shared);
  u8* q_tile = shared;
  u8* kv_tiles = q_tile + tile_bytes(BLOCK_M);  // stage 0: K, V; stage 1: K, V
  int* q_rows = (int*)(kv_tiles + 4 * tile_bytes(BLOCK_N));
  int* kv_rows = q_rows + BLOCK_M;  // of two stages

  const bf16* q_head = q + pair.kv_head * (GROUP * HEAD_DIM);
  const bf16* k_head = k + pair.kv_head * HEAD_DIM;
  const bf16* v_head = v + pair.kv_head * HEAD_DIM;
  const int thread = threadIdx.x, warp = thread / 32, lane = thread & 31;
  for (int r = thread; r < BLOCK_M; r += THREADS) q_rows[r] = row_or_none(pair, (first + r) / GROUP);
  if (thread < BLOCK_N) {
    kv_rows[thread] = row_or_none(pair, thread);
    kv_rows[BLOCK_N + thread] = row_or_none(pair, BLOCK_N + thread);
  }
  __syncthreads();
  copy_rows<BLOCK_M, THREADS, GROUP>(q_tile, q_head, q_stride, first, q_rows);
  copy_rows<BLOCK_N, THREADS, 1>(kv_tiles, k_head, k_stride, 0, kv_rows);
  copy_rows<BLOCK_N, THREADS, 1>(kv_tiles + tile_bytes(BLOCK_N), v_head, v_stride, 0, kv_rows);
  ptx_copy_async_commit();

  const u32 lane_a = lane_offset_a(lane), lane_b = lane_offset_b(lane);
  const float scale_log2 = scale * LOG2_E;
  float acc[ROW_TILES][CHUNKS][4] = {};
#if Q_IN_REGISTERS
  u32 q_fragments[ROW_TILES][K_STEPS][4];
#endif
  float row_max[ROW_TILES][2], row_sum[ROW_TILES][2];
#pragma unroll
  for (int m = 0; m < ROW_TILES; m++) {
    row_max[m][0] = row_max[m][1] = -infinity();
    row_sum[m][0] = row_sum[m][1] = 0.0f;
  }

  const int warp_first = first + warp * ROW_TILES * 16;
  const int warp_first_token = warp_first / GROUP, warp_last_token = (warp_first + 16 * ROW_TILES - 1) / GROUP;
  const int last_token = min((first + BLOCK_M - 1) / GROUP, pair.length - 1);
  const int key_tiles = last_token / BLOCK_N + 1;

  for (int j = 0; j < key_tiles; j++) {
    ptx_copy_async_wait<0>();
    __syncthreads();  // tile j is there, and nobody reads tile j - 1 any more
    const int stage = j & 1, key0 = j * BLOCK_N;
    const u8* k_tile = kv_tiles + stage * (2 * tile_bytes(BLOCK_N));
    const u8* v_tile = k_tile + tile_bytes(BLOCK_N);
    if (j + 1 < key_tiles) {
      u8* next = kv_tiles + (stage ^ 1) * (2 * tile_bytes(BLOCK_N));
      copy_rows<BLOCK_N, THREADS, 1>(next, k_head, k_stride, 0, kv_rows + (stage ^ 1) * BLOCK_N);
      copy_rows<BLOCK_N, THREADS, 1>(next + tile_bytes(BLOCK_N), v_head, v_stride, 0, kv_rows + (stage ^ 1) * BLOCK_N);
    }
    ptx_copy_async_commit();
    // The rows of tile j + 2, under way while this tile is computed.
    int row_ahead = -1;
    if (thread < BLOCK_N) row_ahead = row_or_none(pair, key0 + 2 * BLOCK_N + thread);

#if Q_IN_REGISTERS
    if (j == 0) {
#pragma unroll
      for (int m = 0; m < ROW_TILES; m++) load_a<BLOCK_M>(q_fragments[m], q_tile, warp * ROW_TILES + m, lane_a);
    }
#endif

    // Keys after the last token of this warp's rows count for none of them.
    const int limit = min((warp_last_token - key0 + 16) >> 4, BLOCK_N / 16);
    if (limit > 0) {
      float s[ROW_TILES][BLOCK_N / 8][4];
      clear(s);
#if Q_IN_REGISTERS
      multiply_abt<BLOCK_N>(s, q_fragments, k_tile, lane_b, 0, limit);
#else
      multiply_abt<BLOCK_M, BLOCK_N>(s, q_tile, warp * ROW_TILES, k_tile, lane_a, lane_b, 0, limit);
#endif
      if (key0 + BLOCK_N - 1 > warp_first_token) {
#pragma unroll
        for (int m = 0; m < ROW_TILES; m++) {
          const int r = first + (warp * ROW_TILES + m) * 16 + lane / 4;
          const int low = r / GROUP - key0, high = (r + 8) / GROUP - key0;
#pragma unroll
          for (int n = 0; n < BLOCK_N / 8; n++) {
            const int key = n * 8 + (lane & 3) * 2;
            if (key > low) s[m][n][0] = -infinity();
            if (key + 1 > low) s[m][n][1] = -infinity();
            if (key > high) s[m][n][2] = -infinity();
            if (key + 1 > high) s[m][n][3] = -infinity();
          }
        }
      }
      // Online softmax. Key 0 is seen by every row, so after tile 0 no maximum is infinite.
#pragma unroll
      for (int m = 0; m < ROW_TILES; m++) {
        float high_max[2] = {row_max[m][0], row_max[m][1]};
#pragma unroll
        for (int n = 0; n < BLOCK_N / 8; n++) {
          high_max[0] = fmaxf(high_max[0], fmaxf(s[m][n][0], s[m][n][1]));
          high_max[1] = fmaxf(high_max[1], fmaxf(s[m][n][2], s[m][n][3]));
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const float now = quad_max(high_max[half]);
          const float shrink = ptx_exp2((row_max[m][half] - now) * scale_log2);
          row_max[m][half] = now;
          const float shift = now * scale_log2;
          float sum = 0.0f;
#pragma unroll
          for (int n = 0; n < BLOCK_N / 8; n++) {
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
              s[m][n][i] = ptx_exp2(s[m][n][i] * scale_log2 - shift);
              sum += s[m][n][i];
            }
          }
          row_sum[m][half] = row_sum[m][half] * shrink + sum;  // of this thread's columns; the quad is summed at the end
#pragma unroll
          for (int n = 0; n < CHUNKS; n++) {
            acc[m][n][2 * half] *= shrink;
            acc[m][n][2 * half + 1] *= shrink;
          }
        }
      }
      u32 p[ROW_TILES][BLOCK_N / 16][4];
      accumulators_to_a(p, s);
      multiply_pb<BLOCK_N>(acc, p, v_tile, lane_a, 0, limit);
    }
    // Read again only after the next barrier; read last before this iteration's.
    if (thread < BLOCK_N) kv_rows[stage * BLOCK_N + thread] = row_ahead;
  }

  // Through shared memory, so that rows are written 16 bytes a thread.
#pragma unroll
  for (int m = 0; m < ROW_TILES; m++) {
    const float sum[2] = {quad_sum(row_sum[m][0]), quad_sum(row_sum[m][1])};
    store_accumulators<BLOCK_M>(q_tile, warp * ROW_TILES + m, acc[m], 1.0f / sum[0], 1.0f / sum[1]);
    if ((lane & 3) == 0) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int r = first + (warp * ROW_TILES + m) * 16 + half * 8 + lane / 4;
        if (r < pair.packed_rows()) {
          lse[((i64)pair.kv_head * tokens + pair.start) * GROUP + r] = row_max[m][half] * scale_log2 + log2f(sum[half]);
        }
      }
    }
  }
  __syncwarp();
#pragma unroll
  for (int m = 0; m < ROW_TILES; m++) {
#pragma unroll
    for (int i = 0; i < CHUNKS / 2; i++) {
      const int r = (warp * ROW_TILES + m) * 16 + i * (32 / CHUNKS) + lane / CHUNKS, chunk = lane % CHUNKS;
      const int row = q_rows[r];
      if (row >= 0) {
        *(Words4*)(out + query_offset(pair, row, first + r, out_stride) + chunk * 8) = *(const Words4*)(q_tile + chunk_offset<BLOCK_M>(r, chunk));
      }
    }
  }
}

#else

#include "packed-attention-float.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
packed_attention(const Element* q, const Element* k, const Element* v, Element* out, float* lse, const int* sequence_starts,
                 const int* row_of_token, int sequences, int tokens, int kv_heads, int q_stride, int k_stride, int v_stride, int out_stride,
                 float scale, int longest) {
  int tile;
  const Pair pair = pair_of_block(sequence_starts, row_of_token, sequences, kv_heads, tile);
  const int first = ((int)gridDim.x / (sequences * kv_heads) - 1 - tile) * TILE;
  if (first >= pair.packed_rows()) return;

  SPFT_DYNAMIC_SHARED(float, shared);
  float* q_tile = shared;
  float* k_tile = q_tile + TILE * PITCH;
  float* v_tile = k_tile + TILE * PITCH;
  float* p_tile = v_tile + TILE * PITCH;
  load_queries(q_tile, q, q_stride, pair, first);

  // Four threads a row: each has every fourth key of a tile, and every fourth group of four columns of the output.
  const int m = threadIdx.x / 4, part = threadIdx.x % 4;
  const int token = (first + m) / GROUP;
  const int last_token = min((first + TILE - 1) / GROUP, pair.length - 1);
  const float scale_log2 = scale * LOG2_E;
  float acc[COLUMNS] = {};
  float row_max = -infinity(), row_sum = 0.0f;
  for (int key0 = 0; key0 <= last_token; key0 += TILE) {
    __syncthreads();
    load_keys(k_tile, k, k_stride, pair, key0);
    load_keys(v_tile, v, v_stride, pair, key0);
    __syncthreads();
    float s[TILE / 4];
    dot_rows(s, q_tile, m, k_tile, part);
    float highest = row_max;
#pragma unroll
    for (int i = 0; i < TILE / 4; i++) {
      s[i] = key0 + part + 4 * i > token ? -infinity() : s[i] * scale_log2;
      highest = fmaxf(highest, s[i]);
    }
    highest = quad_max(highest);
    const float shrink = ptx_exp2(row_max - highest);
    row_max = highest;
    row_sum *= shrink;
#pragma unroll
    for (int i = 0; i < TILE / 4; i++) {
      const float p = ptx_exp2(s[i] - highest);
      row_sum += p;
      p_tile[m * (TILE + 1) + part + 4 * i] = p;
    }
#pragma unroll
    for (int i = 0; i < COLUMNS; i++) acc[i] *= shrink;
    __syncwarp();
    add_weighted_rows(acc, p_tile, m, v_tile, part);
  }
  row_sum = quad_sum(row_sum);
  if (first + m < pair.packed_rows()) {
    store_columns(out + query_offset(pair, pair.row_of_token[token], first + m, out_stride), acc, part, 1.0f / row_sum);
    if (part == 0) lse[((i64)pair.kv_head * tokens + pair.start) * GROUP + first + m] = row_max + log2f(row_sum);
  }
}

#endif
