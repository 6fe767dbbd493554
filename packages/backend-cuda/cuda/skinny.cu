// Products of few rows of codes (up to 32) with frozen matrices in E4M3 on tensor cores: y = x·Wᵀ, and y = x·W for gradients. What takes time is reading W, so it
// goes from memory to the registers that multiply it, once and as it lies; a product of cuBLASLt would want the transposed codes for the second, made first.
// For `skinny` and `skinny_transposed` alike
//
//   A tile of W is the left operand of 16 rows, x the right one of 8 columns, NT of these. The order in which the inner dimension is summed is free, so each
//   thread takes for its place in a fragment what lies together in memory, of W and of x alike.
//
//   A block has some rows of y's transpose and a stretch of the inner dimension (blockIdx.y; `units` of it), its warps take turns in that. What warps have is
//   added up in shared memory in a fixed order, and what stretches have by `skinny_totals`.
//
// y [rows, m] = alpha · scales[row] · sum + beta · c, where `scales` has one number for all unless `by_row`, and c is null for a beta of 0; ldx, ldw and ldy are numbers
// from row to row. x and W are read 16 codes at a time (8 in `skinny_transposed`), and beyond `rows` the last row once more.
#include "spft.cuh"

#define WARPS 8
#define THREADS (32 * WARPS)

struct Result {
  Y* y;
  const Y* c;
  float* parts;
  const float* scales;
  float alpha;
  int by_row, rows, m, ldy;
};

__device__ __forceinline__ void write(const Result& to, int row, int column, float sum) {
  const float scale = to.alpha * to.scales[to.by_row ? row : 0];
  const i64 at = (i64)row * to.ldy + column;
  sum *= scale;
  to.y[at] = from_float<Y>(to.c ? sum + to_float(to.c[at]) : sum);
}

// Adds up what the warps have of [COLUMNS of y, 8 · NT rows] and writes it. `mine` calls `each(column, row, value)` for what this thread has.
template <int COLUMNS, typename Visit> __device__ __forceinline__ void finish(const Result& to, int first, Visit visit) {
  __shared__ float sums[WARPS / 2][8 * NT][COLUMNS + 1];
  const int warp = threadIdx.x >> 5;
  if (warp >= WARPS / 2) visit([&](int column, int row, float& value) { sums[warp - WARPS / 2][row][column] = value; });
  __syncthreads();
  if (warp < WARPS / 2) {
    visit([&](int column, int row, float& value) {
      float* const place = &sums[warp][row][column];
      *place = value + *place;
    });
  }
  __syncthreads();
  for (int i = threadIdx.x; i < COLUMNS * to.rows; i += THREADS) {
    const int row = i / COLUMNS, column = i % COLUMNS;
    if (first + column >= to.m) continue;
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < WARPS / 2; w++) sum += sums[w][row][column];
    if (to.parts) to.parts[((i64)blockIdx.y * to.rows + row) * to.m + first + column] = sum;
    else write(to, row, first + column, sum);
  }
}

// W [m, inner]. A block has 16 · MT rows of W; a unit is 64 bytes of each, of which a thread has 16.
#define MT 2
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    skinny(const u8* x, const u8* weight, Y* y, const Y* c, float* parts, const float* scales, float alpha, int by_row, int rows, int m, int inner, int ldx,
           int ldw, int ldy, int units) {
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
  const int first = blockIdx.x * (16 * MT);
  const int all = inner / 64, begin = blockIdx.y * units, end = min(all, begin + units);
  const u8 *w[MT][2], *xs[NT];
#pragma unroll
  for (int i = 0; i < 2 * MT; i++) w[i / 2][i % 2] = weight + (i64)min(first + 8 * i + g, m - 1) * ldw + 16 * q;
#pragma unroll
  for (int n = 0; n < NT; n++) xs[n] = x + (i64)min(8 * n + g, rows - 1) * ldx + 16 * q;
  float acc[MT][NT][4] = {};
  for (int unit = begin + 2 * warp; unit < end; unit += 2 * WARPS) {
    u32 a[2][MT][2][4];
    Words4 b[2][NT];
#pragma unroll
    for (int u = 0; u < 2; u++) {
      const i64 at = 64 * (i64)min(unit + u, end - 1);
#pragma unroll
      for (int i = 0; i < 2 * MT; i++) ptx_load_once(w[i / 2][i % 2] + at, a[u][i / 2][i % 2]);
    }
#pragma unroll
    for (int u = 0; u < 2; u++) {
      const bool there = unit + u < end;
      const i64 at = 64 * (i64)min(unit + u, end - 1);
#pragma unroll
      for (int n = 0; n < NT; n++) b[u][n] = there ? *(const Words4*)(xs[n] + at) : Words4{};
    }
#pragma unroll
    for (int u = 0; u < 2; u++) {
#pragma unroll
      for (int step = 0; step < 2; step++) {
#pragma unroll
        for (int t = 0; t < MT; t++) {
          const u32 tile[4] = {a[u][t][0][2 * step], a[u][t][1][2 * step], a[u][t][0][2 * step + 1], a[u][t][1][2 * step + 1]};
#pragma unroll
          for (int n = 0; n < NT; n++) ptx_mma_16832_e4m3(acc[t][n], tile, b[u][n].word[2 * step], b[u][n].word[2 * step + 1]);
        }
      }
    }
  }
  const Result to = {y, c, parts, scales, alpha, by_row, rows, m, ldy};
  finish<16 * MT>(to, first, [&](auto each) {
#pragma unroll
    for (int t = 0; t < MT; t++) {
#pragma unroll
      for (int n = 0; n < NT; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) each(16 * t + g + 8 * (e / 2), 8 * n + 2 * q + e % 2, acc[t][n][e]);
      }
    }
  });
}

