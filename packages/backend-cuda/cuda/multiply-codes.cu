// Products of codes with a low-rank branch on Hopper: d [m, n] = alpha · scale of the row · a·bᵀ + beta · x·wᵀ (+ c), a [m, k] and b [n, k] in E4M3, the rest in bf16, sums in
// float. x [m, rank] is h, w [n, rank] an adapter's B. STEPS of 16 are made of each 64 numbers of the rank.
//
// Tiles, clusters and stages are code-tiles.cuh's. ADDS says whether there is c, which is loaded ahead; TURNS whether queries or keys are turned by their positions
// before they are written, by tables [m, 64] of cosines and sines.
#include "code-tiles.cuh"

#define OUT_COLUMNS 64  // of a tile of d for which what is added is loaded at once
#ifndef ADDS
#define ADDS 1
#endif
#ifndef STEPS
#define STEPS 4
#endif
// Whether d is turned by rotary position embedding, in heads of 128 numbers: a tile of d has two of them, and a thread each number and the one across from it.
#ifndef TURNS
#define TURNS 0
#endif
#define HALF_HEAD 64

__device__ __forceinline__ void copy_stage(const TensorMap* a, const TensorMap* b, Ring& ring, const Place& place, int at, int block) {
  const u32 full = begin_stage(ring), tile = ring.tile();
#pragma unroll
  for (int row = 0; row < ROWS; row += BOX) ptx_copy_box(tile + row * INNER, a, at, place.row + row, full);
  copy_shared(b, tile, full, place.column, at, block);
  ring.advance();
}

// Of four threads, which have two neighbouring numbers each of four groups of eight: each gets a group whole.
__device__ __forceinline__ void exchange(u32 (&x)[4], int thread) {
  const bool odd = thread & 1, upper = thread & 2;
  const u32 a = __shfl_xor_sync(0xffffffffu, odd ? x[0] : x[1], 1), b = __shfl_xor_sync(0xffffffffu, odd ? x[2] : x[3], 1);
  (odd ? x[0] : x[1]) = a;
  (odd ? x[2] : x[3]) = b;
  const u32 c = __shfl_xor_sync(0xffffffffu, upper ? x[0] : x[2], 2), d = __shfl_xor_sync(0xffffffffu, upper ? x[1] : x[3], 2);
  (upper ? x[0] : x[2]) = c;
  (upper ? x[1] : x[3]) = d;
}

#if ADDS
// What is added to a warp's numbers of d in one of its pieces, as a thread has those: of rows `row` and `row` + 8.
struct Added {
  u32 x[OUT_COLUMNS / 8][2];

  __device__ __forceinline__ void load(const bf16* c, int ldc, int row, int column, int m, int n) {
#pragma unroll
    for (int i = 0; i < OUT_COLUMNS / 8; i++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const bool inside = row + 8 * half < m && column + 8 * i < n;
        x[i][half] = inside ? *(const u32*)(c + (i64)(row + 8 * half) * ldc + column + 8 * i) : 0;
      }
    }
  }
};
#endif

#if TURNS
// Cosines and sines of a thread's angles in one of its rows.
struct Angles {
  float cosines[HALF_HEAD / 8][2], sines[HALF_HEAD / 8][2];

  __device__ __forceinline__ void load(const float* of_cosines, const float* of_sines, int row, int rows, int lane) {
    const i64 begin = (i64)min(row, rows - 1) * HALF_HEAD + 2 * (lane & 3);
#pragma unroll
    for (int i = 0; i < HALF_HEAD / 8; i++) {
      const Words2 c = *(const Words2*)(of_cosines + begin + 8 * i), s = *(const Words2*)(of_sines + begin + 8 * i);
#pragma unroll
      for (int e = 0; e < 2; e++) {
        cosines[i][e] = __uint_as_float(c.word[e]);
        sines[i][e] = __uint_as_float(s.word[e]);
      }
    }
  }
};
#endif

