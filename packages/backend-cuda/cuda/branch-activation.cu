// SwiGLU of a gated MLP with low-rank branches on gate and up, and its gradient, in one launch each: what the frozen products gave, with the branches on top,
// is no matrix in memory. Rows from `dense` on, where there are `indices`, have frozen products of the kept channels alone, side by side: those of gate, then
// those of up. Results are written twice then: whole, for the branches and dense rows, and the kept channels of sparse rows side by side, for frozen
// products. All ranks are multiples of 8 and at most RANK, a multiple of 32: smaller ones are filled up with zeros. Reference: lora-mlp.reference.ts of
// sparse-ops.
//
// A block has 64 rows of 128 channels, a warp 32 rows of 32 of these, 16 rows at a time. Its thread 4g + q has channels 8q up to 8q + 8 of rows g and g + 8,
// 16 bytes each, and works on them where they are: tile w of the tensor cores' products has for columns 2q and 2q + 1 the channels 8q + 2w and the next. The
// order of ranks within a product does not matter, so a thread's eight of a row are fragments as they are, too.
#include "spft.cuh"

#define COLUMNS 128
#define ROWS 64
#define THREADS 256
// Octets of ranks that a thread has.
#define OCTETS (RANK / 32)
// Elements from row to row of a in shared memory: eight rows lie in different banks.
#define STRIDE (COLUMNS + 8)
// Elements of a tile of kept channels.
#define TILE (ROWS * COLUMNS)

__device__ __forceinline__ float sigmoid(float x) { return ptx_reciprocal(1.0f + ptx_exp2(-1.4426950408889634f * x)); }

__device__ __forceinline__ Words4 load_words(const bf16* from, bool there) { return there ? *(const Words4*)from : Words4{{0u, 0u, 0u, 0u}}; }

// Which of the kept channels are a block's: `count` from the `begin`-th on.
struct Kept {
  int begin, count;
};

// Finds them. Has a barrier.
__device__ __forceinline__ Kept find_kept(const int* indices, int kept, int first_column) {
  __shared__ int of_warp[THREADS / 32][2];
  int before = 0, until = 0;
#pragma unroll 2
  for (int i = threadIdx.x; i < kept; i += THREADS) {
    const int column = indices[i] - first_column;
    before += column < 0;
    until += column < COLUMNS;
  }
  before = __reduce_add_sync(0xffffffffu, before);
  until = __reduce_add_sync(0xffffffffu, until);
  if ((threadIdx.x & 31) == 0) {
    of_warp[threadIdx.x >> 5][0] = before;
    of_warp[threadIdx.x >> 5][1] = until;
  }
  __syncthreads();
  before = until = 0;
#pragma unroll
  for (int w = 0; w < THREADS / 32; w++) {
    before += of_warp[w][0];
    until += of_warp[w][1];
  }
  return Kept{before, until - before};
}

// Where a channel of a row is in a tile: eight neighbours lie together, and those that eight threads have of two rows in different banks.
__device__ __forceinline__ int place_of(int row, int channel) { return row * COLUMNS + (channel ^ (row & 1) << 5); }

// Rows g and g + 8 of 16, by octets of ranks.
__device__ __forceinline__ void load_rows(Words4 (&to)[OCTETS][2], const bf16* from, int row, int end, int stride, int rank) {
  const int q = threadIdx.x & 3;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int r = row + 8 * half;
      to[o][half] = load_words(from + (i64)r * stride + 8 * q + 32 * o, r < end && 8 * q + 32 * o < rank);
    }
  }
}

// h·bᵀ of a thread's channels: sum[w][2i] and sum[w][2i + 1] are those of 8q + 2w and the next in row g + 8i. `column` is the warp's first.
__device__ __forceinline__ void branch_of(float (&sum)[4][4], const bf16* h, int row, int rows, int all, const bf16* b, int column, int columns, int rank) {
  const int lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
  Words4 of_h[OCTETS][2], of_b[OCTETS][4];
  load_rows(of_h, h, row, rows, all, rank);
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
#pragma unroll
    for (int w = 0; w < 4; w++) {
      const int c = column + 8 * (g >> 1) + 2 * w + (g & 1);
      of_b[o][w] = load_words(b + (i64)c * rank + 8 * q + 32 * o, c < columns && 8 * q + 32 * o < rank);
    }
  }
