// Numbers to E4M3: rows with a scale for each, matrices with one scale. X is their type.
#include "e4m3.cuh"

// codes[r] = x[r] / scales[r]. A block has a row, and reads it twice, the second time from the cache. With `one` all rows have scales[0], which is there.
extern "C" __global__ void quantise_rows(const X* x, u8* codes, float* scales, int n, int stride, int aligned, int one) {
  __shared__ u32 of_warp[32];
  const X* from = x + (i64)blockIdx.x * stride;
  e4m3* to = (e4m3*)codes + (i64)blockIdx.x * n;
  float v[8];
  float scale;
  if (one) scale = scales[0];
  else {
    u32 most = 0;
    for (int at = 8 * threadIdx.x; at < n; at += 8 * blockDim.x) {
      load_octet(from + at, n - at, aligned, v);
#pragma unroll
      for (int i = 0; i < 8; i++) most = max(most, magnitude_of(v[i]));
    }
    scale = scale_for(block_most(most, of_warp));
    if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  }
  const float inverse = inverse_of(scale);
  for (int at = 8 * threadIdx.x; at < n; at += 8 * blockDim.x) {
    load_octet(from + at, n - at, aligned, v);
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] *= inverse;
    store_octet(to + at, n - at, aligned, v);
  }
}

// The scale of a whole matrix: greatest magnitudes of stretches, then of these.
extern "C" __global__ void most_of_stretch(const X* x, u32* most, i64 size, int aligned) {
  __shared__ u32 of_warp[32];
  u32 here = 0;
  const i64 step = (i64)8 * gridDim.x * blockDim.x;
  for (i64 at = 8 * ((i64)blockIdx.x * blockDim.x + threadIdx.x); at < size; at += step) {
    float v[8];
    load_octet(x + at, size - at, aligned, v);
#pragma unroll
    for (int i = 0; i < 8; i++) here = max(here, magnitude_of(v[i]));
  }
  here = block_most(here, of_warp);
  if (threadIdx.x == 0) most[blockIdx.x] = here;
}
extern "C" __global__ void scale_of_all(const u32* most, float* scale, int count) {
  __shared__ u32 of_warp[32];
  u32 here = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) here = max(here, most[i]);
  here = block_most(here, of_warp);
  if (threadIdx.x == 0) scale[0] = scale_for(here);
}