extern "C" __global__ void __cluster_dims__(BLOCKS, 1, 1) __launch_bounds__(384, 1)
multiply_codes(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w,
               const float* scales, const bf16* c, bf16* d, int m, int n, int k, int ldc, int ldd, int by_row, int rank, float alpha, float beta,
               const float* cosines, const float* sines) {
  SPFT_DYNAMIC_SHARED(u8, shared);
  Ring ring((ptx_shared_address(shared) + 1023) & ~1023u);
  const int tall = (m + ROWS * BLOCKS - 1) / (ROWS * BLOCKS), wide = (n + COLUMNS - 1) / COLUMNS;
  const int block = blockIdx.x % BLOCKS, first = blockIdx.x / BLOCKS, step = gridDim.x / BLOCKS;

  if (threadIdx.x == 0) make_barriers(ring);
  ptx_cluster_meet();

  if (threadIdx.x < 128) {
    ptx_fewer_registers<COPY_REGISTERS>();
    if (threadIdx.x == 0) {
      for (int number = first; number < tall * wide; number += step) {
        const Place place = place_of(number, tall, wide, block);
        for (int at = 0; at < k; at += INNER) copy_stage(&a, &b, ring, place, at, block);
        for (int at = 0; at < 2 * rank; at += INNER) copy_stage(&x, &w, ring, place, at, block);
      }
    }
  } else {
    ptx_more_registers<MULTIPLY_REGISTERS>();
    const int thread = threadIdx.x - 128, warpgroup = thread / 128, warp = thread / 32, lane = thread & 31;
    float acc[COLUMNS / 8][4];
    auto scale_of = [&](int row) { return row < m ? alpha * scales[by_row ? row : 0] : 0.0f; };
    for (int number = first; number < tall * wide; number += step) {
      const Place place = place_of(number, tall, wide, block);
#if ADDS
      // What is added to is brought to the second cache meanwhile.
      for (int i = thread; i < ROWS * (COLUMNS / 64); i += 256) {
        const int row = place.row + i / (COLUMNS / 64), column = place.column + i % (COLUMNS / 64) * 64;
        if (row < m && column < n) ptx_prefetch(c + (i64)row * ldc + column);
      }
#endif
      // One product is under way while the next is started.
      int before = 0;
      for (int at = 0; at < k; at += INNER) {
        ptx_barrier_wait(ring.full + 8 * ring.stage, ring.parity);
        const u64 left = descriptor(ring.tile() + warpgroup * 64 * INNER), right = descriptor(ring.tile() + ROWS * INNER);
        keep(acc);
        ptx_wgmma_fence();
#pragma unroll
        for (int i = 0; i < INNER / 32; i++) ptx_wgmma_e4m3(acc, left + 2 * i, right + 2 * i, at > 0 || i > 0);
        ptx_wgmma_commit();
        if (at > 0) {
          ptx_wgmma_wait<1>();
          give(ring, before, thread);
        }
        before = ring.stage;
        ring.advance();
      }
      const int row = place.row + warp * 16 + lane / 4, column = place.column + 2 * (lane & 3);
#if ADDS
      Added added[2];
      added[0].load(c, ldc, row, column, m, n);
      added[1].load(c, ldc, row, column + OUT_COLUMNS, m, n);
#endif
#if TURNS
      Angles angles;
      angles.load(cosines, sines, row, m, lane);
#endif
      ptx_wgmma_wait<0>();
      keep(acc);
      give(ring, before, thread);
      // What is summed so far is scaled, so that the branch can be added to it; the whole is times beta at the end.
      const float factor[2] = {scale_of(row) / beta, scale_of(row + 8) / beta};
#pragma unroll
      for (int i = 0; i < COLUMNS / 8; i++) {
        acc[i][0] *= factor[0];
        acc[i][1] *= factor[0];
        acc[i][2] *= factor[1];
        acc[i][3] *= factor[1];
      }
      for (int at = 0; at < 2 * rank; at += INNER) {
        ptx_barrier_wait(ring.full + 8 * ring.stage, ring.parity);
        const u64 left = descriptor(ring.tile() + warpgroup * 64 * INNER), right = descriptor(ring.tile() + ROWS * INNER);
        keep(acc);
        ptx_wgmma_fence();
#pragma unroll
        for (int i = 0; i < STEPS; i++) ptx_wgmma(acc, left + 2 * i, right + 2 * i);
        ptx_wgmma_commit();
        ptx_wgmma_wait<0>();
        keep(acc);
        give(ring, ring.stage, thread);
        ring.advance();
      }
#if TURNS
#pragma unroll
      for (int half = 0; half < 2; half++) {
        // The registers are not there for both rows' at a time.
        if (half == 1) angles.load(cosines, sines, row + 8, m, lane);
#pragma unroll
        for (int piece = 0; piece < COLUMNS / OUT_COLUMNS; piece++) {
#else
#pragma unroll
      for (int piece = 0; piece < COLUMNS / OUT_COLUMNS; piece++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
#endif
#pragma unroll
          for (int group = 0; group < OUT_COLUMNS / 32; group++) {
            u32 x[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
              const float* sums = acc[piece * (OUT_COLUMNS / 8) + group * 4 + i] + 2 * half;
#if ADDS
              const u32 c = added[piece % 2].x[group * 4 + i][half];
              x[i] = pack_bf16(fmaf(sums[0], beta, low_float(c)), fmaf(sums[1], beta, high_float(c)));
#elif TURNS
              // Halves of a head are pieces next to one another.
              const float* across = acc[(piece ^ 1) * (OUT_COLUMNS / 8) + group * 4 + i] + 2 * half;
              const float *c = angles.cosines[group * 4 + i], *s = angles.sines[group * 4 + i], sign = piece & 1 ? 1.0f : -1.0f;
              x[i] = pack_bf16(beta * fmaf(sums[0], c[0], sign * across[0] * s[0]), beta * fmaf(sums[1], c[1], sign * across[1] * s[1]));
#else
              x[i] = pack_bf16(sums[0] * beta, sums[1] * beta);
#endif
            }
            exchange(x, lane & 3);
            const int at = place.column + piece * OUT_COLUMNS + group * 32 + 8 * (lane & 3);
            if (row + 8 * half < m && at < n) *(Words4*)(d + (i64)(row + 8 * half) * ldd + at) = Words4{{x[0], x[1], x[2], x[3]}};
          }
        }
#if ADDS
        if (piece + 2 < COLUMNS / OUT_COLUMNS) added[piece % 2].load(c, ldc, row, column + (piece + 2) * OUT_COLUMNS, m, n);
#endif
      }
    }
  }
  // No block ends while another may tell it something.
  ptx_cluster_meet();
}
