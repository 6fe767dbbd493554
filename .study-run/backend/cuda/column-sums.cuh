// Sums down columns by blocks of 8 by N threads, N a multiple of 4 up to 64: each thread has eight columns of some rows.
#pragma once
#include "spft.cuh"

// Adds up what the threads of a block have of the same columns: those of a warp (four rows), then the warps in turn. The result is in the
// threads of threadIdx.y 0.
__device__ __forceinline__ void sum_rows(float (&sum)[8]) {
  __shared__ float of_warp[16][8][8];
  const int thread = threadIdx.y * 8 + threadIdx.x, warp = thread >> 5;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], 8);
    sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], 16);
  }
  if ((threadIdx.y & 3) == 0) {
#pragma unroll
    for (int i = 0; i < 8; i++) of_warp[warp][threadIdx.x][i] = sum[i];
  }
  __syncthreads();
  if (threadIdx.y == 0) {
    for (int w = 1; w < (int)blockDim.y / 4; w++) {
#pragma unroll
      for (int i = 0; i < 8; i++) sum[i] += of_warp[w][threadIdx.x][i];
    }
  }
}

__device__ __forceinline__ void store_sums(float* to, const float (&sum)[8], int left, int root) {
  for (int i = 0; i < 8; i++) {
    if (i < left) to[i] = root ? sqrtf(sum[i]) : sum[i];
  }
}
