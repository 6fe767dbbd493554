// What the forward and the backward of attention over a packed batch share: which rows a tile has, and how a tile lies in shared memory.
//
// Grouped-query attention is one problem a (sequence, kv head) pair: the G query heads of a kv head see the same keys, so their queries are
// stacked into one matrix of L·G *packed rows*, row r being head r % G of token r / G. A tile of 128 packed rows of G = 4 heads covers only 32
// tokens, which wastes less of the causal diagonal than 128 tokens of one head would, and every K and V tile that is loaded serves all G heads;
// in the backward the sum over the group is the sum over packed rows that is there anyway. Key j is seen by packed row r if j <= r / G.
//
// Defines:  HEAD_DIM      d, a multiple of 8 up to 256 (any d in 1..256 works where TENSOR_CORES is 0)
//           GROUP         G, query heads a kv head
//           BF16          1: q, k, v, out and their gradients are bf16; 0 (default): float
//           TENSOR_CORES  1: tensor-core kernels (needs BF16 = 1 and HEAD_DIM 64 or 128, where it is the default); 0: float arithmetic, any HEAD_DIM
//           WGMMA         1: with Hopper's warpgroup products (the default where compiled for sm_90a); 0: with mma.sync, on sm_80 and later
//
// lse (log-sum-exp) and delta (rowsum of dout * out) are float [K, T, G] in *packed* token order: what a tile of packed rows needs is contiguous.
// lse is in base 2: log2(sum over keys of 2^(s * log2(e) / sqrt(d))), what exp2 wants.
#pragma once
#include "rope.cuh"

#ifndef GROUP
#define GROUP 1
#endif
#ifndef BF16
#define BF16 0
#endif
#ifndef TENSOR_CORES
#define TENSOR_CORES (BF16 && (HEAD_DIM == 64 || HEAD_DIM == 128))
#endif

#ifndef WGMMA
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define WGMMA TENSOR_CORES
#else
#define WGMMA 0
#endif
#endif

#if BF16
typedef bf16 Element;
#else
typedef float Element;
#endif

#define LOG2_E 1.4426950408889634f

__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }

// One (sequence, kv head) pair.
struct Pair {
  int sequence;
  int start;   // of the sequence in packed order
  int length;  // in tokens
  int kv_head;
  const int* row_of_token;  // of this sequence: its token 0 comes first

  __device__ __forceinline__ int packed_rows() const { return length * GROUP; }
};

// Blocks are numbered so that the tiles with most work of all pairs come first: the GPU starts blocks in order, and a long block that starts last
// would run alone. `tile` counts from the heaviest.
__device__ __forceinline__ Pair pair_of(int number, const int* sequence_starts, const int* row_of_token, int sequences, int kv_heads, int& tile) {
  const int pairs = sequences * kv_heads;
  const int index = number % pairs;
  tile = number / pairs;
  Pair pair;
  pair.sequence = index / kv_heads;
  pair.kv_head = index - pair.sequence * kv_heads;
  pair.start = sequence_starts[pair.sequence];
  pair.length = sequence_starts[pair.sequence + 1] - pair.start;
  pair.row_of_token = row_of_token + pair.start;
  return pair;
}
__device__ __forceinline__ Pair pair_of_block(const int* sequence_starts, const int* row_of_token, int sequences, int kv_heads, int& tile) {
  return pair_of(blockIdx.x, sequence_starts, row_of_token, sequences, kv_heads, tile);
}

// Row of token (of its sequence) in q, k, v, …; -1 past the sequence's end.
__device__ __forceinline__ int row_or_none(const Pair& pair, int token) { return token < pair.length ? pair.row_of_token[token] : -1; }

// Where packed row r begins in q, out, dout or dq, given its token's row.
__device__ __forceinline__ i64 query_offset(const Pair& pair, int row, int r, int stride) {
  return (i64)row * stride + (pair.kv_head * GROUP + r % GROUP) * HEAD_DIM;
}
// Where a token's key or value begins in k, v, dk or dv.
__device__ __forceinline__ i64 key_offset(const Pair& pair, int row, int stride) { return (i64)row * stride + pair.kv_head * HEAD_DIM; }

__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

#if TENSOR_CORES

static_assert(BF16 && (HEAD_DIM == 64 || HEAD_DIM == 128), "the tensor-core kernels are for bf16 heads of 64 or 128");

// A tile of ROWS x HEAD_DIM bf16 in shared memory: panels of 64 columns, in which a row is 128 bytes and its eight 16-byte chunks are permuted by
// chunk ^ (row & 7). Eight rows at one chunk, what ldmatrix reads at a time, then lie in 32 different banks. (It is also the 128-byte swizzle that
// Hopper's wgmma reads.)
#define CHUNKS (HEAD_DIM / 8)
#define K_STEPS (HEAD_DIM / 16)
__device__ constexpr int tile_bytes(int rows) { return rows * HEAD_DIM * 2; }

