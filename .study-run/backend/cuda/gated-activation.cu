// SwiGLU, silu(gate) · up, and its gradient, over matrices whose rows may lie apart: gate and up may be halves of one matrix.
// X is the element type. One thread does eight columns of a row where WIDE is 1, which wants columns, strides and addresses to allow 16-byte
// accesses; else one column.
#include "spft.cuh"

#if WIDE
#define STEP 8
#else
#define STEP 1
#endif

__device__ __forceinline__ void load(const X* from, float (&to)[STEP]) {
#if WIDE
  load_vector<8>(from, to);
#else
  to[0] = to_float(from[0]);
#endif
}
__device__ __forceinline__ void store(X* to, const float (&from)[STEP]) {
#if WIDE
  store_vector<8>(to, from);
#else
  to[0] = from_float<X>(from[0]);
#endif
}

// By the fast division: an exact one takes longer than all the rest of an element.
__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

extern "C" __global__ void gated_activation(const X* gate, const X* up, X* out, int rows, int columns, int stride, int out_stride) {
  const int per_row = columns / STEP;
  const i64 size = (i64)rows * per_row;
  const i64 step = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
    const i64 row = i / per_row;
    const int column = (int)(i - row * per_row) * STEP;
    float g[STEP], u[STEP], y[STEP];
    load(gate + row * stride + column, g);
    load(up + row * stride + column, u);
#pragma unroll
    for (int n = 0; n < STEP; n++) y[n] = g[n] * sigmoid(g[n]) * u[n];
    store(out + row * out_stride + column, y);
  }
}

// dgate and dup may be dy: an element is read before it is written, and by nobody else.
extern "C" __global__ void gated_activation_grad(const X* gate, const X* up, const X* dy, X* dgate, X* dup, int rows, int columns, int stride,
                                                 int dy_stride, int d_stride) {
  const int per_row = columns / STEP;
  const i64 size = (i64)rows * per_row;
  const i64 step = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
    const i64 row = i / per_row;
    const int column = (int)(i - row * per_row) * STEP;
    float g[STEP], u[STEP], d[STEP], dg[STEP], du[STEP];
    load(gate + row * stride + column, g);
    load(up + row * stride + column, u);
    load(dy + row * dy_stride + column, d);
#pragma unroll
    for (int n = 0; n < STEP; n++) {
      const float s = sigmoid(g[n]);
      const float silu = g[n] * s;
      dg[n] = d[n] * u[n] * (s + silu - silu * s);
      du[n] = d[n] * silu;
    }
    store(dgate + row * d_stride + column, dg);
    store(dup + row * d_stride + column, du);
  }
}
