// Rotary position embedding of rows of heads·2·half numbers by tables [rows, half]. A thread turns eight pairs of a head, eight numbers of its first
// half with the eight across from them, and then the same of further heads: the angles are theirs too, so they are read once. blockDim.x is a
// multiple of the octets in half. X is the type of x and y; direction is -1 for the gradient.
#include "octets.cuh"

// Heads that a thread has under way.
#define AT_A_TIME 4

extern "C" __global__ void rope(const X* x, const float* cosines, const float* sines, X* y, int rows, int heads, int half, float direction,
                                int aligned) {
  const int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const int octets = (half + 7) / 8, heads_at_once = blockDim.x / octets;
  const int at = 8 * (threadIdx.x % octets), left = half - at;
  float c[8], s[8];
  load_octet(cosines + (i64)row * half + at, left, aligned, c);
  load_octet(sines + (i64)row * half + at, left, aligned, s);
#pragma unroll
  for (int i = 0; i < 8; i++) s[i] *= direction;
  x += (i64)row * heads * 2 * half + at;
  y += (i64)row * heads * 2 * half + at;
  for (int head = threadIdx.x / octets; head < heads; head += AT_A_TIME * heads_at_once) {
    float a[AT_A_TIME][8], b[AT_A_TIME][8];
#pragma unroll
    for (int u = 0; u < AT_A_TIME; u++) {
      const i64 first = (i64)(head + u * heads_at_once) * 2 * half;
      const int there = head + u * heads_at_once < heads ? left : 0;
      load_octet(x + (there ? first : 0), there, aligned, a[u]);
      load_octet(x + (there ? first + half : 0), there, aligned, b[u]);
    }
#pragma unroll
    for (int u = 0; u < AT_A_TIME; u++) {
      if (head + u * heads_at_once >= heads) break;
      const i64 first = (i64)(head + u * heads_at_once) * 2 * half;
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const float before = a[u][i];
        a[u][i] = before * c[i] - b[u][i] * s[i];
        b[u][i] = b[u][i] * c[i] + before * s[i];
      }
      store_octet(y + first, left, aligned, a[u]);
      store_octet(y + first + half, left, aligned, b[u]);
    }
  }
}