#pragma unroll
  for (int w = 0; w < 4; w++) {
#pragma unroll
    for (int i = 0; i < 4; i++) sum[w][i] = 0.0f;
#pragma unroll
    for (int k = 0; k < 2 * OCTETS; k++) {
      const Words4(&x)[2] = of_h[k / 2];
      const int t = k % 2 * 2;
      const u32 a[4] = {x[0].word[t], x[1].word[t], x[0].word[t + 1], x[1].word[t + 1]};
      ptx_mma_16816(sum[w], a, of_b[k / 2][w].word[t], of_b[k / 2][w].word[t + 1]);
    }
  }
}

// Eight numbers of a frozen product with a branch's on top, rounded: in the forward as in the backward.
__device__ __forceinline__ void with_branch(u32 (&to)[4], const u32 (&base)[4], float s, const float (&sum)[4][4], int half) {
#pragma unroll
  for (int w = 0; w < 4; w++)
    to[w] = pack_bf16(low_float(base[w]) + s * sum[w][2 * half], high_float(base[w]) + s * sum[w][2 * half + 1]);
}

// Eight numbers of a row from channel c on: of `whole` [dense, columns], or where a sparse row's are in shared memory, if there are such.
__device__ __forceinline__ void load_frozen(u32 (&to)[4], const bf16* whole, int row, int dense, int c, int columns, const u16* kept, bool sparse) {
  const void* const from = row < dense ? (const void*)(whole + (i64)row * columns + c) : kept;
  const Words4 words = load_words((const bf16*)from, row < dense ? c < columns : sparse);
#pragma unroll
  for (int w = 0; w < 4; w++) to[w] = words.word[w];
}

// Fills N tiles with zeros.
template <int N> __device__ __forceinline__ void clear_tiles(u16* tiles) {
#pragma unroll
  for (int n = 0; n < N * TILE / 8 / THREADS; n++) *(Words4*)(tiles + 8 * (threadIdx.x + n * THREADS)) = Words4{{0u, 0u, 0u, 0u}};
}

// A block's kept channels of sparse rows of N matrices [rows - dense, strides[m]] to their places in tiles. All loads of a thread begin before the first is
// waited for, those of two of a row's channels together: of most blocks that is all.
template <int N>
__device__ __forceinline__ void load_kept(u16* tiles, const bf16* const (&from)[N], const int (&strides)[N], const Kept& of, const int* indices, int first_column, int first,
                                          int rows, int dense) {
  const int warp = threadIdx.x >> 5;
  constexpr int own = ROWS / (THREADS / 32);
#pragma unroll 1
  for (int i = threadIdx.x & 31; i < of.count; i += 64) {
    const bool second = i + 32 < of.count;
    int channel[2];
    u16 numbers[N][own][2];
#pragma unroll
    for (int h = 0; h < 2; h++) channel[h] = h == 0 || second ? indices[of.begin + i + 32 * h] - first_column : 0;
#pragma unroll
    for (int m = 0; m < N; m++) {
#pragma unroll
      for (int n = 0; n < own; n++) {
        const int row = first + warp + n * (THREADS / 32);
        const bool there = row >= dense && row < rows;
        const u16* const at = (const u16*)from[m] + (i64)(row - dense) * strides[m] + of.begin + i;
        numbers[m][n][0] = there ? at[0] : (u16)0;
        numbers[m][n][1] = there && second ? at[32] : (u16)0;
      }
    }
#pragma unroll
    for (int m = 0; m < N; m++) {
#pragma unroll
      for (int n = 0; n < own; n++) {
        u16* const to = tiles + m * TILE;
        const int row = warp + n * (THREADS / 32);
        to[place_of(row, channel[0])] = numbers[m][n][0];
        if (second) to[place_of(row, channel[1])] = numbers[m][n][1];
      }
    }
  }
}

// The other way round: the kept channels of a tile to `to` [rows - dense, stride].
__device__ __forceinline__ void store_kept(const u16* tile, bf16* to, const Kept& of, const int* indices, int first_column, int first, int rows, int dense, int stride) {
  const int warp = threadIdx.x >> 5;
#pragma unroll 1
  for (int i = threadIdx.x & 31; i < of.count; i += 32) {
    const int channel = indices[of.begin + i] - first_column;
#pragma unroll
    for (int n = 0; n < ROWS / (THREADS / 32); n++) {
      const int row = warp + n * (THREADS / 32);
      if (first + row >= dense && first + row < rows) ((u16*)to)[(i64)(first + row - dense) * stride + of.begin + i] = tile[place_of(row, channel)];
    }
  }
}

// What SwiGLU is taken of: frozen products with the branches that go on top.
struct GateAndUp {
  const bf16 *gate, *up, *h, *b_gate, *b_up;
  int rows, dense, columns, all, rank_gate, rank_up;
  float s_gate, s_up;
  bool sparse;  // whether the block has tiles
};

