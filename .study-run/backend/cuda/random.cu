// Random numbers by counter: Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). Number i depends on seed and i
// alone, whatever the grid. X is the element type; NORMAL 1 gives a normal distribution (Box and Muller), 0 a uniform one in [-1, 1).
#include "spft.cuh"

struct Four {
  u32 word[4];
};

__device__ __forceinline__ Four philox(u64 counter, u32 seed) {
  u32 c0 = (u32)counter, c1 = (u32)(counter >> 32), c2 = 0, c3 = 0, k0 = seed, k1 = 0x53504654u;
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const u32 h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;
    const u32 h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
    c0 = h1 ^ c1 ^ k0;
    c1 = l1;
    c2 = h0 ^ c3 ^ k1;
    c3 = l0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return Four{{c0, c1, c2, c3}};
}

// In (0, 1): never 0, whose logarithm is none.
__device__ __forceinline__ float unit(u32 word) { return ((float)(word >> 8) + 0.5f) * (1.0f / 16777216.0f); }

// to[i] = mean + scale · number i, i < size.
extern "C" __global__ void random_numbers(X* to, i64 size, int seed, float mean, float scale) {
  const i64 step = (i64)gridDim.x * blockDim.x;
  for (i64 q = (i64)blockIdx.x * blockDim.x + threadIdx.x; 4 * q < size; q += step) {
    const Four four = philox((u64)q, (u32)seed);
    float x[4];
#if NORMAL
#pragma unroll
    for (int pair = 0; pair < 2; pair++) {
      const float radius = sqrtf(-2.0f * logf(unit(four.word[2 * pair])));
      const float angle = 6.2831853071795865f * unit(four.word[2 * pair + 1]);
      x[2 * pair] = radius * cosf(angle);
      x[2 * pair + 1] = radius * sinf(angle);
    }
#else
#pragma unroll
    for (int n = 0; n < 4; n++) x[n] = 2.0f * unit(four.word[n]) - 1.0f;
#endif
#pragma unroll
    for (int n = 0; n < 4; n++) {
      if (4 * q + n < size) to[4 * q + n] = from_float<X>(mean + scale * x[n]);
    }
  }
}
