// The gradients of keys and values on Hopper, and dS, of which `packed_attention_grad_q_stored` makes that of the queries.
//
// A block has a tile of 128 keys of one pair and runs over the packed rows that see them, 64 at a time. Of its three warpgroups two multiply, 64 keys each:
// Sᵀ = K·Qᵀ and dPᵀ = V·doutᵀ, and from what these become dv and dk. All of it is transposed: a row of the accumulators is a key, a column a packed row, so
// that Pᵀ is an operand as it lies in registers; dSᵀ goes by way of shared memory, as it is written to memory too. The first warpgroup copies rows ahead of
// the others, makes delta of these, and writes dS.
#include "packed-attention-hopper-ds.cuh"

#define GRAD_STAGES 3
#define GRAD_COPY_REGISTERS 72
#define GRAD_REGISTERS 216

// The steps of rows that see a tile of keys.
struct Steps {
  int first;  // packed row
  int count;

  __device__ __forceinline__ int row(int step) const { return first + step * GRAD_ROWS; }
};

struct GradShared {
  u8 *k_tile, *v_tile, *stages, *out_tile, *ds_tiles;
  float *lses, *deltas;  // of every stage
  u64 *full, *empty;     // of every stage
  u64 *ds_full, *ds_empty, *keys_full;

  __device__ __forceinline__ GradShared(u8* begin) {
    k_tile = begin;
    v_tile = k_tile + tile_bytes(GRAD_KEYS);
    stages = v_tile + tile_bytes(GRAD_KEYS);
    out_tile = stages + GRAD_STAGES * 2 * tile_bytes(GRAD_ROWS);
    ds_tiles = out_tile + tile_bytes(GRAD_ROWS);
    lses = (float*)(ds_tiles + 2 * (DS_TILE * 2));
    deltas = lses + GRAD_STAGES * GRAD_ROWS;
    full = (u64*)(deltas + GRAD_STAGES * GRAD_ROWS);
    empty = full + GRAD_STAGES;
    ds_full = empty + GRAD_STAGES;
    ds_empty = ds_full + 2;
    keys_full = ds_empty + 2;
  }
  __device__ __forceinline__ u8* q_tile(int stage) const { return stages + stage * (2 * tile_bytes(GRAD_ROWS)); }
  __device__ __forceinline__ u8* dout_tile(int stage) const { return q_tile(stage) + tile_bytes(GRAD_ROWS); }
  __device__ __forceinline__ u8* ds_tile(int step) const { return ds_tiles + (step & 1) * (DS_TILE * 2); }
  __device__ __forceinline__ void init() const {
    if (threadIdx.x == 0) {
      for (int i = 0; i < GRAD_STAGES; i++) {
        ptx_barrier_init(full + i, 128);
        ptx_barrier_init(empty + i, 8);
      }
      for (int i = 0; i < 2; i++) {
        ptx_barrier_init(ds_full + i, 8);
        ptx_barrier_init(ds_empty + i, 4);
      }
      ptx_barrier_init(keys_full, 128);
    }
    __syncthreads();
  }
};

// A stage, and the parity of the phase in which it is used.
struct Turn {
  int stage = 0;
  u32 parity = 0;