// Gate and up of a thread's channels of rows `row` and row + 8, rounded: in the forward as in the backward. Of sparse rows the frozen products are in tiles.
__device__ __forceinline__ void gate_and_up(u32 (&z)[2][4], u32 (&u)[2][4], const GateAndUp& of, int row, int column, const u16* gate_tile, const u16* up_tile, const int (&place)[2]) {
  const int c = column + 8 * (threadIdx.x & 3);
  u32 of_gate[2][4], of_up[2][4];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    load_frozen(of_gate[half], of.gate, row + 8 * half, of.dense, c, of.columns, gate_tile + place[half], of.sparse);
    load_frozen(of_up[half], of.up, row + 8 * half, of.dense, c, of.columns, up_tile + place[half], of.sparse);
  }
  float sum[4][4];
  branch_of(sum, of.h, row, of.rows, of.all, of.b_gate, column, of.columns, of.rank_gate);
#pragma unroll
  for (int half = 0; half < 2; half++) with_branch(z[half], of_gate[half], of.s_gate, sum, half);
  branch_of(sum, of.h + of.rank_gate, row, of.rows, of.all, of.b_up, column, of.columns, of.rank_up);
#pragma unroll
  for (int half = 0; half < 2; half++) with_branch(u[half], of_up[half], of.s_up, sum, half);
}

// The rows of a block: sparse ones come first, as they take longest, and no block has both kinds.
struct OwnRows {
  int first, end;
  bool sparse;
};

__device__ __forceinline__ int sparse_tiles(int rows, int dense) { return (rows - dense + ROWS - 1) / ROWS; }

__device__ __forceinline__ OwnRows own_rows(int rows, int dense) {
  const int sparse = sparse_tiles(rows, dense), tile = blockIdx.y;
  if (tile < sparse) return OwnRows{dense + tile * ROWS, rows, true};
  return OwnRows{(tile - sparse) * ROWS, dense, false};
}

// The kept columns of down's weight [outputs, columns] as rows next to each other [kept, outputs]. Blocks of the same columns have a share each.
struct Down {
  const bf16* weight;
  bf16* kept;
  int outputs, columns, share, shares;
};

// Has a share of a block's columns brought to the second cache, before it is known which are kept.
__device__ __forceinline__ void prefetch_down(const Down& of, int first_column) {
  const int row = of.share + (threadIdx.x >> 1) * of.shares, column = first_column + 64 * (threadIdx.x & 1);
  if (row < of.outputs && column < of.columns) ptx_prefetch(of.weight + (i64)row * of.columns + column);
}

__device__ __forceinline__ void gather_down(const Down& of, const Kept& own, const int* indices) {
  const int all = own.count * (of.outputs / 8), own_share = (all + of.shares - 1) / of.shares, end = min(all, (of.share + 1) * own_share);
#pragma unroll 1
  for (int i = of.share * own_share + threadIdx.x; i < end; i += THREADS) {
    const int octet = i / own.count, n = own.begin + i - octet * own.count;
    const u16* const from = (const u16*)of.weight + (i64)8 * octet * of.columns + indices[n];
    u32 numbers[8];
#pragma unroll
    for (int k = 0; k < 8; k++) numbers[k] = from[(i64)k * of.columns];
    const Words4 words = {{numbers[0] | numbers[1] << 16, numbers[2] | numbers[3] << 16, numbers[4] | numbers[5] << 16, numbers[6] | numbers[7] << 16}};
    *(Words4*)(of.kept + (i64)n * of.outputs + 8 * octet) = words;
  }
}