template <int ROWS> __device__ __forceinline__ u32 chunk_offset(int row, int chunk) {
  return (chunk >> 3) * (ROWS * 128) + row * 128 + (((chunk ^ row) & 7) << 4);
}

// Fragments of 16 x 16 of a tile. `lane` arguments are offsets that depend on the thread only: the rest of an address is constant once loops are
// unrolled, but for an XOR a k step, as 16 rows or 64 columns further the swizzle repeats.

// As A[m][k] from rows m, and as B[k][n] (transposed load) from rows k.
__device__ __forceinline__ u32 lane_offset_a(int lane) { return (lane & 15) * 128 + ((((lane >> 4) ^ lane) & 7) << 4); }
// As B[k][n] from rows n: two 8-column tiles, registers {0, 1} and {2, 3}.
__device__ __forceinline__ u32 lane_offset_b(int lane) {
  const int row = (lane & 7) + ((lane >> 4) << 3);
  return row * 128 + (((((lane >> 3) & 1) ^ row) & 7) << 4);
}
// Of rows 16 * row16 … and columns 16 * column16 ….
template <int ROWS> __device__ __forceinline__ const u8* fragment(const u8* tile, u32 lane, int row16, int column16) {
  return tile + (column16 >> 2) * (ROWS * 128) + row16 * (16 * 128) + (lane ^ ((column16 & 3) << 5));
}

#if !WGMMA

// Products with mma.sync. Of the shared operand B only the 16-row pieces begin … end - 1 count, which are the same in the whole warp: the causal mask often
// leaves fewer than all. A warp's rows come in tiles of 16, next to each other.
template <int MT, int NT> __device__ __forceinline__ void clear(float (&acc)[MT][NT][4]) {
#pragma unroll
  for (int m = 0; m < MT; m++) {
#pragma unroll
    for (int n = 0; n < NT; n++) acc[m][n][0] = acc[m][n][1] = acc[m][n][2] = acc[m][n][3] = 0.0f;
  }
}

// acc += A·Bᵀ for 16·MT rows of A and 8·NT rows of B, both tiles in shared memory.
template <int A_ROWS, int B_ROWS, int MT, int NT>
__device__ __forceinline__ void multiply_abt(float (&acc)[MT][NT][4], const u8* a_tile, int a_row16, const u8* b_tile, u32 lane_a, u32 lane_b, int begin,
                                             int end) {
#pragma unroll
  for (int k = 0; k < K_STEPS; k++) {
    u32 a[MT][4];
#pragma unroll
    for (int m = 0; m < MT; m++) ptx_ldmatrix_x4(a[m], fragment<A_ROWS>(a_tile, lane_a, a_row16 + m, k));
#pragma unroll
    for (int n = 0; n < NT / 2; n++) {
      if (n >= begin && n < end) {
        u32 b[4];
        ptx_ldmatrix_x4(b, fragment<B_ROWS>(b_tile, lane_b, n, k));
#pragma unroll
        for (int m = 0; m < MT; m++) {
          ptx_mma_16816(acc[m][2 * n], a[m], b[0], b[1]);
          ptx_mma_16816(acc[m][2 * n + 1], a[m], b[2], b[3]);
        }
      }
    }
  }
}

// The same with A in registers.
template <int B_ROWS, int MT, int NT>
__device__ __forceinline__ void multiply_abt(float (&acc)[MT][NT][4], const u32 (&a)[MT][K_STEPS][4], const u8* b_tile, u32 lane_b, int begin, int end) {
#pragma unroll
  for (int k = 0; k < K_STEPS; k++) {
#pragma unroll
    for (int n = 0; n < NT / 2; n++) {
      if (n >= begin && n < end) {
        u32 b[4];
        ptx_ldmatrix_x4(b, fragment<B_ROWS>(b_tile, lane_b, n, k));
#pragma unroll
        for (int m = 0; m < MT; m++) {
          ptx_mma_16816(acc[m][2 * n], a[m][k], b[0], b[1]);
          ptx_mma_16816(acc[m][2 * n + 1], a[m][k], b[2], b[3]);
        }
      }
    }
  }
}

// acc [16·MT, HEAD_DIM] += P·B, P in registers, B the tile's 16·KT rows.
template <int B_ROWS, int MT, int KT>
__device__ __forceinline__ void multiply_pb(float (&acc)[MT][CHUNKS][4], const u32 (&p)[MT][KT][4], const u8* b_tile, u32 lane_a, int begin, int end) {
#pragma unroll
  for (int k = 0; k < KT; k++) {
    if (k >= begin && k < end) {
#pragma unroll
      for (int n = 0; n < CHUNKS / 2; n++) {
        u32 b[4];
        ptx_ldmatrix_x4_trans(b, fragment<B_ROWS>(b_tile, lane_a, k, n));
#pragma unroll
        for (int m = 0; m < MT; m++) {
          ptx_mma_16816(acc[m][2 * n], p[m][k], b[0], b[1]);
          ptx_mma_16816(acc[m][2 * n + 1], p[m][k], b[2], b[3]);
        }
      }
    }
  }
}