// W [inner, m]. A block has 64 columns of W, of which a thread has eight neighbours, in rows that follow each other: UNIT of them a warp at a time. Columns of
// even number are a fragment's upper half, the others its lower one.
#define UNIT 32
#define OWN (UNIT / 4)
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    skinny_transposed(const u8* x, const u8* weight, Y* y, const Y* c, float* parts, const float* scales, float alpha, int by_row, int rows, int m, int inner,
                      int ldx, int ldw, int ldy, int units) {
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
  const int first = blockIdx.x * 64;
  const int all = inner / UNIT, begin = blockIdx.y * units, end = min(all, begin + units);
  const i64 stride = ldw;
  // Beyond the last column the first ones once more.
  const u8* const w = weight + (i64)(OWN * q) * stride + (first + 8 * g < m ? first + 8 * g : 0);
  const u8* xs[NT];
#pragma unroll
  for (int n = 0; n < NT; n++) xs[n] = x + (i64)min(8 * n + g, rows - 1) * ldx + OWN * q;
  float acc[4][NT][4] = {};
  for (int unit = begin + 2 * warp; unit < end; unit += 2 * WARPS) {
    u32 own[2][OWN][2];
    Words2 b[2][NT];
#pragma unroll
    for (int u = 0; u < 2; u++) {
      const u8* const from = w + (i64)min(unit + u, end - 1) * UNIT * stride;
#pragma unroll
      for (int i = 0; i < OWN; i++) ptx_load_once(from + i * stride, own[u][i]);
    }
#pragma unroll
    for (int u = 0; u < 2; u++) {
      const bool there = unit + u < end;
      const i64 at = (i64)min(unit + u, end - 1) * UNIT;
#pragma unroll
      for (int n = 0; n < NT; n++) b[u][n] = there ? *(const Words2*)(xs[n] + at) : Words2{};
    }
#pragma unroll
    for (int u = 0; u < 2; u++) {
#pragma unroll
      for (int t = 0; t < 4; t++) {
        // Columns 8g + 2t and the next.
        u32 tile[4];
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int word = t / 2, select = t % 2 ? 0x7362 : 0x5140;
          const u32 low = __byte_perm(own[u][4 * half][word], own[u][4 * half + 1][word], select);
          const u32 high = __byte_perm(own[u][4 * half + 2][word], own[u][4 * half + 3][word], select);
          tile[2 * half] = __byte_perm(low, high, 0x5410);
          tile[2 * half + 1] = __byte_perm(low, high, 0x7632);
        }
#pragma unroll
        for (int n = 0; n < NT; n++) ptx_mma_16832_e4m3(acc[t][n], tile, b[u][n].word[0], b[u][n].word[1]);
      }
    }
  }
  const Result to = {y, c, parts, scales, alpha, by_row, rows, m, ldy};
  finish<64>(to, first, [&](auto each) {
#pragma unroll
    for (int t = 0; t < 4; t++) {
#pragma unroll
      for (int n = 0; n < NT; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) each(8 * g + 2 * t + e / 2, 8 * n + 2 * q + e % 2, acc[t][n][e]);
      }
    }
  });
}

// y of what `stretches` of the inner dimension have given.
extern "C" __global__ void skinny_totals(Y* y, const Y* c, const float* parts, const float* scales, float alpha, int by_row, int rows, int m, int ldy,
                                         int stretches) {
  const Result to = {y, c, nullptr, scales, alpha, by_row, rows, m, ldy};
  const i64 all = (i64)rows * m;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < all; i += (i64)gridDim.x * blockDim.x) {
    float sum = 0.0f;
#pragma unroll 4
    for (int n = 0; n < stretches; n++) sum += parts[n * all + i];
    write(to, (int)(i / m), (int)(i % m), sum);
  }
}
