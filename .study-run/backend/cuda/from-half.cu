// Elements of IEEE half precision (float16), as files have them, as TO, a type of spft.cuh.
#include "spft.cuh"

__device__ __forceinline__ float half_to_float(unsigned short half) {
  const unsigned sign = (unsigned)(half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 1023;
  // Subnormal: a multiple of 2^-24, exact in float.
  if (exponent == 0) return __uint_as_float(sign | __float_as_uint((float)fraction * 0x1p-24f));
  const unsigned wide = exponent == 31 ? 255 : exponent + 112;
  return __uint_as_float(sign | (wide << 23) | (fraction << 13));
}

extern "C" __global__ void from_half(const unsigned short* from, TO* to, i64 size) {
  const i64 stride = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) to[i] = from_float<TO>(half_to_float(from[i]));
}
