// Rows of up to three matrices side by side, or of kept columns of them, as E4M3 with one scale for the whole row. A block has a row and holds it in
// registers, as X has it, each thread OCTETS octets of it, until its greatest is known. Counts of columns are multiples of 16; rows, strides and addresses
// allow 16-byte accesses. X is the element type.
#include "e4m3.cuh"

// Eight numbers of a row, from kept column `at` on; without indices all columns are kept.
__device__ __forceinline__ void load_part(Octet<X>& octet, const X* x, const int* indices, int stride, int at) {
  x += (i64)blockIdx.x * stride;
  if (!indices) {
    octet.load(x + at, 8, true);
    return;
  }
  float v[8];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const Words4 places = *(const Words4*)(indices + at + 4 * half);
#pragma unroll
    for (int i = 0; i < 4; i++) v[4 * half + i] = to_float(x[places.word[i]]);
  }
  octet.hold(v);
}

extern "C" __global__ void quantise_parts(const X* x0, const X* x1, const X* x2, const int* indices0, const int* indices1, const int* indices2,
                                          u8* codes, float* scales, int columns0, int columns1, int columns2, int stride0, int stride1, int stride2) {
  __shared__ u32 of_warp[32];
  const int end0 = columns0, end1 = end0 + columns1, end2 = end1 + columns2;
  Octet<X> row[OCTETS];
  u32 most = 0;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    if (at < end0) load_part(row[o], x0, indices0, stride0, at);
    else if (at < end1) load_part(row[o], x1, indices1, stride1, at - end0);
    else if (at < end2) load_part(row[o], x2, indices2, stride2, at - end1);
    else {
      const float zeros[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
      row[o].hold(zeros);
    }
  }
#pragma unroll
  for (int o = 0; o < OCTETS; o++) most = most_of(row[o], most);
  const float scale = scale_for(block_most(most, of_warp)), inverse = inverse_of(scale);
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  e4m3* to = (e4m3*)codes + (i64)blockIdx.x * end2;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    if (at >= end2) break;
    float v[8];
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = row[o][i] * inverse;
    store_vector<8>(to + at, v);
  }
}
