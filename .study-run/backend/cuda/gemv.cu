// Products of few rows of activations with frozen matrices, y = x·Wᵀ: a step of generation, which is as fast as the matrices are read.
//
// A block has some neighbouring rows of W and all of each: its threads hold their columns of x in registers, all rows of x, and go through the rows of W
// together, ROWS under way at a time. Sums of a row meet in shared memory at the end, in an order that is always the same. Up to three matrices take the
// same x (q, k and v) and lie one below the other as far as rows are counted.
//
// X is the type of x and y, BIAS that of biases, FORM that of the matrices (gemv-weights.cuh), BATCH how many rows x has. A thread has LOADS units of a row of
// W. With NORM, x is RMS-normed first, rounded as the norm's own kernel does, NORM_W being the type of the norm's weight. With PAIRED there are two
// matrices, gate and up, and y is silu(x·gateᵀ) · x·upᵀ. EXACT says that a block's threads have a row to its end and nothing beyond it. `residual` [BATCH, rows of the first matrix] is added unless it is null.
#include "gemv-weights.cuh"

#define OCTETS (UNIT / 8)
// A power of two, at least ROWS · BATCH.
#define SUMS (ROWS * (BATCH == 3 ? 4 : BATCH))

struct Matrix {
  const u8* codes;
  const u8* extra;
  const BIAS* bias;
  X* y;
  int rows;
  int number;
};

// Of SUMS sums over the warp, each thread gets one: thread l that of v[l / (32 / SUMS)].
__device__ __forceinline__ float warp_sums(float (&v)[SUMS]) {
  const int lane = threadIdx.x & 31;
#pragma unroll
  for (int half = SUMS / 2, offset = 16; half > 0; half /= 2, offset /= 2) {
    const bool upper = (lane & offset) != 0;
#pragma unroll
    for (int i = 0; i < SUMS / 2; i++) {
      if (i >= half) continue;
      const float given = upper ? v[i] : v[i + half], kept = upper ? v[i + half] : v[i];
      v[i] = kept + __shfl_xor_sync(0xffffffffu, given, offset);
    }
  }
  float sum = v[0];
#pragma unroll
  for (int offset = 16 / SUMS; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1024 / THREADS)
    gemv(const X* x, const NORM_W* norm, float eps, const X* residual,  //
         const u8* codes0, const u8* extra0, const BIAS* bias0, X* y0, int rows0,  //
         const u8* codes1, const u8* extra1, const BIAS* bias1, X* y1, int rows1,  //
         const u8* codes2, const u8* extra2, const BIAS* bias2, X* y2, int rows2, int columns, int rows_a_block) {
  ptx_let_next_begin();
  SPFT_DYNAMIC_SHARED(float, partial);  // [rows of the block][BATCH][warps]
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, warps = THREADS / 32;
  const int rows = rows0 + rows1 + rows2;
  const int first = blockIdx.x * rows_a_block, last = min(rows, first + rows_a_block);
  const Matrix matrices[3] = {{codes0, extra0, bias0, y0, rows0, 0}, {codes1, extra1, bias1, y1, rows1, 1}, {codes2, extra2, bias2, y2, rows2, 2}};
  // The matrix of a row, and the row in it.
  auto place = [&](int row, int& within) -> Matrix {
#if PAIRED
    within = row >> 1;
    return row & 1 ? matrices[1] : matrices[0];
#else
    within = row < rows0 ? row : row < rows0 + rows1 ? row - rows0 : row - rows0 - rows1;
    return row < rows0 ? matrices[0] : row < rows0 + rows1 ? matrices[1] : matrices[2];
#endif
  };
  auto column_of = [&](int load) { return (load * THREADS + (int)threadIdx.x) * UNIT; };

  begin_form(extra0, extra1, extra2);
  Unit units[ROWS][LOADS];
  auto fetch = [&](int from) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      // Beyond the end the last row once more.
      int within;
      const Matrix of = place(min(from + r, last - 1), within);
#pragma unroll
      for (int l = 0; l < LOADS; l++) {
        // Beyond the row's end its begin, for which x is zero.
        const int column = column_of(l);
        units[r][l].load(of.codes, of.extra, within, EXACT || column < columns ? column : 0, columns, of.number);
      }
    }
  };
  // The first rows of W and the norm's weights are there whatever the kernel before does.
  fetch(first);
#if NORM
  Octet<NORM_W> weight[LOADS][OCTETS];
#pragma unroll
  for (int l = 0; l < LOADS; l++) {
#pragma unroll
    for (int o = 0; o < OCTETS; o++) {
      const int column = column_of(l) + 8 * o;
      weight[l][o].load(norm + column, EXACT ? 8 : columns - column, true);
    }
  }