// y [rows, columns] = silu(gate) ⊙ up, where gate and up [dense, columns], of sparse rows kept_z [rows - dense, kept + kept], are with s·h·bᵀ on top; h
// [rows, all], that of gate first. With `indices` also kept_y [rows - dense, kept], and kept_down
// [kept, outputs] of w_down [outputs, columns]: shared memory has room for two tiles then.
extern "C" __global__ void __launch_bounds__(THREADS, RANK == 32 ? 3 : 2)
    branch_activation(const bf16* gate, const bf16* up, const bf16* kept_z, const bf16* h, const bf16* b_gate, const bf16* b_up, const int* indices, const bf16* w_down,
                      bf16* y, bf16* kept_y, bf16* kept_down, int rows, int dense, int columns, int kept, int outputs, int all, int rank_gate, int rank_up, float s_gate, float s_up) {
  SPFT_DYNAMIC_SHARED(u16, gate_tile);
  u16* const up_tile = gate_tile + TILE;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3, group = warp & 3;
  const OwnRows tile = own_rows(rows, dense);
  const int first = tile.first, end = tile.end, first_column = blockIdx.x * COLUMNS, column = first_column + 32 * group;
  const bool sparse = tile.sparse;
  const GateAndUp of = {gate, up, h, b_gate, b_up, end, dense, columns, all, rank_gate, rank_up, s_gate, s_up, sparse};
  Kept own = {};
  const Down down = {w_down, kept_down, outputs, columns, (int)blockIdx.y, sparse_tiles(rows, dense)};
  if (sparse) {
    prefetch_down(down, first_column);
    clear_tiles<2>(gate_tile);
    own = find_kept(indices, kept, first_column);
    load_kept<2>(gate_tile, {kept_z, kept_z + kept}, {2 * kept, 2 * kept}, own, indices, first_column, first, end, dense);
    gather_down(down, own, indices);
    __syncthreads();
  }
#pragma unroll 1
  for (int unit = 0; unit < 2; unit++) {
    const int tile_row = 32 * (warp >> 2) + 16 * unit + g, row = first + tile_row;
    const int place[2] = {place_of(tile_row, 32 * group + 8 * q), place_of(tile_row + 8, 32 * group + 8 * q)};
    u32 z[2][4], u[2][4];
    gate_and_up(z, u, of, row, column, gate_tile, up_tile, place);
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int r = row + 8 * half, c = column + 8 * q;
#pragma unroll
      for (int w = 0; w < 4; w++) {
        const float low = low_float(z[half][w]), high = high_float(z[half][w]);
        u[half][w] = pack_bf16(low * sigmoid(low) * low_float(u[half][w]), high * sigmoid(high) * high_float(u[half][w]));
      }
      const Words4 words = {{u[half][0], u[half][1], u[half][2], u[half][3]}};
      if (r < end && c < columns) *(Words4*)(y + (i64)r * columns + c) = words;
      if (sparse) *(Words4*)(gate_tile + place[half]) = words;
    }
  }
  if (!sparse) return;
  __syncthreads();
  store_kept(gate_tile, kept_y, own, indices, first_column, first, end, dense, kept);
}

