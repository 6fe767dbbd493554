// Matrices in codes of four bits as numbers of type TO: whole, or kept rows or columns alone. NUMBERS says what they are rounded to (four-bit.cuh). Rows are
// whole blocks, so eight neighbours have one scale.
#include "four-bit.cuh"

#define UNROLL 4

// y[n] of `octets` times eight numbers.
extern "C" __global__ void unpack_4bit(const u32* codes, const u8* extra, TO* y, i64 octets) {
  __shared__ float book[16];
  share_book(extra, book);
  const int shift = ((const FourBit*)extra)->block_shift - 3;
  const i64 step = (i64)gridDim.x * blockDim.x;
  for (i64 first = (i64)blockIdx.x * blockDim.x + threadIdx.x; first < octets; first += UNROLL * step) {
    u32 words[UNROLL];
    float scales[UNROLL];
#pragma unroll
    for (int k = 0; k < UNROLL; k++) {
      const i64 at = first + k * step;
      if (at >= octets) break;
      words[k] = codes[at];
      scales[k] = block_scale(extra, at >> shift);
    }
#pragma unroll
    for (int k = 0; k < UNROLL; k++) {
      const i64 at = first + k * step;
      if (at >= octets) break;
      float v[8];
      numbers_of<NUMBERS>(words[k], book, scales[k], v);
      store_octet(y + 8 * at, 8, true, v);
    }
  }
}

// y[r] = row indices[r], of `octets` times eight numbers. A block has a row.
extern "C" __global__ void unpack_4bit_rows(const u32* codes, const u8* extra, const int* indices, TO* y, int octets) {
  __shared__ float book[16];
  share_book(extra, book);
  const int shift = ((const FourBit*)extra)->block_shift - 3;
  const i64 from = (i64)indices[blockIdx.x] * octets, to = (i64)blockIdx.x * octets;
  for (int first = threadIdx.x; first < octets; first += 2 * blockDim.x) {
    const int second = first + blockDim.x;
    const bool both = second < octets;
    const u32 words[2] = {codes[from + first], both ? codes[from + second] : 0};
    const float scales[2] = {block_scale(extra, (from + first) >> shift), both ? block_scale(extra, (from + second) >> shift) : 0.0f};
    float v[8];
    numbers_of<NUMBERS>(words[0], book, scales[0], v);
    store_octet(y + 8 * (to + first), 8, true, v);
    if (!both) continue;
    numbers_of<NUMBERS>(words[1], book, scales[1], v);
    store_octet(y + 8 * (to + second), 8, true, v);
  }
}

struct alignas(2 * sizeof(TO)) Pair {
  TO first, second;
};

// y[row, j] = W[row, indices[j]]. A thread has two neighbouring kept columns of UNROLL rows at a time.
extern "C" __global__ void unpack_4bit_columns(const u8* codes, const u8* extra, const int* indices, TO* y, int rows, int columns, int kept, int paired) {
  __shared__ float book[16];
  share_book(extra, book);
  const int shift = ((const FourBit*)extra)->block_shift;
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
        scales[r][k] = block_scale(extra, at >> shift);
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