  __device__ __forceinline__ void advance() {
    if (++stage == GRAD_STAGES) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// delta = rowsum(dout * out) = rowsum(P * dP), as out = P·V: of a warp's 16 rows, which it copied itself, as the diagonal of dout·outᵀ.
__device__ __forceinline__ void make_deltas(float* deltas, const u8* out_tile, const u8* dout_tile) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x & 31;
  const u32 lane_a = lane_offset_a(lane), lane_b = lane_offset_b(lane);
  float acc[2][4] = {};
#pragma unroll
  for (int k = 0; k < K_STEPS; k++) {
    u32 a[4], b[4];
    ptx_ldmatrix_x4(a, fragment<GRAD_ROWS>(dout_tile, lane_a, warp, k));
    ptx_ldmatrix_x4(b, fragment<GRAD_ROWS>(out_tile, lane_b, warp, k));
    ptx_mma_16816(acc[0], a, b[0], b[1]);
    ptx_mma_16816(acc[1], a, b[2], b[3]);
  }
  const int row = lane / 4;
  if ((lane & 3) == row / 2) {
    deltas[warp * 16 + row] = row & 1 ? acc[0][1] : acc[0][0];
    deltas[warp * 16 + row + 8] = row & 1 ? acc[1][3] : acc[1][2];
  }
}

// acc += dSᵀ·B for a warpgroup's 64 keys, B the rows of a step. (With dSᵀ from registers this takes longer.)
__device__ __forceinline__ void start_dsb(float (&acc)[CHUNKS][4], const u8* ds_tile, int group, const u8* tile) {
  const u64 a = descriptor<GRAD_KEYS>(ds_tile, group * (64 * 128)), b = descriptor<GRAD_ROWS>(tile, 0);
  ptx_wgmma_fence();
#pragma unroll
  for (int k = 0; k < GRAD_ROWS / 16; k++) ptx_wgmma<1>(acc, a + k * (32 / 16), b + k * (2048 / 16), 1);
  ptx_wgmma_commit();
}

extern "C" __global__ void __launch_bounds__(HOPPER_THREADS, 1)
packed_attention_grad_kv(const bf16* q, const bf16* k, const bf16* v, const bf16* out, const bf16* dout, const float* lse, bf16* ds, bf16* dk, bf16* dv,
                         const int* sequence_starts, const int* row_of_token, int sequences, int tokens, int kv_heads, int q_stride, int k_stride,
                         int v_stride, int out_stride, int dout_stride, int dk_stride, int dv_stride, float scale, int key_tiles, const float* cosines,
                         const float* sines) {
  int tile;
  const Pair pair = pair_of_block(sequence_starts, row_of_token, sequences, kv_heads, tile);
  const int key0 = tile * GRAD_KEYS;  // earlier keys are seen by more rows
  if (key0 >= pair.length) return;
  SPFT_DYNAMIC_SHARED(u8, shared_begin);
  const GradShared shared(shared_begin);
  shared.init();
  const Steps steps = {key0 * GROUP, (pair.packed_rows() - key0 * GROUP + GRAD_ROWS - 1) / GRAD_ROWS};
  const int lane = threadIdx.x & 31;

  if (threadIdx.x < 128) {
    ptx_fewer_registers<GRAD_COPY_REGISTERS>();
    const int warp = threadIdx.x / 32, chunk = lane % CHUNKS * 8;
    const bf16* const q_head = q + pair.kv_head * (GROUP * HEAD_DIM) + chunk;
    const bf16* const out_head = out + pair.kv_head * (GROUP * HEAD_DIM) + chunk;
    const bf16* const dout_head = dout + pair.kv_head * (GROUP * HEAD_DIM) + chunk;
    const i64 packed = ((i64)pair.kv_head * tokens + pair.start) * GROUP;  // where this pair begins in lse

    auto row_of = [&](int step) { return row_or_last(pair, (steps.row(step) + warp * 16 + (lane & 15)) / GROUP); };
    auto lse_of = [&](int step) {
      const int r = steps.row(step) + threadIdx.x;
      return threadIdx.x < GRAD_ROWS && r < pair.packed_rows() ? lse[packed + r] : infinity();  // past the end: a probability of 2^-inf = 0
    };
    Turn copying, telling;
    float lse_now = infinity(), lse_next = infinity();
    int row = 0;  // of lane l: that of the warp's row l % 16, of the step that was copied last
    auto copy_rows_of = [&](int step) {
      ptx_barrier_wait(shared.empty + copying.stage, copying.parity ^ 1);
      copy_tile<GRAD_ROWS, GROUP>(shared.q_tile(copying.stage), q_head, q_stride, steps.row(step), row);
      copy_tile<GRAD_ROWS, GROUP>(shared.dout_tile(copying.stage), dout_head, dout_stride, steps.row(step), row);
      copying.advance();
    };
    // A step whose rows are there; the copies that were started last need not be.
    auto tell = [&](int step) {
      ptx_copy_async_wait<1>();
      __syncwarp();
      if (threadIdx.x < GRAD_ROWS) shared.lses[telling.stage * GRAD_ROWS + threadIdx.x] = lse_now;
      make_deltas(shared.deltas + telling.stage * GRAD_ROWS, shared.out_tile, shared.dout_tile(telling.stage));
      ptx_fence_shared_for_wgmma();
      ptx_barrier_arrive(shared.full + telling.stage);
      telling.advance();
      lse_now = lse_next;
      __syncwarp();
      if (step + 1 < steps.count) copy_tile<GRAD_ROWS, GROUP>(shared.out_tile, out_head, out_stride, steps.row(step + 1), row);
      ptx_copy_async_commit();
    };
    auto store_ds = [&](int step) {
      ptx_barrier_wait(shared.ds_full + (step & 1), step >> 1 & 1);
      if (ds) {
        const Words4* const from = (const Words4*)shared.ds_tile(step) + threadIdx.x;
        Words4* const to = (Words4*)(ds + ds_offset(pair, tokens, sequences, steps.row(step), key_tiles, tile)) + threadIdx.x;
#pragma unroll
        for (int i = 0; i < 8; i++) {
          if (i < 4 || step >= GROUP) to[i * 128] = from[i * 128];  // the first rows do not see the second half of the keys
        }
      }
      arrive_as_warp(shared.ds_empty + (step & 1));
    };

    const int key_row = row_or_last(pair, key0 + warp * 32 + lane);
    copy_tile<GRAD_KEYS, 1>(shared.k_tile, k + pair.kv_head * HEAD_DIM + chunk, k_stride, 0, key_row);
    copy_tile<GRAD_KEYS, 1>(shared.v_tile, v + pair.kv_head * HEAD_DIM + chunk, v_stride, 0, key_row);
    row = row_of(0);
    lse_now = lse_of(0);
    copy_rows_of(0);
    copy_tile<GRAD_ROWS, GROUP>(shared.out_tile, out_head, out_stride, steps.row(0), row);
    ptx_copy_async_commit();
    if (steps.count > 1) {
      row = row_of(1);
      lse_next = lse_of(1);
      copy_rows_of(1);
    }
    ptx_copy_async_commit();
    tell(0);
    ptx_barrier_arrive(shared.keys_full);
    for (int step = 0; step < steps.count; step++) {
      if (step + 2 < steps.count) {
        row = row_of(step + 2);
        lse_next = lse_of(step + 2);
        copy_rows_of(step + 2);
      }
      ptx_copy_async_commit();
      if (step + 1 < steps.count) tell(step + 1);
      store_ds(step);
    }
  } else {
    ptx_more_registers<GRAD_REGISTERS>();
    const int row16 = threadIdx.x / 32 - 4;  // of the tile of keys
    const int group = row16 / 4;
    const int warp_key = key0 + row16 * 16;
    const float scale_log2 = scale * LOG2_E;
    const u32 ds_line = (row16 * 16 + lane / 4) * 128 + (lane / 4 << 4) + (lane & 3) * 4;  // of this thread's first key, chunk 0
    const int key_row = row_or_none(pair, warp_key + (lane & 15));
    float dk_acc[CHUNKS][4], dv_acc[CHUNKS][4], s[GRAD_ROWS / 8][4];
#pragma unroll
    for (int n = 0; n < CHUNKS; n++) {
      dk_acc[n][0] = dk_acc[n][1] = dk_acc[n][2] = dk_acc[n][3] = 0.0f;
      dv_acc[n][0] = dv_acc[n][1] = dv_acc[n][2] = dv_acc[n][3] = 0.0f;
    }
    Turn turn;
    // The first steps see none of the second half of the keys.
    const int first = min(group * GROUP, steps.count);
    for (int step = 0; step < first; step++) {
      ptx_barrier_wait(shared.full + turn.stage, turn.parity);
      ptx_barrier_wait(shared.ds_empty + (step & 1), (step >> 1 & 1) ^ 1);
      arrive_as_warp(shared.ds_full + (step & 1));
      arrive_as_warp(shared.empty + turn.stage);
      turn.advance();
    }
    // The first product of a step starts behind the last of the step before. Where there is no step it multiplies what lies around, as a product under a
    // condition would keep ptxas from letting any two overlap.
    Turn next = turn;
    auto begin = [&](bool any) {
      if (any) ptx_barrier_wait(shared.full + next.stage, next.parity);
      start_abt(s, shared.k_tile, group, shared.q_tile(next.stage));
    };
    ptx_barrier_wait(shared.keys_full, 0);
    keep(dv_acc);
    keep(dk_acc);
    keep(s);
    begin(first < steps.count);
    for (int step = first; step < steps.count; step++) {
      ptx_wgmma_wait<0>();
      keep(s);
      keep(dv_acc);
      keep(dk_acc);
      if (step > first) arrive_as_warp(shared.empty + turn.stage);
      turn = next;
      next.advance();
      const int row0 = steps.row(step);
      if (warp_key + 15 > row0 / GROUP) {
        const int low = warp_key + lane / 4, high = low + 8;
#pragma unroll
        for (int n = 0; n < GRAD_ROWS / 8; n++) {
          const int r = row0 + n * 8 + (lane & 3) * 2;
          const int token = r / GROUP, next_token = (r + 1) / GROUP;
          if (low > token) s[n][0] = -infinity();
          if (low > next_token) s[n][1] = -infinity();
          if (high > token) s[n][2] = -infinity();
          if (high > next_token) s[n][3] = -infinity();
        }
      }
      const float2* const lses = (const float2*)(shared.lses + turn.stage * GRAD_ROWS) + (lane & 3);
      const float2* const deltas = (const float2*)(shared.deltas + turn.stage * GRAD_ROWS) + (lane & 3);
#pragma unroll
      for (int n = 0; n < GRAD_ROWS / 8; n++) {
        const float2 of = lses[n * 4];
        s[n][0] = ptx_exp2(s[n][0] * scale_log2 - of.x);
        s[n][1] = ptx_exp2(s[n][1] * scale_log2 - of.y);
        s[n][2] = ptx_exp2(s[n][2] * scale_log2 - of.x);
        s[n][3] = ptx_exp2(s[n][3] * scale_log2 - of.y);
      }
      u32 p[GRAD_ROWS / 16][4];
      pack_a(p, s);
      keep(s);
      start_abt(s, shared.v_tile, group, shared.dout_tile(turn.stage));  // dPᵀ, in the same registers
      start_pb(dv_acc, p, shared.dout_tile(turn.stage));
      ptx_barrier_wait(shared.ds_empty + (step & 1), (step >> 1 & 1) ^ 1);
      ptx_wgmma_wait<1>();
      keep(s);
      u8* const ds_tile = shared.ds_tile(step);
#pragma unroll
      for (int n = 0; n < GRAD_ROWS / 8; n++) {
        const float2 of = deltas[n * 4];
        const u32 low = p[n / 2][n % 2 * 2], high = p[n / 2][n % 2 * 2 + 1];
        u8* const at = ds_tile + (ds_line ^ n << 4);
        *(u32*)at = pack_bf16(low_float(low) * (s[n][0] - of.x), high_float(low) * (s[n][1] - of.y));
        *(u32*)(at + 8 * 128) = pack_bf16(low_float(high) * (s[n][2] - of.x), high_float(high) * (s[n][3] - of.y));  // of eight keys further
      }
      ptx_fence_shared_for_wgmma();
      arrive_as_warp(shared.ds_full + (step & 1));
      ptx_named_barrier(1 + group, 128);  // all of the warpgroup's dS is there
      keep(dk_acc);
      keep(s);
      start_dsb(dk_acc, ds_tile, group, shared.q_tile(turn.stage));
      begin(step + 1 < steps.count);
    }
    fetch_angles(cosines, sines, key_row);
    ptx_wgmma_wait<0>();
    keep(s);
    keep(dv_acc);
    keep(dk_acc);

    // A warp reads no K or V but of its own 16 keys, so it can overwrite them.
    store_accumulators<GRAD_KEYS>(shared.v_tile, row16, dv_acc, 1.0f, 1.0f);
    store_accumulators<GRAD_KEYS>(shared.k_tile, row16, dk_acc, scale, scale);
    __syncwarp();
    write_rows<GRAD_KEYS, 1>(shared.v_tile, row16, dv + pair.kv_head * HEAD_DIM, dv_stride, 0, key_row);
    bf16* const dk_head = dk + pair.kv_head * HEAD_DIM;
    if (cosines) write_rows_turned_back<GRAD_KEYS, 1>(shared.k_tile, row16, dk_head, dk_stride, 0, key_row, cosines, sines);
    else write_rows<GRAD_KEYS, 1>(shared.k_tile, row16, dk_head, dk_stride, 0, key_row);
  }
}
