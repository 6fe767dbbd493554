// Matrices in codes of four bits as numbers of type TO: whole, or kept rows or columns alone. NUMBERS says what they are rounded to (four-bit.cuh). Rows are
// whole blocks, so eight neighbours have one scale: a thread takes so many at a time, and in bf16 its neighbour writes the 16 bytes behind its own (sixteen a
// thread, in two such writes with a gap between neighbours, took 1.4 times as long on an H200).
#include "four-bit.cuh"

#define UNROLL 4

// y[n] of `units` times eight numbers.
extern "C" __global__ void unpack_4bit(const u32* __restrict__ codes, const u8* __restrict__ extra, TO* __restrict__ y, i64 units) {
  __shared__ float book[16];
  share_book(extra, book);
  const Scales scales(extra);
  const int shift = scales.block_shift - 3;
  const i64 step = (i64)gridDim.x * blockDim.x;
  for (i64 first = (i64)blockIdx.x * blockDim.x + threadIdx.x; first < units; first += UNROLL * step) {
    u32 words[UNROLL];
    float scale[UNROLL];
#pragma unroll
    for (int k = 0; k < UNROLL; k++) {
      const i64 at = first + k * step;
      if (at >= units) break;
      words[k] = codes[at];
      scale[k] = scales.of_block(at >> shift);
    }
#pragma unroll
    for (int k = 0; k < UNROLL; k++) {
      const i64 at = first + k * step;
      if (at >= units) break;
      float v[8];
      numbers_of<NUMBERS>(words[k], book, scale[k], v);
      store_octet(y + 8 * at, 8, true, v);
    }
  }
}

// y[r] = row indices[r], of `units` times eight numbers; zeros where indices[r] is below 0. A block has a row.
extern "C" __global__ void unpack_4bit_rows(const u32* __restrict__ codes, const u8* __restrict__ extra, const int* __restrict__ indices,
                                            TO* __restrict__ y, int units) {
  __shared__ float book[16];
  share_book(extra, book);
  const Scales scales(extra);
  const int shift = scales.block_shift - 3;
  const int row = indices[blockIdx.x];
  const i64 from = (i64)row * units, to = (i64)blockIdx.x * units;
  for (int first = threadIdx.x; first < units; first += 2 * blockDim.x) {
    u32 words[2];
    float scale[2];
#pragma unroll
    for (int k = 0; k < 2; k++) {
      const int at = first + k * blockDim.x;
      if (row < 0 || at >= units) break;
      words[k] = codes[from + at];
      scale[k] = scales.of_block((from + at) >> shift);
    }
#pragma unroll
    for (int k = 0; k < 2; k++) {
      const int at = first + k * blockDim.x;
      if (at >= units) break;
      float v[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
      if (row >= 0) numbers_of<NUMBERS>(words[k], book, scale[k], v);
      store_octet(y + 8 * (to + at), 8, true, v);
    }
  }
}

struct alignas(2 * sizeof(TO)) Pair {
  TO first, second;
};

// y[row, j] = W[row, indices[j]]. A thread has two neighbouring kept columns of UNROLL rows at a time.
extern "C" __global__ void unpack_4bit_columns(const u8* codes, const u8* extra, const int* indices, TO* y, int rows, int columns, int kept, int paired) {
  __shared__ float book[16];
  share_book(extra, book);
  const Scales of(extra);
  const int shift = of.block_shift;
  const int j = 2 * (blockIdx.x * blockDim.x + threadIdx.x);
  if (j >= kept) return;
  const bool both = j + 1 < kept;
  const int column[2] = {indices[j], both ? indices[j + 1] : indices[j]};
  const i64 step = (i64)UNROLL * gridDim.y * blockDim.y;
  for (i64 row = (i64)UNROLL * (blockIdx.y * blockDim.y + threadIdx.y); row < rows; row += step) {
    u32 bytes[UNROLL][2];
    float scales[UNROLL][2];
#pragma unroll
    for (int r = 0; r < UNROLL; r++) {
      if (row + r >= rows) break;
#pragma unroll
      for (int k = 0; k < 2; k++) {
        const i64 at = (row + r) * columns + column[k];
        bytes[r][k] = codes[at >> 1];
        scales[r][k] = of.of_block(at >> shift);
      }
    }
#pragma unroll
    for (int r = 0; r < UNROLL; r++) {
      if (row + r >= rows) break;
      float v[2];
#pragma unroll
      for (int k = 0; k < 2; k++) v[k] = number_of<NUMBERS>(book[column[k] & 1 ? bytes[r][k] & 15u : bytes[r][k] >> 4], scales[r][k]);
      TO* to = y + (row + r) * kept + j;
      if (paired) *(Pair*)to = Pair{from_float<TO>(v[0]), from_float<TO>(v[1])};
      else {
        to[0] = from_float<TO>(v[0]);
        if (both) to[1] = from_float<TO>(v[1]);
      }
    }
  }
}
