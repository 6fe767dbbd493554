// Reads memory and does nothing with it: how fast it can be read at all, which is what a step of generation is measured by.
#include "spft.cuh"

extern "C" __global__ void read(const u8* from, u32* to, i64 units) {
  u32 all = 0;
  const i64 step = (i64)gridDim.x * blockDim.x;
  i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  for (; at + 7 * step < units; at += 8 * step) {
    u32 words[8][4];
#pragma unroll
    for (int n = 0; n < 8; n++) ptx_load_once(from + 16 * (at + n * step), words[n]);
#pragma unroll
    for (int n = 0; n < 8; n++) all ^= words[n][0] ^ words[n][1] ^ words[n][2] ^ words[n][3];
  }
  for (; at < units; at += step) {
    u32 words[4];
    ptx_load_once(from + 16 * at, words);
    all ^= words[0] ^ words[1] ^ words[2] ^ words[3];
  }
  // Never, but the compiler does not know.
  if (units < 0) *to = all;
}
