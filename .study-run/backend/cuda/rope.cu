// Rotary position embedding of rows of heads·2·half numbers by tables [rows, half]. A thread turns eight pairs of a head, eight numbers of its first
// half with the eight across from them, and then the same of further heads: the angles are theirs too, so they are read once. blockDim.x is a
// multiple of the octets in half. X is the type of x and y; direction is -1 for the gradient. Queries and keys are turned together: after the heads of x
// come `others` heads of a second matrix.
#include "octets.cuh"
#include "rope.cuh"

extern "C" __global__ void rope(const X* x, const X* x2, const float* cosines, const float* sines, X* y, X* y2, int rows, int heads, int others, int half,
                                float direction, int aligned) {
  const int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const int octets = (half + 7) / 8, heads_at_once = blockDim.x / octets;
  const int at = 8 * (threadIdx.x % octets), left = half - at;
  float c[8], s[8];
  load_octet(cosines + (i64)row * half + at, left, aligned, c);
  load_octet(sines + (i64)row * half + at, left, aligned, s);
#pragma unroll
  for (int i = 0; i < 8; i++) s[i] *= direction;
  const i64 begin = (i64)row * heads * 2 * half + at, begin2 = (i64)row * others * 2 * half + at;
  // One after the other: more loads under way cost registers, and with them threads (H200: 24 µs so, 28 to 32 by two or four heads at a time).
  for (int head = threadIdx.x / octets; head < heads + others; head += heads_at_once) {
    const bool other = head >= heads;
    const i64 first = (other ? begin2 - (i64)heads * 2 * half : begin) + (i64)head * 2 * half;
    const X* from = (other ? x2 : x) + first;
    X* to = (other ? y2 : y) + first;
    float a[8], b[8];
    load_octet(from, left, aligned, a);
    load_octet(from + half, left, aligned, b);
    turn_octets(a, b, c, s);
    store_octet(to, left, aligned, a);
    store_octet(to + half, left, aligned, b);
  }
}
