// E4M3 codes with one scale as numbers of type TO: rows of `columns`, a multiple of 8 where there are several, `stride` apart.
#include "e4m3.cuh"

extern "C" __global__ void dequantise(const u8* codes, const float* scale, TO* to, i64 size, i64 columns, i64 stride, int aligned) {
  const float times = scale[0];
  const i64 step = (i64)8 * gridDim.x * blockDim.x;
  for (i64 at = 8 * ((i64)blockIdx.x * blockDim.x + threadIdx.x); at < size; at += step) {
    float v[8];
    load_octet((const e4m3*)codes + (columns == size ? at : at / columns * stride + at % columns), size - at, aligned, v);
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] *= times;
    store_octet(to + at, size - at, aligned, v);
  }
}