// The gradients of gate and up [rows, columns], with `indices` kept_d [rows - dense, kept + kept] of both as well. The gradient of y is what the frozen
// product of down gave, dy [dense, columns] and of sparse rows kept_dy [rows - dense, kept], with dh·a of its branch on top: dh [rows, rank_down], a
// [rank_down, columns].
extern "C" __global__ void __launch_bounds__(THREADS, RANK == 32 ? 3 : 2)
    branch_activation_grad(const bf16* gate, const bf16* up, const bf16* kept_z, const bf16* h, const bf16* b_gate, const bf16* b_up, const int* indices, const bf16* dy,
                           const bf16* kept_dy, const bf16* dh, const bf16* a, bf16* dgate, bf16* dup, bf16* kept_d, int rows, int dense, int columns,
                           int kept, int all, int rank_gate, int rank_up, int rank_down, float s_gate, float s_up) {
  SPFT_DYNAMIC_SHARED(u16, a_tile);
  u16* const gate_tile = a_tile + RANK * STRIDE;
  u16* const up_tile = gate_tile + TILE;
  u16* const dy_tile = up_tile + TILE;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3, group = warp & 3;
  const OwnRows tile = own_rows(rows, dense);
  const int first = tile.first, end = tile.end, first_column = blockIdx.x * COLUMNS, column = first_column + 32 * group;
  const bool sparse = tile.sparse;
  const GateAndUp of = {gate, up, h, b_gate, b_up, end, dense, columns, all, rank_gate, rank_up, s_gate, s_up, sparse};
  // What the forward left, long ago, is on its way before it is asked for.
  const int ahead_row = first + (threadIdx.x >> 1 & 63), ahead_column = first_column + 64 * (threadIdx.x & 1);
  if (sparse) {
    // Blocks of the same rows have a share each, as which columns are a block's is not known yet.
#pragma unroll 1
    for (int at = 64 * (blockIdx.x + (threadIdx.x >> 6) * gridDim.x); at < 2 * kept; at += 256 * gridDim.x) {
      if (first + (threadIdx.x & 63) < end) ptx_prefetch(kept_z + (i64)(first + (threadIdx.x & 63) - dense) * (2 * kept) + at);
    }
  } else if (ahead_row < end && ahead_column < columns) {
    ptx_prefetch((threadIdx.x < 128 ? gate : up) + (i64)ahead_row * columns + ahead_column);
  }
  // Of each 32 channels the pairs w of octets q lie at 8w + 2q: as tile w has them.
#pragma unroll
  for (int n = 0; n < RANK * COLUMNS / 8 / THREADS; n++) {
    const int piece = threadIdx.x + n * THREADS, r = piece / (COLUMNS / 8), octet = piece % (COLUMNS / 8);
    const Words4 words = load_words(a + (i64)r * columns + first_column + 8 * octet, r < rank_down && first_column + 8 * octet < columns);
#pragma unroll
    for (int w = 0; w < 4; w++) *(u32*)(a_tile + r * STRIDE + octet / 4 * 32 + 8 * w + octet % 4 * 2) = words.word[w];
  }
  Kept own = {};
  if (sparse) {
    clear_tiles<3>(gate_tile);
    own = find_kept(indices, kept, first_column);
    load_kept<3>(gate_tile, {kept_z, kept_z + kept, kept_dy}, {2 * kept, 2 * kept, kept}, own, indices, first_column, first, end, dense);
  }
  __syncthreads();
#pragma unroll 1
  for (int unit = 0; unit < 2; unit++) {
    const int tile_row = 32 * (warp >> 2) + 16 * unit + g, row = first + tile_row;
    const int place[2] = {place_of(tile_row, 32 * group + 8 * q), place_of(tile_row + 8, 32 * group + 8 * q)};
    u32 z[2][4], u[2][4], of_dy[2][4];
    gate_and_up(z, u, of, row, column, gate_tile, up_tile, place);
#pragma unroll
    for (int half = 0; half < 2; half++) load_frozen(of_dy[half], dy, row + 8 * half, dense, column + 8 * q, columns, dy_tile + place[half], sparse);

    // dh·a: ranks of a in the order in which threads have those of dh.
    Words4 of_dh[OCTETS][2];
    load_rows(of_dh, dh, row, end, rank_down, rank_down);
    float sum[4][4];
#pragma unroll
    for (int i = 0; i < 16; i++) sum[i / 4][i % 4] = 0.0f;
    const int j = lane & 7, own_rank = 8 * (j >> 1) + (j & 1) + (lane >> 3 & 1) * 2, second = (lane >> 4) * 8;
#pragma unroll
    for (int k = 0; k < 2 * OCTETS; k++) {
      const Words4(&x)[2] = of_dh[k / 2];
      const int t = k % 2 * 2;
      const u32 of_row[4] = {x[0].word[t], x[1].word[t], x[0].word[t + 1], x[1].word[t + 1]};
#pragma unroll
      for (int w = 0; w < 4; w += 2) {
        u32 of_a[4];
        ptx_ldmatrix_x4_trans(of_a, a_tile + (32 * (k / 2) + 2 * t + own_rank) * STRIDE + 32 * group + 8 * w + second);
        ptx_mma_16816(sum[w], of_row, of_a[0], of_a[1]);
        ptx_mma_16816(sum[w + 1], of_row, of_a[2], of_a[3]);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int r = row + 8 * half, c = column + 8 * q;
#pragma unroll
      for (int w = 0; w < 4; w++) {
        const u32 d = of_dy[half][w];
        float made_z[2], made_u[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const float x = i ? high_float(z[half][w]) : low_float(z[half][w]), other = i ? high_float(u[half][w]) : low_float(u[half][w]);
          const float whole = (i ? high_float(d) : low_float(d)) + sum[w][2 * half + i];
          const float sigma = sigmoid(x), silu = x * sigma;
          made_z[i] = whole * other * (sigma + silu - silu * sigma);
          made_u[i] = whole * silu;
        }
        z[half][w] = pack_bf16(made_z[0], made_z[1]);
        u[half][w] = pack_bf16(made_u[0], made_u[1]);
      }
      if (r < end && c < columns) {
        *(Words4*)(dgate + (i64)r * columns + c) = Words4{{z[half][0], z[half][1], z[half][2], z[half][3]}};
        *(Words4*)(dup + (i64)r * columns + c) = Words4{{u[half][0], u[half][1], u[half][2], u[half][3]}};
      }
      if (sparse) {
        *(Words4*)(gate_tile + place[half]) = Words4{{z[half][0], z[half][1], z[half][2], z[half][3]}};
        *(Words4*)(up_tile + place[half]) = Words4{{u[half][0], u[half][1], u[half][2], u[half][3]}};
      }
    }
  }
  if (!sparse) return;
  __syncthreads();
  store_kept(gate_tile, kept_d, own, indices, first_column, first, end, dense, 2 * kept);
  store_kept(up_tile, kept_d + kept, own, indices, first_column, first, end, dense, 2 * kept);
}
