// Numbers to E4M3: rows with a scale for each, matrices with one scale. X is their type.
#include "e4m3-row-scale.cuh"

#define BY_POWER_OF_TWO 0
#define BY_GIVEN 1
#define BY_FINEST 2

// Octets of a row that a thread holds, where that is all of them.
#define HELD 2

// A row that a block holds in registers: read once, with all loads under way at once.
__device__ __forceinline__ void quantise_held(const X* from, e4m3* to, float* scale, const u16* outliers, int n, int rests, int aligned, int scaling, Noted<8192>& noted,
                                              OutlierOctets<X>& strong) {
  Octet<X> row[HELD];
  u32 most[HELD];
  const int octets = (n + 7) / 8, stretch = stretch_of(octets);
#pragma unroll
  for (int o = 0; o < HELD; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    row[o].load(from + at, n - at, aligned);
  }
#pragma unroll
  for (int o = 0; o < HELD; o++) most[o] = most_of(row[o], 0u);
  float inverse;
  if (scaling == BY_FINEST) {
#pragma unroll
    for (int o = 0; o < HELD; o++) {
      const int octet = threadIdx.x + o * blockDim.x;
      note_most(most[o], octet, octets, stretch, noted.most);
      if (outliers && octet < octets) strong.note(row[o], outliers[octet]);
    }
    __syncthreads();
    inverse = finest_scale(octets, stretch, noted, scale);
  } else {
    const float power = scale_for(block_most(max(most[0], most[1]), noted.most));
    inverse = inverse_of(power);
    if (threadIdx.x == 0) *scale = power;
  }
#pragma unroll
  for (int o = 0; o < HELD; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    float v[8];
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = row[o][i] * inverse;
    store_octet(to + at, n - at, aligned, v);
  }
  if (outliers) strong.store_rests(to + n, outliers, rests, inverse);
}

// codes[r] = x[r] / scales[r]. A block has a row, and reads one that it cannot hold twice, the second time from the cache. Rows are scaled by a power of two; or all by scales[0],
// which is there; or as `finest_scale` says, for rows of at most 2^16. Rows of codes are `to_stride` apart. With BY_FINEST `outliers`, unless it is null,
// says which channels have a column behind the row for what their codes leave.
extern "C" __global__ void quantise_rows(const X* x, u8* codes, float* scales, const u16* outliers, int n, int stride, int to_stride, int aligned, int scaling) {
  __shared__ Noted<8192> noted;
  __shared__ OutlierOctets<X> strong;
  const X* from = x + (i64)blockIdx.x * stride;
  e4m3* to = (e4m3*)codes + (i64)blockIdx.x * to_stride;
  if (scaling != BY_FINEST) outliers = nullptr;
  if (scaling != BY_GIVEN && n <= 8 * HELD * (int)blockDim.x) {
    quantise_held(from, to, scales + blockIdx.x, outliers, n, to_stride - n, aligned, scaling, noted, strong);
    return;
  }
  float v[8];
  float inverse;
  if (scaling == BY_GIVEN) inverse = inverse_of(scales[0]);
  else if (scaling == BY_FINEST) {
    const int octets = (n + 7) / 8, stretch = stretch_of(octets);
    // All lanes of a warp go on as long as the first one, whose octet is a multiple of 32.
    for (int first = 8 * (threadIdx.x & ~31); first < n; first += 8 * blockDim.x) {
      const int at = first + 8 * (threadIdx.x & 31);
      u32 most = 0;
      if (at < n) {
        Octet<X> octet;
        octet.load(from + at, n - at, aligned);
        most = most_of(octet, 0u);
        if (outliers) strong.note(octet, outliers[at / 8]);
      }
      note_most(most, at / 8, octets, stretch, noted.most);
    }
    __syncthreads();
    inverse = finest_scale(octets, stretch, noted, scales + blockIdx.x);
  } else {
    u32 most = 0;
    for (int at = 8 * threadIdx.x; at < n; at += 8 * blockDim.x) {
      load_octet(from + at, n - at, aligned, v);
#pragma unroll
      for (int i = 0; i < 8; i++) most = max(most, magnitude_of(v[i]));
    }
    const float scale = scale_for(block_most(most, noted.most));
    inverse = inverse_of(scale);
    if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  }
  for (int at = 8 * threadIdx.x; at < n; at += 8 * blockDim.x) {
    load_octet(from + at, n - at, aligned, v);
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] *= inverse;
    store_octet(to + at, n - at, aligned, v);
  }
  if (outliers) strong.store_rests(to + n, outliers, to_stride - n, inverse);
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