#endif
  ptx_wait_for_previous();

  Octet<X> xs[BATCH][LOADS][OCTETS];
#pragma unroll
  for (int b = 0; b < BATCH; b++) {
#pragma unroll
    for (int l = 0; l < LOADS; l++) {
#pragma unroll
      for (int o = 0; o < OCTETS; o++) {
        const int column = column_of(l) + 8 * o;
        xs[b][l][o].load(x + (i64)b * columns + column, EXACT ? 8 : columns - column, true);
      }
    }
  }
#if NORM
#pragma unroll
  for (int b = 0; b < BATCH; b++) {
    float squares = 0.0f;
#pragma unroll
    for (int l = 0; l < LOADS; l++) {
#pragma unroll
      for (int o = 0; o < OCTETS; o++) {
#pragma unroll
        for (int i = 0; i < 8; i++) squares += xs[b][l][o][i] * xs[b][l][o][i];
      }
    }
    const float scale = rsqrtf(block_sum(squares) / columns + eps);
#pragma unroll
    for (int l = 0; l < LOADS; l++) {
#pragma unroll
      for (int o = 0; o < OCTETS; o++) {
        float v[8];
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = xs[b][l][o][i] * scale * weight[l][o][i];
        xs[b][l][o].hold(v);
      }
    }
  }
#endif

#ifdef X_SCALE
#pragma unroll
  for (int b = 0; b < BATCH; b++) {
#pragma unroll
    for (int l = 0; l < LOADS; l++) {
#pragma unroll
      for (int o = 0; o < OCTETS; o++) {
        float v[8];
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = xs[b][l][o][i] * X_SCALE;
        xs[b][l][o].hold(v);
      }
    }
  }
#endif

  for (int row = first; row < last; row += ROWS) {
    if (row != first) fetch(row);
    float sums[SUMS];
#pragma unroll
    for (int i = 0; i < SUMS; i++) sums[i] = 0.0f;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
      for (int l = 0; l < LOADS; l++) {
#ifdef UNIT_SCALES
        float parts[BATCH];
#pragma unroll
        for (int b = 0; b < BATCH; b++) parts[b] = 0.0f;
#else
        float* const parts = sums + r * BATCH;
#endif
#pragma unroll
        for (int o = 0; o < OCTETS; o++) {
          float w[8];
          units[r][l].octet(o, w);
#pragma unroll
          for (int b = 0; b < BATCH; b++) {
#pragma unroll
            for (int i = 0; i < 8; i++) parts[b] = fmaf(w[i], xs[b][l][o][i], parts[b]);
          }
        }
#ifdef UNIT_SCALES
        int within;
        const float scale = units[r][l].scale(place(min(row + r, last - 1), within).extra);
#pragma unroll
        for (int b = 0; b < BATCH; b++) sums[r * BATCH + b] = fmaf(scale, parts[b], sums[r * BATCH + b]);
#endif
      }
    }
    const float sum = warp_sums(sums);
    const int which = lane / (32 / SUMS);
    if (lane % (32 / SUMS) == 0 && which < ROWS * BATCH && row + which / BATCH < last)
      partial[((i64)(row - first) * BATCH + which) * warps + warp] = sum;
  }
  __syncthreads();

  const int count = (last - first) * BATCH;
  // The sum of a row of W and a row of x.
  auto total = [&](int row, int b) {
    float sum = 0.0f;
    for (int w = 0; w < warps; w++) sum += partial[(row * BATCH + b) * warps + w];
    int within;
    const Matrix of = place(first + row, within);
    sum *= scale_of(of.extra);
    return of.bias ? sum + to_float(of.bias[within]) : sum;
  };
#if PAIRED
  for (int i = threadIdx.x; i < count / 2; i += THREADS) {
    const int pair = i / BATCH, b = i % BATCH;
    // Rounded as the products alone would be.
    const float gate = to_float(from_float<X>(total(2 * pair, b))), up = to_float(from_float<X>(total(2 * pair + 1, b)));
    y0[(i64)b * rows0 + first / 2 + pair] = from_float<X>(gate / (1.0f + __expf(-gate)) * up);
  }
#else
  for (int i = threadIdx.x; i < count; i += THREADS) {
    const int row = i / BATCH, b = i % BATCH;
    int within;
    const Matrix of = place(first + row, within);
    float sum = total(row, b);
    if (residual) sum += to_float(residual[(i64)b * rows0 + within]);
    of.y[(i64)b * of.rows + within] = from_float<X>(sum);
  }
#endif
}
