// SwiGLU, silu(gate) · up, and its gradient, with results in E4M3 and a scale for each row (gated-activation.cu has the plain ones). A block has a
// row and holds the results in registers, as X has them, each thread OCTETS octets of it, until their greatest is known. All of a thread's loads are under
// way at once: EXACT says that no octet is beyond the row. Rows, strides and addresses allow 16-byte accesses. X is the element type of gate, up and dy.
#include "e4m3-row-scale.cuh"

// Whether there are outliers.
#ifndef OUTLIERS
#define OUTLIERS 0
#endif

// By the fast division: an exact one takes longer than all the rest of an element.
__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

// Zeros beyond the row.
template <typename T> __device__ __forceinline__ void load_within(Octet<T>& octet, const T* row, int at, int columns) {
  const bool there = EXACT || at < columns;
  octet.load(row + (there ? at : 0), 8, true);
  if (there) return;
  const float zeros[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
  octet.hold(zeros);
}

// Codes of eight numbers.
__device__ __forceinline__ void store_codes(u8* to, const Octet<X>& octet, float inverse) {
  float v[8];
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] = octet[i] * inverse;
  store_vector<8>((e4m3*)to, v);
}

// Where `up_codes` is not null, up's codes and scales are written too: for the gradient, in half of up's room. Rows of codes are `code_stride` apart; with
// OUTLIERS `outliers` says which channels have a column behind the row for what their codes leave.
extern "C" __global__ void quantised_activation(const X* gate, const X* up, u8* codes, float* scales, const u16* outliers, u8* up_codes, float* up_scales,
                                                int columns, int stride, int code_stride) {
  __shared__ Noted<1024 * OCTETS> noted;
  __shared__ u32 of_warp[32];
  const int octets = columns / 8, stretch = stretch_of(octets);
  gate += (i64)blockIdx.x * stride;
  up += (i64)blockIdx.x * stride;
  codes += (i64)blockIdx.x * code_stride;
#if OUTLIERS
  __shared__ OutlierOctets<X> strong;
#endif
  Octet<X> y[OCTETS], u[OCTETS];
  u32 most_up = 0;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    load_within(y[o], gate, at, columns);
    load_within(u[o], up, at, columns);
  }
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    float v[8];
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = y[o][i] * sigmoid(y[o][i]) * u[o][i];
    y[o].hold(v);
    const int octet = threadIdx.x + o * blockDim.x;
    note_most(most_of(y[o], 0u), octet, octets, stretch, noted.most);
#if OUTLIERS
    strong.note(y[o], EXACT || octet < octets ? outliers[octet] : 0u);
#endif
    most_up = most_of(u[o], most_up);
  }
  __syncthreads();
  const float inverse = finest_scale(octets, stretch, noted, scales + blockIdx.x);
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    if (!EXACT && at >= columns) break;
    store_codes(codes + at, y[o], inverse);
  }
#if OUTLIERS
  strong.store_rests((e4m3*)codes + columns, outliers, code_stride - columns, inverse);
#endif
  if (!up_codes) return;
  up_codes += (i64)blockIdx.x * columns;
  const float up_scale = scale_for(block_most(most_up, of_warp)), up_inverse = inverse_of(up_scale);
  if (threadIdx.x == 0) up_scales[blockIdx.x] = up_scale;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    if (!EXACT && at >= columns) break;
    store_codes(up_codes + at, u[o], up_inverse);
  }
}

// codes [rows, 2 * columns]: gradients of gate, then those of up, with one scale. With UP_CODES up is read from `up_codes` and `up_scales`.
extern "C" __global__ void quantised_activation_grad(const X* gate, const X* up, const X* dy, u8* codes, float* scales, const u8* up_codes,
                                                     const float* up_scales, int columns, int stride) {
  __shared__ u32 of_warp[32];
  gate += (i64)blockIdx.x * stride;
  dy += (i64)blockIdx.x * columns;
#if UP_CODES
  up_codes += (i64)blockIdx.x * columns;
  const float up_scale = up_scales[blockIdx.x];
#else
  up += (i64)blockIdx.x * stride;
#endif
  codes += (i64)blockIdx.x * 2 * columns;
  // Gate and dy, and then their gradients in their places.
  Octet<X> dgate[OCTETS], dup[OCTETS];
#if UP_CODES
  Words2 coded[OCTETS];
#else
  Octet<X> plain[OCTETS];
#endif
  u32 most = 0;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    load_within(dgate[o], gate, at, columns);
    load_within(dup[o], dy, at, columns);
#if UP_CODES
    coded[o] = EXACT || at < columns ? *(const Words2*)(up_codes + at) : Words2{{0, 0}};
#else
    load_within(plain[o], up, at, columns);
#endif
  }
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    float dg[8], du[8];
#if UP_CODES
    float coded_up[8];
    unpack_e4m3(coded[o], coded_up);
#endif
#pragma unroll
    for (int i = 0; i < 8; i++) {
#if UP_CODES
      const float u = coded_up[i] * up_scale;
#else
      const float u = plain[o][i];
#endif
      const float g = dgate[o][i], d = dup[o][i], s = sigmoid(g);
      const float silu = g * s;
      dg[i] = d * u * (s + silu - silu * s);
      du[i] = d * silu;
    }
    dgate[o].hold(dg);
    dup[o].hold(du);
    most = most_of(dup[o], most_of(dgate[o], most));
  }
  const float scale = scale_for(block_most(most, of_warp)), inverse = inverse_of(scale);
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
#pragma unroll
  for (int o = 0; o < OCTETS; o++) {
    const int at = 8 * (threadIdx.x + o * blockDim.x);
    if (!EXACT && at >= columns) break;
    store_codes(codes + at, dgate[o], inverse);
    store_codes(codes + columns + at, dup[o], inverse);
  }
}
