// Gradients of layers' inputs on Hopper, of codes and with the matrices as they lie: dx [rows, inputs] = alpha · scale of the row · Σ dyᵢ·Wᵢ + x·w, Wᵢ [kᵢ, inputs]
// and dy, all dyᵢ side by side, in E4M3, the rest in bf16, sums in float. x [rows, rank] and w [rank, inputs] are those of low-rank branches; none where BRANCH is 0. STEPS of 16
// are made of each 64 numbers of the rank.
//
// Hopper multiplies codes whose inner dimension lies along memory alone, and Wᵢ has its rows along it. But the first operand may come from registers: so the
// transposed product is made, dxᵀ = Wᵀ·dyᵀ, and Wᵀ's fragments are made of W's tile by loads of transposed 8x8 matrices of two-byte numbers, which are two codes, and by
// permutations of bytes. Of such a pair a thread gets both codes, of two neighbouring columns of W: these are rows g and g + 8 of its fragment. So dx's neighbours
// are in one thread too.
//
// Tiles, clusters and stages are code-tiles.cuh's, the rows of a tile those of dxᵀ. Of dx a warp has 32 bytes of a row, so it goes by way of shared memory, 64 rows at a time of
// each warpgroup, from where it is copied in bulk while the next are written, and while the next tile is multiplied.
#include "code-tiles.cuh"

#define MOST_MATRICES 3
#define OUT_AT 1024              // behind the ring's tiles, after its barriers
#define OUT_BYTES (BOX * INNER)  // of dx that a warpgroup copies at once: 64 columns of so many rows
#ifndef BRANCH
#define BRANCH 0
#endif
#ifndef STEPS
#define STEPS 4
#endif

// A stage: 128 rows of a matrix, and as many columns of dy, from `column` on.
__device__ __forceinline__ void copy_stage(const TensorMap* matrix, const TensorMap* dy, Ring& ring, const Place& place, int row, int column, int block) {
  const u32 full = begin_stage(ring), tile = ring.tile();
#pragma unroll
  for (int n = 0; n < INNER; n += BOX) ptx_copy_box(tile + n * INNER, matrix, place.row, row + n, full);
  copy_shared(dy, tile, full, place.column, column, block);
  ring.advance();
}

// The same of 64 numbers of the rank. Of w a box has 64 columns.
__device__ __forceinline__ void copy_branch(const TensorMap* w, const TensorMap* x, Ring& ring, const Place& place, int at, int block) {
  const u32 full = begin_stage(ring), tile = ring.tile();
#pragma unroll
  for (int n = 0; n < ROWS; n += BOX) ptx_copy_box(tile + n * INNER, w, 2 * (place.row + n), at, full);
  copy_shared(x, tile, full, place.column, 2 * at, block);
  ring.advance();
}

// Where a thread finds what it asks for of W's tile, of 32 rows and its warp's 16 columns: row j of matrix i is asked for by thread 8i + j. A matrix gets eight rows whose
// units lie in different banks: rows 4q and 4q + 1 for the first threads of a fragment and 4q + 2 and 4q + 3 for the others, the second matrix what is left.
__device__ __forceinline__ u32 place_in_tile(int warp, int lane) {
  const int i = lane >> 3, j = lane & 7, row = 4 * (j >> 1) + (j & 1) + 2 * ((i ^ j >> 2) & 1) + 16 * (i >> 1);
  return row * INNER + ((warp ^ row) & 7) * 16;
}

// The fragments of 64 columns of W and the 32 rows at `from`.
__device__ __forceinline__ void load_transposed(u32 (&a)[4], u32 from, bool later) {
  u32 x[4];
  ptx_ldmatrix_x4_trans(x, from);
  const u32 even = later ? 0x2064 : 0x6420, odd = later ? 0x3175 : 0x7531;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    a[2 * half] = __byte_perm(x[2 * half], x[2 * half + 1], even);
    a[2 * half + 1] = __byte_perm(x[2 * half], x[2 * half + 1], odd);
  }
}

