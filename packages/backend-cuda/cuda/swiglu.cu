// silu(gate) ⊙ up and its gradient, element by element: a thread has eight. X is the type of all.
#include "octets.cuh"

extern "C" __global__ void swiglu(const X* gate, const X* up, X* y, i64 size, int aligned) {
  const i64 at = 8 * ((i64)blockIdx.x * blockDim.x + threadIdx.x), left = size - at;
  if (left <= 0) return;
  float g[8], u[8];
  load_octet(gate + at, left, aligned, g);
  load_octet(up + at, left, aligned, u);
#pragma unroll
  for (int i = 0; i < 8; i++) u[i] *= g[i] * sigmoid(g[i]);
  store_octet(y + at, left, aligned, u);
}

extern "C" __global__ void swiglu_grad(const X* gate, const X* up, const X* dy, X* dgate, X* dup, i64 size, int aligned) {
  const i64 at = 8 * ((i64)blockIdx.x * blockDim.x + threadIdx.x), left = size - at;
  if (left <= 0) return;
  float g[8], u[8], d[8];
  load_octet(gate + at, left, aligned, g);
  load_octet(up + at, left, aligned, u);
  load_octet(dy + at, left, aligned, d);
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const float sigma = sigmoid(g[i]), silu = g[i] * sigma;
    g[i] = d[i] * u[i] * (sigma + silu - silu * sigma);
    u[i] = d[i] * silu;
  }
  store_octet(dgate + at, left, aligned, g);
  store_octet(dup + at, left, aligned, u);
}
