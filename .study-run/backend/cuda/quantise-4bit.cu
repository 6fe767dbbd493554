// Numbers of type X to codes of four bits and a scale for each block of them, the greatest magnitude, with the bits of bitsandbytes on the CPU. BOOK is 0 for
// NF4, 1 for FP4. A block with a number that is not finite has NaN for its scale.
#include "octets.cuh"

// Ascending, and the codes that stand for them; of +0 and -0 of FP4 the lower code first.
#if BOOK == 0
__constant__ float numbers[16] = {-1.0f,
                                  -0.6961928009986877f,
                                  -0.5250730514526367f,
                                  -0.39491748809814453f,
                                  -0.28444138169288635f,
                                  -0.18477343022823334f,
                                  -0.09105003625154495f,
                                  0.0f,
                                  0.07958029955625534f,
                                  0.16093020141124725f,
                                  0.24611230194568634f,
                                  0.33791524171829224f,
                                  0.44070982933044434f,
                                  0.5626170039176941f,
                                  0.7229568362236023f,
                                  1.0f};
__constant__ int codes_of[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#else
#define TWELFTHS(x) ((float)((x) / 12.0))
__constant__ float numbers[16] = {TWELFTHS(-12), TWELFTHS(-8), TWELFTHS(-6), TWELFTHS(-4), TWELFTHS(-3), TWELFTHS(-2), TWELFTHS(-0.0625), 0.0f,
                                  0.0f,          TWELFTHS(0.0625), TWELFTHS(2), TWELFTHS(3), TWELFTHS(4), TWELFTHS(6), TWELFTHS(8), TWELFTHS(12)};
__constant__ int codes_of[16] = {11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3};
#endif

// A warp has a block of `size` numbers at a time; a lane two neighbours, a byte of codes.
extern "C" __global__ void quantise_4bit(const X* x, u8* codes, float* absmax, i64 blocks, int size) {
  __shared__ float bounds[15];
  __shared__ int code_of[16];
  if (threadIdx.x < 15) bounds[threadIdx.x] = __fmul_rn(__fadd_rn(numbers[threadIdx.x], numbers[threadIdx.x + 1]), 0.5f);
  if (threadIdx.x < 16) code_of[threadIdx.x] = codes_of[threadIdx.x];
  __syncthreads();
  const int lane = threadIdx.x & 31;
  const i64 step = (i64)gridDim.x * (blockDim.x / 32);
  for (i64 block = (i64)blockIdx.x * (blockDim.x / 32) + (threadIdx.x >> 5); block < blocks; block += step) {
    const X* from = x + block * size;
    float most = 0.0f, rest = 0.0f;
    for (int at = 2 * lane; at < size; at += 64) {
      const float first = fabsf(to_float(from[at])), second = fabsf(to_float(from[at + 1]));
      most = fmaxf(most, fmaxf(first, second));
      // x - x is 0 for every finite x, and NaN, which fmaxf passes over, for all others.
      rest += (first - first) + (second - second);
    }
    most = warp_max(most);
    const bool finite = __ballot_sync(0xffffffffu, rest != 0.0f) == 0u;
    if (lane == 0) absmax[block] = finite ? most : __uint_as_float(0x7fc00000u);
    const float inverse = __fdiv_rn(1.0f, fmaxf(most, 1e-38f));
    for (int at = 2 * lane; at < size; at += 64) {
      u32 byte = 0;
#pragma unroll
      for (int k = 0; k < 2; k++) {
        const float scaled = __fmul_rn(to_float(from[at + k]), inverse);
        int place = scaled > bounds[7] ? 8 : 0;
        if (scaled > bounds[place + 3]) place += 4;
        if (scaled > bounds[place + 1]) place += 2;
        if (scaled > bounds[place]) place += 1;
        byte = byte << 4 | code_of[place];
      }
      codes[(block * size + at) >> 1] = (u8)byte;
    }
  }
}
