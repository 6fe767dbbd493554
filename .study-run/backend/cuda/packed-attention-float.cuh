// Attention in float arithmetic, for float tensors and for head sizes that the tensor-core kernels lack: tiles of TILE rows as floats in shared
// memory, four threads a row.
#pragma once

#define TILE (HEAD_DIM <= 128 ? 32 : 16)
#define THREADS (4 * TILE)
// Columns that a thread owns: 4·part + 16·i + {0..3}.
#define COLUMN_GROUPS ((HEAD_DIM + 15) / 16)
#define COLUMNS (4 * COLUMN_GROUPS)
// Floats from row to row: columns up to a multiple of 16 are zeros; four more, so that neighbouring rows lie in different banks.
#define PITCH (16 * COLUMN_GROUPS + 4)

struct alignas(16) Float4 {
  float x[4];
};

__device__ __forceinline__ void load_row(float* to, const Element* from) {
  // A quarter of a row a thread.
  for (int c = threadIdx.x % 4; c < 16 * COLUMN_GROUPS; c += 4) to[c] = from != nullptr && c < HEAD_DIM ? to_float(from[c]) : 0.0f;
}
__device__ __forceinline__ void load_queries(float* tile, const Element* x, int stride, const Pair& pair, int first) {
  const int m = threadIdx.x / 4;
  const int row = row_or_none(pair, (first + m) / GROUP);
  load_row(tile + m * PITCH, row < 0 ? nullptr : x + query_offset(pair, row, first + m, stride));
}
__device__ __forceinline__ void load_keys(float* tile, const Element* x, int stride, const Pair& pair, int first) {
  const int n = threadIdx.x / 4;
  const int row = row_or_none(pair, first + n);
  load_row(tile + n * PITCH, row < 0 ? nullptr : x + key_offset(pair, row, stride));
}

// dots[i] = row m of a · row part + 4i of b.
__device__ __forceinline__ void dot_rows(float (&dots)[TILE / 4], const float* a, int m, const float* b, int part) {
#pragma unroll
  for (int i = 0; i < TILE / 4; i++) dots[i] = 0.0f;
#pragma unroll 2
  for (int c = 0; c < 16 * COLUMN_GROUPS; c += 4) {
    const Float4 x = *(const Float4*)(a + m * PITCH + c);
#pragma unroll
    for (int i = 0; i < TILE / 4; i++) {
      const Float4 y = *(const Float4*)(b + (part + 4 * i) * PITCH + c);
#pragma unroll
      for (int e = 0; e < 4; e++) dots[i] += x.x[e] * y.x[e];
    }
  }
}

// acc += Σ over rows n of weights[m][n] · row n of b, in this thread's columns.
__device__ __forceinline__ void add_weighted_rows(float (&acc)[COLUMNS], const float* weights, int m, const float* b, int part) {
  for (int n = 0; n < TILE; n++) {
    const float w = weights[m * (TILE + 1) + n];
#pragma unroll
    for (int g = 0; g < COLUMN_GROUPS; g++) {
      const Float4 y = *(const Float4*)(b + n * PITCH + 16 * g + 4 * part);
#pragma unroll
      for (int e = 0; e < 4; e++) acc[4 * g + e] += w * y.x[e];
    }
  }
}

__device__ __forceinline__ void store_columns(Element* to, const float (&acc)[COLUMNS], int part, float scale) {
#pragma unroll
  for (int g = 0; g < COLUMN_GROUPS; g++) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int c = 16 * g + 4 * part + e;
      if (c < HEAD_DIM) to[c] = from_float<Element>(acc[4 * g + e] * scale);
    }
  }
}
