// Matrices in codes of four bits as numbers of type TO: whole, or kept rows or columns alone. NUMBERS says what they are rounded to (four-bit.cuh). Rows are
// whole blocks, and blocks of 32 numbers or more, so sixteen neighbours have one scale: a thread takes so many at a time.
#include "four-bit.cuh"

#define UNROLL 4

#define NUMBERS_A_THREAD 16

// Those of one thread.
__device__ __forceinline__ void unpack(const Words2& codes, const float* book, float scale, TO* y) {
#pragma unroll
  for (int i = 0; i < 2; i++) {
    float v[8];
    numbers_of<NUMBERS>(codes.word[i], book, scale, v);
    store_octet(y + 8 * i, 8, true, v);
  }
}

// y[n] of `units` times sixteen numbers.
extern "C" __global__ void unpack_4bit(const Words2* __restrict__ codes, const u8* __restrict__ extra, TO* __restrict__ y, i64 units) {
  __shared__ float book[16];
  share_book(extra, book);
  const Scales scales(extra);
  const int shift = scales.block_shift - 4;
  const i64 step = (i64)gridDim.x * blockDim.x;
  for (i64 first = (i64)blockIdx.x * blockDim.x + threadIdx.x; first < units; first += UNROLL * step) {
    Words2 words[UNROLL];
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
      unpack(words[k], book, scale[k], y + NUMBERS_A_THREAD * at);
    }
  }
}

// y[r] = row indices[r], of `units` times sixteen numbers; zeros where indices[r] is below 0. A block has a row.
extern "C" __global__ void unpack_4bit_rows(const Words2* __restrict__ codes, const u8* __restrict__ extra, const int* __restrict__ indices,
                                            TO* __restrict__ y, int units) {
  __shared__ float book[16];
  share_book(extra, book);
  const Scales scales(extra);
  const int shift = scales.block_shift - 4;
  const int row = indices[blockIdx.x];
  const i64 from = (i64)row * units, to = (i64)blockIdx.x * units;
  for (int at = threadIdx.x; at < units; at += blockDim.x) {
    TO* const place = y + NUMBERS_A_THREAD * (to + at);
    if (row >= 0) unpack(codes[from + at], book, scales.of_block((from + at) >> shift), place);
    else {
      const float zeros[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
      store_octet(place, 8, true, zeros);
      store_octet(place + 8, 8, true, zeros);
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
