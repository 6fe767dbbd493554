// Random numbers by position: element i of a seed's tensor is the same on every GPU, whatever the launch. Philox 4x32-10 (Salmon et al.,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011) makes four words of counter and key. TO is the element.
#include "elements.cuh"

struct Block4 {
  u32 word[4];
};

__device__ __forceinline__ Block4 philox(u64 counter, u32 key0, u32 key1) {
  Block4 x = {{(u32)counter, (u32)(counter >> 32), 0, 0}};
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const u64 a = (u64)0xD2511F53u * x.word[0], b = (u64)0xCD9E8D57u * x.word[2];
    x = Block4{{(u32)(b >> 32) ^ x.word[1] ^ key0, (u32)b, (u32)(a >> 32) ^ x.word[3] ^ key1, (u32)a}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return x;
}

// In [0, 1), and in (0, 1).
__device__ __forceinline__ float uniform(u32 bits) { return (bits >> 8) * (1.0f / 16777216.0f); }
__device__ __forceinline__ float open_uniform(u32 bits) { return ((bits >> 8) + 0.5f) * (1.0f / 16777216.0f); }

// With NORMAL, of mean `a` and deviation `b`; else uniform from `a` on, `b` wide.
extern "C" __global__ void random_fill(TO* to, i64 size, int seed0, int seed1, float a, float b) {
  for (i64 n = first_index(); n < (size + 3) / 4; n += index_step()) {
    const Block4 bits = philox((u64)n, (u32)seed0, (u32)seed1);
    float values[4];
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
#ifdef NORMAL
      // Box and Muller.
      const float radius = sqrtf(-2.0f * logf(open_uniform(bits.word[i])));
      const float angle = 6.283185307f * uniform(bits.word[i + 1]);
      values[i] = radius * cosf(angle);
      values[i + 1] = radius * sinf(angle);
#else
      values[i] = uniform(bits.word[i]);
      values[i + 1] = uniform(bits.word[i + 1]);
#endif
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (4 * n + i < size) to[4 * n + i] = Stored<TO>::of(a + b * values[i]);
  }
}