#endif

template <int ROWS> __device__ __forceinline__ void load_a(u32 (&a)[K_STEPS][4], const u8* tile, int row16, u32 lane_a) {
#pragma unroll
  for (int k = 0; k < K_STEPS; k++) ptx_ldmatrix_x4(a[k], fragment<ROWS>(tile, lane_a, row16, k));
}

// Accumulators, rounded to bf16, as the A operand of the next product: the layouts agree.
template <int MT, int NT> __device__ __forceinline__ void accumulators_to_a(u32 (&a)[MT][NT / 2][4], const float (&x)[MT][NT][4]) {
#pragma unroll
  for (int m = 0; m < MT; m++) {
#pragma unroll
    for (int k = 0; k < NT / 2; k++) {
      a[m][k][0] = pack_bf16(x[m][2 * k][0], x[m][2 * k][1]);
      a[m][k][1] = pack_bf16(x[m][2 * k][2], x[m][2 * k][3]);
      a[m][k][2] = pack_bf16(x[m][2 * k + 1][0], x[m][2 * k + 1][1]);
      a[m][k][3] = pack_bf16(x[m][2 * k + 1][2], x[m][2 * k + 1][3]);
    }
  }
}

// Starts copying ROWS rows into a tile; `rows` (in shared memory) has the row of each, -1 past the end, which makes zeros. x points at the pair's
// first head: HEADS is GROUP for packed rows, of which `first` is the first, and 1 for keys.
template <int ROWS, int THREADS, int HEADS> __device__ __forceinline__ void copy_rows(u8* tile, const bf16* x, int stride, int first, const int* rows) {
  const int chunk = threadIdx.x % CHUNKS;
  x += chunk * 8;
#pragma unroll
  for (int i = 0; i < ROWS * CHUNKS / THREADS; i++) {
    const int r = threadIdx.x / CHUNKS + i * (THREADS / CHUNKS);
    const int row = rows[r];
    const int head = (ROWS % HEADS == 0 ? r : first + r) % HEADS;  // tiles of a multiple of HEADS rows begin with head 0
    ptx_copy_async_16(tile + chunk_offset<ROWS>(r, chunk), x + (i64)max(row, 0) * stride + head * HEAD_DIM, row >= 0);
  }
}

// Writes a warp's accumulators, rows 16 * row16 … and columns 8 * chunk …, as bf16 into a tile; only this warp may be reading those rows.
template <int ROWS, int N>
__device__ __forceinline__ void store_accumulators(u8* tile, int row16, const float (&acc)[N][4], float scale_low, float scale_high, int chunk = 0) {
  const int lane = threadIdx.x & 31;
  const int row = row16 * 16 + lane / 4;
#pragma unroll
  for (int n = 0; n < N; n++) {
    *(u32*)(tile + chunk_offset<ROWS>(row, chunk + n) + (lane & 3) * 4) = pack_bf16(acc[n][0] * scale_low, acc[n][1] * scale_low);
    *(u32*)(tile + chunk_offset<ROWS>(row + 8, chunk + n) + (lane & 3) * 4) = pack_bf16(acc[n][2] * scale_high, acc[n][3] * scale_high);
  }
}

// Fetches the angles of a warp's 16 rows, of which lane l's is row l % 16, for `write_turned_back` of them: it would wait for memory at the end otherwise, when there
// is nothing else to do.
__device__ __forceinline__ void fetch_angles(const float* cosines, const float* sines, int row) {
  if (cosines && row >= 0) {
    const float* const angles = ((threadIdx.x & 16) ? sines : cosines) + (i64)row * (HEAD_DIM / 2);
#pragma unroll
    for (int at = 0; at < HEAD_DIM / 2; at += 32) ptx_fetch(angles + at);
  }
}

// Writes 16 bytes of row r of a tile, numbers 8 · piece …, and those HEAD_DIM / 2 further, to a head of `row`: gradients of what RoPE turned, turned back by that
// row's angles (tables [rows, HEAD_DIM / 2]). They are rounded as by a launch of its own (rope.cu), which would read and write all of them once more.
template <int ROWS>
__device__ __forceinline__ void write_turned_back(bf16* head, const u8* tile, int r, int piece, const float* cosines, const float* sines, int row) {
  float a[8], b[8], c[8], s[8];
  load_vector<8>((const bf16*)(tile + chunk_offset<ROWS>(r, piece)), a);
  load_vector<8>((const bf16*)(tile + chunk_offset<ROWS>(r, piece + CHUNKS / 2)), b);
  load_vector<8>(cosines + (i64)row * (HEAD_DIM / 2) + piece * 8, c);
  load_vector<8>(sines + (i64)row * (HEAD_DIM / 2) + piece * 8, s);
#pragma unroll
  for (int i = 0; i < 8; i++) s[i] = -s[i];
  turn_octets(a, b, c, s);
  store_vector<8>(head + piece * 8, a);
  store_vector<8>(head + piece * 8 + HEAD_DIM / 2, b);
}

#endif
