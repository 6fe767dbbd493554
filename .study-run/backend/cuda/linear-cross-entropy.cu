// A row of logits to its loss and, in the same memory, to the gradient p − onehot in type D. A row whose label is below 0 counts for nothing: both are
// zeros. A block of 1024 threads has a row.
#include "octets.cuh"

#define THREADS 1024

// The sum of e^(z − highest) next to the highest.
struct SoftSum {
  float highest, sum;
};
__device__ __forceinline__ SoftSum joined(SoftSum a, SoftSum b) {
  const float highest = fmaxf(a.highest, b.highest);
  // Both are minus infinity where there was nothing yet.
  if (highest == -__uint_as_float(0x7f800000u)) return SoftSum{highest, 0.0f};
  return SoftSum{highest, a.sum * ptx_exp2(1.4426950408889634f * (a.highest - highest)) + b.sum * ptx_exp2(1.4426950408889634f * (b.highest - highest))};
}

extern "C" __global__ void __launch_bounds__(THREADS) cross_entropy(float* logits, const int* labels, float* losses, int vocabulary, int gradient,
                                                                    int aligned) {
  float* row = logits + (i64)blockIdx.x * vocabulary;
  __shared__ SoftSum of_warp[32];
  SoftSum soft = {-__uint_as_float(0x7f800000u), 0.0f};
#pragma unroll 2
  for (int at = 8 * threadIdx.x; at < vocabulary; at += 8 * THREADS) {
    const int left = vocabulary - at;
    float z[8];
    load_octet(row + at, left, aligned, z);
    SoftSum octet = {z[0], 0.0f};
#pragma unroll
    for (int i = 1; i < 8; i++) {
      if (i < left) octet.highest = fmaxf(octet.highest, z[i]);
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
      if (i < left) octet.sum += ptx_exp2(1.4426950408889634f * (z[i] - octet.highest));
    }
    soft = joined(soft, octet);
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) {
    const SoftSum other = {__shfl_xor_sync(0xffffffffu, soft.highest, offset), __shfl_xor_sync(0xffffffffu, soft.sum, offset)};
    soft = joined(soft, other);
  }
  const int lane = threadIdx.x & 31;
  if (lane == 0) of_warp[threadIdx.x >> 5] = soft;
  __syncthreads();
  soft = of_warp[lane];
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) {
    const SoftSum other = {__shfl_xor_sync(0xffffffffu, soft.highest, offset), __shfl_xor_sync(0xffffffffu, soft.sum, offset)};
    soft = joined(soft, other);
  }
  const int label = labels[blockIdx.x];
  if (threadIdx.x == 0) {
    const bool known = label >= 0 && label < vocabulary;
    losses[blockIdx.x] = label < 0 ? 0.0f : soft.highest + logf(soft.sum) - (known ? row[label] : 0.0f);
  }
  if (!gradient) return;
  // Numbers of D are no wider than logits, so what is written lies below what is still to be read: all of a stretch is read before it is written.
  D* d = (D*)row;
  const float inverse = 1.0f / soft.sum;
  for (int begin = 0; begin < vocabulary; begin += 8 * THREADS) {
    const int at = begin + 8 * threadIdx.x, left = vocabulary - at;
    float z[8];
    if (left > 0) load_octet(row + at, left, aligned, z);
    __syncthreads();
    if (left > 0) {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const float p = ptx_exp2(1.4426950408889634f * (z[i] - soft.highest)) * inverse;
        z[i] = label < 0 ? 0.0f : p - (at + i == label ? 1.0f : 0.0f);
      }
      store_octet(d + at, left, aligned, z);
    }
  }
}

// The sum of all, in one block and a fixed order.
extern "C" __global__ void sum_losses(const float* losses, float* total, int count) {
  float sum = 0.0f;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += losses[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *total = sum;
}
