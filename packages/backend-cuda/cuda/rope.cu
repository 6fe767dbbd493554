// Rotary position embedding of rows of heads·2·half numbers by tables [rows, half]. A thread turns eight pairs: eight numbers of a head's first
// half with the eight across from them. X is the type of x and y; direction is -1 for the gradient.
#include "octets.cuh"

extern "C" __global__ void rope(const X* x, const float* cosines, const float* sines, X* y, int rows, int heads, int half, float direction,
                                int aligned) {
  const int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const int octets = (half + 7) / 8;
  x += (i64)row * heads * 2 * half;
  y += (i64)row * heads * 2 * half;
  for (int n = threadIdx.x; n < heads * octets; n += blockDim.x) {
    const int head = n / octets, at = 8 * (n - head * octets), left = half - at;
    const i64 first = (i64)head * 2 * half + at, second = first + half;
    float c[8], s[8], a[8], b[8];
    load_octet(x + first, left, aligned, a);
    load_octet(x + second, left, aligned, b);
    load_octet(cosines + (i64)row * half + at, left, aligned, c);
    load_octet(sines + (i64)row * half + at, left, aligned, s);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const float turn = direction * s[i], before = a[i];
      a[i] = before * c[i] - b[i] * turn;
      b[i] = b[i] * c[i] + before * turn;
    }
    store_octet(y + first, left, aligned, a);
    store_octet(y + second, left, aligned, b);
  }
}
