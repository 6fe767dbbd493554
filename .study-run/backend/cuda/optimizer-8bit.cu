// One step of AdamW with moments in 8 bits over any number of tensors, as bitsandbytes has it: a block of threads has a piece, PIECE numbers of one tensor,
// and goes through it in blocks of 256, which share a scale. A thread has one number of each.
#include "spft.cuh"

#define PIECE 8192
#define BLOCK 256

struct Piece {
  int tensor, index;
};

struct Updated {
  const float *p, *g;
  const u8* m_codes;
  const float* m_scales;
  const u8* v_codes;
  const float* v_scales;
  float* new_p;
  u8* new_m_codes;
  float* new_m_scales;
  u8* new_v_codes;
  float* new_v_scales;
  // Where a copy of p in bf16 is kept up to date, or null.
  bf16* half;
  i64 size;
};

// How many of the ascending thresholds x has reached.
__device__ __forceinline__ u8 code_of(float x, const float* thresholds) {
  int code = 0;
#pragma unroll
  for (int width = BLOCK / 2; width >= 1; width >>= 1)
    if (x >= thresholds[code + width - 1]) code += width;
  return (u8)code;
}

// `tables`: values and thresholds of first moments, then of second ones. `scale`, `scale_at` and `varying` as in optimizer.cu.
extern "C" __global__ void adamw_8bit(const Updated* tensors, const Piece* pieces, const float* tables, const float* scale_at, const float* varying, float scale,
                                      float decay, float beta1, float one_less_beta1, float beta2, float one_less_beta2, float epsilon, float step_size,
                                      float root_correction) {
  __shared__ float shared[4 * BLOCK];
  for (int i = threadIdx.x; i < 4 * BLOCK; i += blockDim.x) shared[i] = tables[i];
  __syncthreads();
  const Piece piece = pieces[blockIdx.x];
  const Updated t = tensors[piece.tensor];
  if (scale_at) scale *= *scale_at;
  if (varying) {
    decay = varying[0];
    step_size = varying[1];
    root_correction = varying[2];
  }
  const i64 end = min(t.size, (i64)PIECE * (piece.index + 1));
  for (i64 start = (i64)PIECE * piece.index; start < end; start += BLOCK) {
    const i64 at = start + threadIdx.x, block = start / BLOCK;
    const float g = at < t.size ? t.g[at] * scale : 0.0f;
    const float m = beta1 * shared[t.m_codes[at]] * t.m_scales[block] + one_less_beta1 * g;
    const float v = beta2 * shared[2 * BLOCK + t.v_codes[at]] * t.v_scales[block] + one_less_beta2 * g * g;
    // Both end with a barrier, after which nobody reads the old scales.
    const float m_most = block_max(fabsf(m)), v_most = block_max(v);
    t.new_m_codes[at] = code_of(m_most == 0.0f ? 0.0f : m / m_most, shared + BLOCK);
    t.new_v_codes[at] = code_of(v_most == 0.0f ? 0.0f : v / v_most, shared + 3 * BLOCK);
    if (threadIdx.x == 0) {
      t.new_m_scales[block] = m_most;
      t.new_v_scales[block] = v_most;
    }
    if (at >= t.size) continue;
    const float p = t.p[at] * decay - step_size * m / (sqrtf(v) / root_correction + epsilon);
    t.new_p[at] = p;
    if (t.half) t.half[at] = from_float<bf16>(p);
  }
}