// The same of w in bf16, [64, 64] numbers at `tile`, of 16 rows from `first` on: rows of fragments as above.
__device__ __forceinline__ void load_transposed_half(u32 (&a)[4], u32 tile, int first, int warp, int lane) {
  const int g = lane >> 2, q = lane & 3, unit = 2 * (warp & 3) + (g >> 2);
#pragma unroll
  for (int half = 0; half < 2; half++) {
    u32 x[2];
#pragma unroll
    for (int n = 0; n < 2; n++) {
      const int row = first + 8 * half + 2 * q + n;
      x[n] = ptx_load_shared(tile + row * INNER + (unit ^ (row & 7)) * 16 + 4 * (g & 3));
    }
    a[2 * half] = __byte_perm(x[0], x[1], 0x5410);
    a[2 * half + 1] = __byte_perm(x[0], x[1], 0x7632);
  }
}

extern "C" __global__ void __cluster_dims__(BLOCKS, 1, 1) __launch_bounds__(384, 1)
code_gradients(const __grid_constant__ TensorMap w0, const __grid_constant__ TensorMap w1, const __grid_constant__ TensorMap w2, const __grid_constant__ TensorMap dy,
               const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, const __grid_constant__ TensorMap dx, const float* scales, int rows, int inputs,
               int k0, int k1, int k2, int by_row, int rank, float alpha) {
  SPFT_DYNAMIC_SHARED(u8, shared);
  Ring ring((ptx_shared_address(shared) + 1023) & ~1023u);
  const int tall = (inputs + ROWS * BLOCKS - 1) / (ROWS * BLOCKS), wide = (rows + COLUMNS - 1) / COLUMNS;
  const int block = blockIdx.x % BLOCKS, first = blockIdx.x / BLOCKS, step = gridDim.x / BLOCKS;

  if (threadIdx.x == 0) make_barriers(ring);
  ptx_cluster_meet();

  if (threadIdx.x < 128) {
    ptx_fewer_registers<COPY_REGISTERS>();
    if (threadIdx.x == 0) {
      for (int number = first; number < tall * wide; number += step) {
        const Place place = place_of(number, tall, wide, block);
        for (int matrix = 0, column = 0; matrix < MOST_MATRICES; matrix++) {
          const int k = matrix == 0 ? k0 : matrix == 1 ? k1 : k2;
          const TensorMap* const of = matrix == 0 ? &w0 : matrix == 1 ? &w1 : &w2;
          // Below the last row of a matrix are zeros, by which the next dy's columns are multiplied.
          for (int at = 0; at < k; at += INNER) copy_stage(of, &dy, ring, place, at, column + at, block);
          column += k;
        }
#if BRANCH
        for (int at = 0; at < rank; at += INNER / 2) copy_branch(&w, &x, ring, place, at, block);
#endif
      }
    }
  } else {
    ptx_more_registers<MULTIPLY_REGISTERS>();
    const int thread = threadIdx.x - 128, warpgroup = thread / 128, warp = thread / 32, lane = thread & 31, g = lane >> 2, q = lane & 3;
    const int stages = (k0 + INNER - 1) / INNER + (k1 + INNER - 1) / INNER + (k2 + INNER - 1) / INNER;
    const u32 in_tile = place_in_tile(warp, lane);
    // Where this warpgroup writes dx, two pieces in turns, as a swizzle of 128 bytes has it; and a thread's sixteen bytes of a row there.
    const u32 out = ring.tiles + STAGES * STAGE_BYTES + OUT_AT + warpgroup * 2 * OUT_BYTES;
    const int unit = 2 * (warp & 3) + (g >> 2);
    float acc[COLUMNS / 8][4];
    u32 left[2][INNER / 32][4];
    for (int number = first; number < tall * wide; number += step) {
      const Place place = place_of(number, tall, wide, block);
      int before = 0;
      // One product is under way while the fragments of the next are made.
      const auto multiply = [&](int n, u32 (&here)[INNER / 32][4], u32 (&last)[INNER / 32][4]) {
        ptx_barrier_wait(ring.full + 8 * ring.stage, ring.parity);
#pragma unroll
        for (int i = 0; i < INNER / 32; i++) load_transposed(here[i], ring.tile() + in_tile + i * 32 * INNER, q >= 2);
        const u64 right = descriptor(ring.tile() + ROWS * INNER);
        keep(acc);
        keep(here);
        ptx_wgmma_fence();
#pragma unroll
        for (int i = 0; i < INNER / 32; i++) ptx_wgmma_e4m3(acc, here[i], right + 2 * i, n > 0 || i > 0);
        ptx_wgmma_commit();
        if (n > 0) {
          ptx_wgmma_wait<1>();
          keep(last);
          give(ring, before, thread);
        }
        before = ring.stage;
        ring.advance();
      };
      for (int n = 0; n < stages; n += 2) {
        multiply(n, left[0], left[1]);
        if (n + 1 < stages) multiply(n + 1, left[1], left[0]);
      }
      // What this tile's rows of dx are multiplied by: 64 of them each, pairs by thread.
      float scale[COLUMNS / 64][2];
#pragma unroll
      for (int i = 0; i < COLUMNS / 64; i++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const int row = place.column + 64 * i + 2 * lane + e;
          scale[i][e] = row < rows ? alpha * scales[by_row ? row : 0] : 0.0f;
        }
      }
      ptx_wgmma_wait<0>();
      keep(acc);
      keep(left[0]);
      keep(left[1]);
      give(ring, before, thread);
#pragma unroll
      for (int i = 0; i < COLUMNS / 8; i++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const float by = __shfl_sync(0xffffffffu, scale[i / 8][e], 4 * (i % 8) + q);
          acc[i][e] *= by;
          acc[i][2 + e] *= by;
        }
      }
#if BRANCH
      for (int at = 0; at < rank; at += INNER / 2) {
        u32 half[STEPS][4];
        ptx_barrier_wait(ring.full + 8 * ring.stage, ring.parity);
#pragma unroll
        for (int i = 0; i < STEPS; i++) load_transposed_half(half[i], ring.tile() + warpgroup * BOX * INNER, 16 * i, warp, lane);
        const u64 right = descriptor(ring.tile() + ROWS * INNER);
        keep(acc);
        keep(half);
        ptx_wgmma_fence();
#pragma unroll
        for (int i = 0; i < STEPS; i++) ptx_wgmma(acc, half[i], right + 2 * i);
        ptx_wgmma_commit();
        ptx_wgmma_wait<0>();
        keep(acc);
        keep(half);
        give(ring, ring.stage, thread);
        ring.advance();
      }
#endif
#pragma unroll
      for (int piece = 0; piece < COLUMNS / BOX; piece++) {
        // The last but one has been copied, so its place is free.
        if ((thread & 127) == 0) ptx_copies_out_wait<1>();
        ptx_named_barrier(1 + warpgroup, 128);
        const u32 place_of_piece = out + piece % 2 * OUT_BYTES;
#pragma unroll
        for (int i = 0; i < BOX / 8; i++) {
#pragma unroll
          for (int e = 0; e < 2; e++) {
            const float* const sums = acc[piece * (BOX / 8) + i] + e;
            const int row = 2 * q + e;
            ptx_store_shared(place_of_piece + (8 * i + row) * INNER + (unit ^ row) * 16 + 4 * (g & 3), pack_bf16(sums[0], sums[2]));
          }
        }
        ptx_fence_shared_for_wgmma();
        ptx_named_barrier(1 + warpgroup, 128);
        if ((thread & 127) == 0) {
          ptx_copy_box_out(&dx, 2 * (place.row + warpgroup * BOX), place.column + piece * BOX, place_of_piece);
          ptx_copies_out_commit();
        }
      }
    }
    if ((thread & 127) == 0) ptx_copies_out_wait<0>();
  }
  // No block ends while another may tell it something.
  ptx_cluster_meet();
}
