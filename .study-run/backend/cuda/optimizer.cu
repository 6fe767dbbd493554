// One step of an optimizer over any number of tensors, and the norm of all of them: a table of tensors and one of pieces lie on the device, and a block
// has a piece, PIECE numbers of one tensor. All in float.
#include "spft.cuh"

#define PIECE 8192

struct Piece {
  int tensor, index;
};

struct Updated {
  const float *p, *g, *m, *v;
  float *new_p, *new_m, *new_v;
  // Where a copy of p in bf16 is kept up to date, or null.
  bf16* half;
  i64 size;
};

__device__ __forceinline__ bool on_16_bytes(const void* a) { return ((u64)a & 15u) == 0; }

// Calls `four(at)` or `one(at)` for every number of a block's piece: in fours where all arrays are on 16 bytes.
template <typename Four, typename One>
__device__ __forceinline__ void for_piece(const Piece& piece, i64 size, bool fours, Four four, One one) {
  const i64 begin = (i64)PIECE * piece.index, end = min(size, begin + PIECE);
  if (!fours) {
    for (i64 at = begin + threadIdx.x; at < end; at += blockDim.x) one(at);
    return;
  }
  i64 at = begin + 4 * (i64)threadIdx.x;
#pragma unroll 2
  for (; at + 4 <= end; at += 4 * (i64)blockDim.x) four(at);
  for (; at < end; at++) one(at);
}

struct AdamwNumbers {
  float scale, decay, beta1, one_less_beta1, beta2, one_less_beta2, epsilon, step_size, root_correction;
};

__device__ __forceinline__ void adamw_one(const AdamwNumbers& o, float& p, float g, float& m, float& v) {
  g *= o.scale;
  m = o.beta1 * m + o.one_less_beta1 * g;
  v = o.beta2 * v + o.one_less_beta2 * g * g;
  p = p * o.decay - o.step_size * m / (sqrtf(v) / o.root_correction + o.epsilon);
}

// `scale` multiplies every gradient, and so does *scale_at where it is not null. `varying`, where it is not null, has decay, step_size and
// root_correction.
extern "C" __global__ void adamw(const Updated* tensors, const Piece* pieces, const float* scale_at, const float* varying, float scale, float decay, float beta1,
                                 float one_less_beta1, float beta2, float one_less_beta2, float epsilon, float step_size, float root_correction) {
  const Piece piece = pieces[blockIdx.x];
  const Updated t = tensors[piece.tensor];
  AdamwNumbers o = {scale_at ? scale * *scale_at : scale, decay, beta1, one_less_beta1, beta2, one_less_beta2, epsilon, step_size,
                    root_correction};
  if (varying) {
    o.decay = varying[0];
    o.step_size = varying[1];
    o.root_correction = varying[2];
  }
  const bool fours = on_16_bytes(t.p) && on_16_bytes(t.g) && on_16_bytes(t.m) && on_16_bytes(t.v) && on_16_bytes(t.new_p) &&
                     on_16_bytes(t.new_m) && on_16_bytes(t.new_v);
  for_piece(
      piece, t.size, fours,
      [&](i64 at) {
        float p[4], g[4], m[4], v[4];
        load_vector(t.p + at, p);
        load_vector(t.g + at, g);
        load_vector(t.m + at, m);
        load_vector(t.v + at, v);
        for (int i = 0; i < 4; i++) adamw_one(o, p[i], g[i], m[i], v[i]);
        store_vector(t.new_p + at, p);
        store_vector(t.new_m + at, m);
        store_vector(t.new_v + at, v);
        if (t.half) {
          for (int i = 0; i < 4; i++) t.half[at + i] = from_float<bf16>(p[i]);
        }
      },
      [&](i64 at) {
        float p = t.p[at], m = t.m[at], v = t.v[at];
        adamw_one(o, p, t.g[at], m, v);
        t.new_p[at] = p;
        t.new_m[at] = m;
        t.new_v[at] = v;
        if (t.half) t.half[at] = from_float<bf16>(p);
      });
}

// Without momentum m and new_m are null. `varying`, where it is not null, has the learning rate.
extern "C" __global__ void sgd(const Updated* tensors, const Piece* pieces, const float* scale_at, const float* varying, float scale, float learning_rate,
                               float weight_decay, float momentum) {
  const Piece piece = pieces[blockIdx.x];
  const Updated t = tensors[piece.tensor];
  if (scale_at) scale *= *scale_at;
  if (varying) learning_rate = *varying;
  const auto one = [&](i64 at) {
    float step = t.g[at] * scale + weight_decay * t.p[at];
    if (t.new_m) {
      step += momentum * t.m[at];
      t.new_m[at] = step;
    }
    t.new_p[at] = t.p[at] - learning_rate * step;
    if (t.half) t.half[at] = from_float<bf16>(t.new_p[at]);
  };
  for_piece(piece, t.size, false, one, one);
}

// parts[piece] = Σ of the squares of a piece of g.
extern "C" __global__ void norm_parts(const Updated* tensors, const Piece* pieces, float* parts) {
  const Piece piece = pieces[blockIdx.x];
  const Updated t = tensors[piece.tensor];
  const bool fours = on_16_bytes(t.g);
  float sum = 0.0f;
  for_piece(
      piece, t.size, fours,
      [&](i64 at) {
        float g[4];
        load_vector(t.g + at, g);
        for (int i = 0; i < 4; i++) sum += g[i] * g[i];
      },
      [&](i64 at) { sum += t.g[at] * t.g[at]; });
  sum = block_sum(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// The root of the sum of all parts, in one block.
extern "C" __global__ void norm_total(const float* parts, float* norm, int count) {
  float sum = 0.0f;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += parts[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *norm = sqrtf(sum);
}
