// The rotation of rotary position embedding.
#pragma once
#include "spft.cuh"

// Eight numbers of the first half of a head and the eight across from them, turned by angles of these cosines and sines (negated to turn back). Which products
// are fused is said, so that the bits are the same in every kernel.
__device__ __forceinline__ void turn_octets(float (&a)[8], float (&b)[8], const float (&cosine)[8], const float (&sine)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const float before = a[i];
    a[i] = fmaf(before, cosine[i], -__fmul_rn(b[i], sine[i]));
    b[i] = fmaf(b[i], cosine[i], __fmul_rn(before, sine[i]));
  }
}
