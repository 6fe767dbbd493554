// Kept columns of matrices [rows, n]: next to each other, transposed, back in their places, or masked. ELEMENT is a type of as many bytes as an
// element has.
#include "kept-columns.cuh"

#define ROWS 8
#define WIDTH (16 / (int)sizeof(ELEMENT))

struct alignas(2 * sizeof(ELEMENT)) Pair {
  ELEMENT first, second;
};
// 16 bytes, for an access of full width.
struct alignas(16) Octet {
  ELEMENT element[WIDTH];
};

// y[row, j] = x[row, indices[j]], rows of y `stride` elements apart. A thread has two neighbouring kept columns of eight rows at a time.
extern "C" __global__ void gather_columns(const ELEMENT* x, const int* indices, ELEMENT* y, int rows, int n, int kept, int stride, int paired) {
  const int j = 2 * (blockIdx.x * blockDim.x + threadIdx.x);
  if (j >= kept) return;
  const bool both = j + 1 < kept;
  const int first = indices[j], second = both ? indices[j + 1] : first;
  const i64 step = (i64)ROWS * gridDim.y * blockDim.y;
  for (i64 row = (i64)ROWS * (blockIdx.y * blockDim.y + threadIdx.y); row < rows; row += step) {
    const ELEMENT* from = x + row * n;
    ELEMENT a[ROWS], b[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      if (row + r < rows) {
        a[r] = from[(i64)r * n + first];
        b[r] = from[(i64)r * n + second];
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      if (row + r >= rows) break;
      ELEMENT* to = y + (row + r) * stride + j;
      if (paired) *(Pair*)to = Pair{a[r], b[r]};
      else {
        to[0] = a[r];
        if (both) to[1] = b[r];
      }
    }
  }
}

// y[j, row] = x[row, indices[j]], or x[row, j] without indices: tiles of 32 by 32 by way of shared memory, in blocks of 32 by 8 threads.
extern "C" __global__ void transpose(const ELEMENT* x, const int* indices, ELEMENT* y, int rows, int n, int kept) {
  __shared__ ELEMENT tile[32][33];
  const int j = blockIdx.x * 32 + threadIdx.x;
  const int column = j >= kept ? 0 : indices ? indices[j] : j;
  for (int r = threadIdx.y; r < 32; r += 8) {
    const i64 row = (i64)blockIdx.y * 32 + r;
    if (j < kept && row < rows) tile[r][threadIdx.x] = x[row * n + column];
  }
  __syncthreads();
  const i64 row = (i64)blockIdx.y * 32 + threadIdx.x;
  for (int c = threadIdx.y; c < 32; c += 8) {
    const int to = blockIdx.x * 32 + c;
    if (to < kept && row < rows) y[(i64)to * rows + row] = tile[threadIdx.x][c];
  }
}

// y[row, indices[j]] = x[row, j], zero in the other columns; rows of x are `stride` elements apart. A thread has WIDTH neighbouring columns of `count`
// rows.
extern "C" __global__ void scatter_columns(const ELEMENT* __restrict__ x, const int* indices, ELEMENT* __restrict__ y, int rows, int kept,
                                           int stride, int total, int count, int aligned) {
  const int column = WIDTH * (blockIdx.x * blockDim.x + threadIdx.x);
  if (column >= total) return;
  int from[WIDTH];
  places_of(indices, kept, column, from);
  const i64 begin = (i64)blockIdx.y * count, end = min((i64)rows, begin + count);
#pragma unroll 2
  for (i64 row = begin; row < end; row++) {
    Octet octet;
#pragma unroll
    for (int i = 0; i < WIDTH; i++) octet.element[i] = from[i] < 0 ? (ELEMENT)0 : x[row * stride + from[i]];
    ELEMENT* to = y + row * total + column;
    if (aligned) *(Octet*)to = octet;
    else {
#pragma unroll
      for (int i = 0; i < WIDTH; i++) {
        if (column + i < total) to[i] = octet.element[i];
      }
    }
  }
}

// y = x, but zero in the columns that are not among the indices, from row `from_row` on.
extern "C" __global__ void mask_columns(const ELEMENT* x, const int* indices, ELEMENT* y, int rows, int kept, int total, int from_row, int count,
                                        int aligned) {
  const int column = WIDTH * (blockIdx.x * blockDim.x + threadIdx.x);
  if (column >= total) return;
  int place[WIDTH];
  places_of(indices, kept, column, place);
  const i64 begin = (i64)blockIdx.y * count, end = min((i64)rows, begin + count);
#pragma unroll 4
  for (i64 row = begin; row < end; row++) {
    const ELEMENT* from = x + row * total + column;
    ELEMENT* to = y + row * total + column;
    if (aligned) {
      Octet octet = *(const Octet*)from;
#pragma unroll
      for (int i = 0; i < WIDTH; i++) {
        if (row >= from_row && place[i] < 0) octet.element[i] = 0;
      }
      *(Octet*)to = octet;
    } else {
#pragma unroll
      for (int i = 0; i < WIDTH; i++) {
        if (column + i < total) to[i] = row < from_row || place[i] >= 0 ? from[i] : (ELEMENT)0;
      }
    }
  }
}
