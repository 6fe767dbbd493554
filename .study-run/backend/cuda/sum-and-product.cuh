// What reductions and scans have in common: sums and products of elements FROM, in float or in int.
#pragma once
#include "elements.cuh"

typedef decltype(number(FROM{})) Number;

struct Sum {
  static __device__ __forceinline__ Number start() { return 0; }
  static __device__ __forceinline__ Number of(Number a, Number b) { return a + b; }
};
struct Prod {
  static __device__ __forceinline__ Number start() { return 1; }
  static __device__ __forceinline__ Number of(Number a, Number b) { return a * b; }
};
