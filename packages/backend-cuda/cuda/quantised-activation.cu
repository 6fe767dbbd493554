// SwiGLU, silu(gate) · up, and its gradient, with results in E4M3 and a scale for each row (gated-activation.cu has the plain ones). A block has a
// row and holds the results in registers, each thread OCTETS octets of it, until their greatest is known. Rows, strides and addresses allow
// 16-byte accesses. X is the element type of gate, up and dy.
#include "e4m3.cuh"

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + __expf(-x)); }

// As X holds it: codes are of the numbers that the plain kernels write.
__device__ __forceinline__ float rounded(float x) { return to_float(from_float<X>(x)); }

extern "C" __global__ void quantised_activation(const X* gate, const X* up, u8* codes, float* scales, int columns, int stride) {
  __shared__ u32 of_warp[32];
  const i64 begin = (i64)blockIdx.x * stride;
  float y[OCTETS][8];
  u32 most = 0;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    if (at >= columns) break;
    float g[8], u[8];
    load_vector<8>(gate + begin + at, g);
    load_vector<8>(up + begin + at, u);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      y[o][i] = rounded(g[i] * sigmoid(g[i]) * u[i]);
      most = max(most, magnitude_of(y[o][i]));
    }
  }
  const float scale = scale_for(block_most(most, of_warp)), inverse = inverse_of(scale);
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  e4m3* to = (e4m3*)codes + (i64)blockIdx.x * columns;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    if (at >= columns) break;
#pragma unroll
    for (int i = 0; i < 8; i++) y[o][i] *= inverse;
    store_vector<8>(to + at, y[o]);
  }
}

// codes [rows, 2 * columns]: gradients of gate times `of_gate`, then those of up times `of_up`, with one scale. Both factors are powers of two.
extern "C" __global__ void quantised_activation_grad(const X* gate, const X* up, const X* dy, u8* codes, float* scales, int columns, int stride,
                                                     float of_gate, float of_up) {
  __shared__ u32 of_warp[32];
  const i64 begin = (i64)blockIdx.x * stride;
  float dg[OCTETS][8], du[OCTETS][8];
  u32 most = 0;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    if (at >= columns) break;
    float g[8], u[8], d[8];
    load_vector<8>(gate + begin + at, g);
    load_vector<8>(up + begin + at, u);
    load_vector<8>(dy + (i64)blockIdx.x * columns + at, d);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const float s = sigmoid(g[i]);
      const float silu = g[i] * s;
      dg[o][i] = of_gate * rounded(d[i] * u[i] * (s + silu - silu * s));
      du[o][i] = of_up * rounded(d[i] * silu);
      most = max(most, max(magnitude_of(dg[o][i]), magnitude_of(du[o][i])));
    }
  }
  const float scale = scale_for(block_most(most, of_warp)), inverse = inverse_of(scale);
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  e4m3* to = (e4m3*)codes + (i64)blockIdx.x * 2 * columns;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    if (at >= columns) break;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      dg[o][i] *= inverse;
      du[o][i] *= inverse;
    }
    store_vector<8>(to + at, dg[o]);
    store_vector<8>(to + columns + at, du[o]);
  }
}
