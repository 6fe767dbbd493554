// The scale of a row of activations, and how the greatest numbers that say it are gathered.
//
// Few channels have most of a row's energy (of SmolLM2's normed rows four of 576 have half of it), and a code's error is in proportion to the number, so
// that the errors of those few are most of the row's. A row's scale moves all its numbers against the steps of codes. There are eight by which the
// greatest number is a code as it is, one for each code of an octave; of these a row gets the one by which the greatest numbers of its stretches are rounded
// with the least sum of squared errors. A stretch is a power of two of octets, such that a row has 16 to 32 of them, whatever the kernel's blocks are
// like: they all give a row the same scale. The oracle is e4m3.reference.ts of sparse-ops.
//
// Of the channels that have most of the energy (outlier channels) what a code leaves of a number is a code of its own, of the same scale, in a column behind
// the row.
#pragma once
#include "e4m3.cuh"

#define MOST_OUTLIERS 240

// Octets of a row that have outliers, each in the place that is the number of outliers before it: by way of these the first threads have what others hold.
template <typename T> struct alignas(16) OutlierOctets {
  T numbers[8 * MOST_OUTLIERS];

  // Before a barrier. `bits`: one for each of the octet's numbers that is an outlier, and above these how many outliers come before the octet.
  __device__ __forceinline__ void note(const Octet<T>& octet, u32 bits) {
    if (bits & 0xffu) octet.store(numbers + 8 * (bits >> 8));
  }

  // Codes of what the codes of `count` outliers leave go to `rests`. Places of their numbers here lie before `outliers`, the bits of all octets.
  __device__ __forceinline__ void store_rests(e4m3* rests, const u16* outliers, int count, float inverse) const {
    for (int n = threadIdx.x; n < count; n += blockDim.x) {
      const float v = to_float(numbers[outliers[n - count]]) * inverse;
      rests[n].bits = (u8)pack_e4m3(v - to_float(e4m3{(u8)pack_e4m3(v, 0.0f, 0.0f, 0.0f)}), 0.0f, 0.0f, 0.0f);
    }
  }
};

// Octets of a stretch, as an exponent of two.
__device__ __forceinline__ int stretch_of(int octets) { return octets < 32 ? 0 : 27 - __clz(octets); }

// What a block notes of a row of at most N octets.
template <int N> struct Noted {
  // Greatest magnitudes of stretches, or of 32 octets each where a stretch has more.
  u32 most[N / 32 > 32 ? N / 32 : 32];
  u32 errors[8];
};

// Notes the greatest of each stretch. All lanes of a warp have octets of the row that lie one behind the other, the first a multiple of 32, of which some may
// be beyond it and have 0.
__device__ __forceinline__ void note_most(u32 most, int octet, int octets, int stretch, u32* noted) {
  const int lane = threadIdx.x & 31;
  if (stretch >= 5) {
    most = __reduce_max_sync(0xffffffffu, most);
    if (lane == 0 && octet < octets) noted[octet >> 5] = most;
    return;
  }
  for (int offset = 1 << stretch >> 1; offset > 0; offset >>= 1) most = max(most, __shfl_xor_sync(0xffffffffu, most, offset));
  if ((lane & ((1 << stretch) - 1)) == 0 && octet < octets) noted[octet >> stretch] = most;
}

// The codes of the uppermost octave.
__device__ __forceinline__ float code_of(int k) { return k == 0 ? 240.0f : 224.0f + 32.0f * k; }

// To four significant bits, ties to even. What is below 2^-6 would lose more as a code; it counts for nothing beside numbers above 224.
__device__ __forceinline__ float to_four_bits(float x) {
  const u32 bits = __float_as_uint(x);
  return __uint_as_float((bits + 0x7ffffu + (bits >> 20 & 1u)) & 0xfff00000u);
}

// What `note_most` noted, after a barrier, makes a row's scale, which is written to `scale`. Has a barrier; each warp tries some of the eight. Rows whose
// greatest number is below 2^-100 or above 2^100 get the power of two of `scale_for`.
// @returns what the row's numbers are multiplied by, in every thread.
template <int N> __device__ __forceinline__ float finest_scale(int octets, int stretch, Noted<N>& noted, float* scale) {
  const int lane = threadIdx.x & 31;
  u32 mine = 0;
  if (stretch < 5) {
    if (lane < (octets + (1 << stretch) - 1) >> stretch) mine = noted.most[lane];
  } else {
    const int lines = 1 << (stretch - 5), end = min((lane + 1) * lines, (octets + 31) >> 5);
    for (int line = lane * lines; line < end; line++) mine = max(mine, noted.most[line]);
  }
  const u32 most = __reduce_max_sync(0xffffffffu, mine);
  const float greatest = __uint_as_float(most), inverse = 1.0f / greatest;
  const bool usual = greatest >= 0x1p-100f && greatest <= 0x1p100f;
  if (usual) {
    for (int k = threadIdx.x >> 5; k < 8; k += blockDim.x >> 5) {
      // Products that are rounded before they are added, as the oracle's.
      const float code = code_of(k), x = __fmul_rn(__uint_as_float(mine), code * inverse), off = to_four_bits(x) - x;
      const float error = warp_sum(__fmul_rn(off, off)) / (code * code);
      if (lane == 0) noted.errors[k] = (__float_as_uint(error) & ~7u) | (u32)k;
    }
  }
  __syncthreads();
  if (!usual) {
    const float power = scale_for(most);
    if (threadIdx.x == 0) *scale = power;
    return inverse_of(power);
  }
  // Of equals the first.
  const float code = code_of((int)(__reduce_min_sync(0xffffffffu, noted.errors[lane & 7]) & 7u));
  if (threadIdx.x == 0) *scale = greatest / code;
  return code * inverse;
}
