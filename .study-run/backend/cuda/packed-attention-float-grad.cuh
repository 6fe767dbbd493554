// The gradients in float arithmetic (packed-attention-float.cuh says how rows lie in shared memory): the queries', then the keys' and values'.
#include "packed-attention-float.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
packed_attention_grad_q(const Element* q, const Element* k, const Element* v, const Element* out, const Element* dout, const float* lse, Element* dq,
                        float* delta, const int* sequence_starts, const int* row_of_token, int sequences, int tokens, int kv_heads, int q_stride,
                        int k_stride, int v_stride, int out_stride, int dout_stride, int dq_stride, float scale, int longest) {
  int tile;
  const Pair pair = pair_of_block(sequence_starts, row_of_token, sequences, kv_heads, tile);
  const int first = ((int)gridDim.x / (sequences * kv_heads) - 1 - tile) * TILE;
  if (first >= pair.packed_rows()) return;

  SPFT_DYNAMIC_SHARED(float, shared);
  float* q_tile = shared;
  float* dout_tile = q_tile + TILE * PITCH;
  float* k_tile = dout_tile + TILE * PITCH;
  float* v_tile = k_tile + TILE * PITCH;
  float* ds_tile = v_tile + TILE * PITCH;
  load_queries(q_tile, q, q_stride, pair, first);
  load_queries(dout_tile, dout, dout_stride, pair, first);

  const int m = threadIdx.x / 4, part = threadIdx.x % 4;
  const int r = first + m, token = r / GROUP;
  const i64 packed = ((i64)pair.kv_head * tokens + pair.start) * GROUP;
  const bool real = r < pair.packed_rows();
  const int row = row_or_none(pair, token);
  float row_delta = 0.0f;
  if (real) {
    const Element* o = out + query_offset(pair, row, r, out_stride);
    const Element* d = dout + query_offset(pair, row, r, dout_stride);
    for (int c = part; c < HEAD_DIM; c += 4) row_delta += to_float(o[c]) * to_float(d[c]);
  }
  row_delta = quad_sum(row_delta);
  if (real && part == 0) delta[packed + r] = row_delta;

  const float row_lse = real ? lse[packed + r] : infinity();
  const float scale_log2 = scale * LOG2_E;
  const int last_token = min((first + TILE - 1) / GROUP, pair.length - 1);
  float acc[COLUMNS] = {};
  for (int key0 = 0; key0 <= last_token; key0 += TILE) {
    __syncthreads();
    load_keys(k_tile, k, k_stride, pair, key0);
    load_keys(v_tile, v, v_stride, pair, key0);
    __syncthreads();
    float s[TILE / 4], dp[TILE / 4];
    dot_rows(s, q_tile, m, k_tile, part);
    dot_rows(dp, dout_tile, m, v_tile, part);
#pragma unroll
    for (int i = 0; i < TILE / 4; i++) {
      const float p = key0 + part + 4 * i > token ? 0.0f : ptx_exp2(s[i] * scale_log2 - row_lse);
      ds_tile[m * (TILE + 1) + part + 4 * i] = p * (dp[i] - row_delta);
    }
    __syncwarp();
    add_weighted_rows(acc, ds_tile, m, k_tile, part);
  }
  if (real) store_columns(dq + query_offset(pair, row, r, dq_stride), acc, part, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
packed_attention_grad_kv(const Element* q, const Element* k, const Element* v, const Element* dout, const float* lse, const float* delta, Element* dk,
                         Element* dv, const int* sequence_starts, const int* row_of_token, int sequences, int tokens, int kv_heads, int q_stride,
                         int k_stride, int v_stride, int dout_stride, int dk_stride, int dv_stride, float scale) {
  int tile;
  const Pair pair = pair_of_block(sequence_starts, row_of_token, sequences, kv_heads, tile);
  const int key0 = tile * TILE;
  if (key0 >= pair.length) return;

  SPFT_DYNAMIC_SHARED(float, shared);
  float* k_tile = shared;
  float* v_tile = k_tile + TILE * PITCH;
  float* q_tile = v_tile + TILE * PITCH;
  float* dout_tile = q_tile + TILE * PITCH;
  float* p_tile = dout_tile + TILE * PITCH;
  float* ds_tile = p_tile + TILE * (TILE + 1);
  float* lses = ds_tile + TILE * (TILE + 1);
  float* deltas = lses + TILE;
  load_keys(k_tile, k, k_stride, pair, key0);
  load_keys(v_tile, v, v_stride, pair, key0);

  // Four threads a key: each has every fourth packed row of a tile.
  const int n = threadIdx.x / 4, part = threadIdx.x % 4;
  const int key = key0 + n;
  const i64 packed = ((i64)pair.kv_head * tokens + pair.start) * GROUP;
  const float scale_log2 = scale * LOG2_E;
  const int last = pair.packed_rows();
  float dk_acc[COLUMNS] = {}, dv_acc[COLUMNS] = {};
  for (int first = key0 * GROUP; first < last; first += TILE) {
    __syncthreads();
    load_queries(q_tile, q, q_stride, pair, first);
    load_queries(dout_tile, dout, dout_stride, pair, first);
    if (part == 0) {
      lses[n] = first + n < last ? lse[packed + first + n] : infinity();
      deltas[n] = first + n < last ? delta[packed + first + n] : 0.0f;
    }
    __syncthreads();
    float s[TILE / 4], dp[TILE / 4];
    dot_rows(s, k_tile, n, q_tile, part);
    dot_rows(dp, v_tile, n, dout_tile, part);
#pragma unroll
    for (int i = 0; i < TILE / 4; i++) {
      const int m = part + 4 * i;
      const float p = key > (first + m) / GROUP ? 0.0f : ptx_exp2(s[i] * scale_log2 - lses[m]);
      p_tile[n * (TILE + 1) + m] = p;
      ds_tile[n * (TILE + 1) + m] = p * (dp[i] - deltas[m]);
    }
    __syncwarp();
    add_weighted_rows(dv_acc, p_tile, n, dout_tile, part);
    add_weighted_rows(dk_acc, ds_tile, n, q_tile, part);
  }
  if (key < pair.length) {
    const int row = pair.row_of_token[key];
    store_columns(dk + key_offset(pair, row, dk_stride), dk_acc, part, scale);
    store_columns(dv + key_offset(pair, row, dv_stride), dv_acc, part, 1.0f);
  }
}
