// Inverted dropout by a counter: element i is dropped where the keyed hash of i (lowbias32) is below a bound. X is the type of x and y. The two keys are
// hashes of the seed; where `seed` is not null they are made of it here.
#include "octets.cuh"

__device__ __forceinline__ u32 spread(u32 h) {
  h = (h ^ (h >> 16)) * 0x7feb352du;
  h = (h ^ (h >> 15)) * 0x846ca68bu;
  return h ^ (h >> 16);
}

extern "C" __global__ void dropout(const X* x, X* y, const int* seed, i64 size, int before, int within, int drop_below, float factor,
                                   int aligned) {
  const i64 at = 8 * ((i64)blockIdx.x * blockDim.x + threadIdx.x), left = size - at;
  if (left <= 0) return;
  if (seed) {
    before = (int)spread((u32)*seed);
    within = (int)spread((u32)before ^ 0x9e3779b9u);
  }
  float v[8];
  load_octet(x + at, left, aligned, v);
#pragma unroll
  for (int i = 0; i < 8; i++) {
    u32 h = (u32)(at + i) ^ (u32)before;
    h = (h ^ (h >> 16)) * 0x7feb352du + (u32)within;
    h = (h ^ (h >> 15)) * 0x846ca68bu;
    h ^= h >> 16;
    v[i] = (int)h < drop_below ? v[i] * 0.0f : v[i] * factor;
  }
  store_octet(y + at, left, aligned, v);
}
