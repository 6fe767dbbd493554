// Where the extreme of each row or column is: the first place where there are several. A NaN counts only at the very beginning, as in tfjs's
// cpu backend, which compares by > or < on from there. With LEAST the least, else the greatest; FROM is the element.
#include "elements.cuh"

typedef decltype(number(FROM{})) Number;

struct Found {
  Number value;
  i64 at;
};

__device__ __forceinline__ bool is_nan(float x) { return x != x; }
__device__ __forceinline__ bool is_nan(int) { return false; }

#ifdef LEAST
__device__ __forceinline__ bool better(Number a, Number b) { return a < b; }
#else
__device__ __forceinline__ bool better(Number a, Number b) { return a > b; }
#endif

// at is -1 where there is none yet.
__device__ __forceinline__ Found better_of(Found a, Found b) {
  if (a.at < 0) return b;
  if (b.at < 0) return a;
  // Only element 0 may be NaN here, and nothing beats it.
  if (is_nan(a.value)) return a;
  if (is_nan(b.value)) return b;
  if (better(a.value, b.value)) return a;
  if (better(b.value, a.value)) return b;
  return a.at < b.at ? a : b;
}

__device__ __forceinline__ Found found(Number value, i64 at) { return Found{value, is_nan(value) && at > 0 ? -1 : at}; }

// Of what the threads have, in the first of them.
__device__ __forceinline__ Found best_of_block(Found best, Number* values, i64* places) {
  const int thread = threadIdx.x;
  values[thread] = best.value;
  places[thread] = best.at;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (thread < half) {
      best = better_of(Found{values[thread], places[thread]}, Found{values[thread + half], places[thread + half]});
      values[thread] = best.value;
      places[thread] = best.at;
    }
    __syncthreads();
  }
  return best;
}

// One block a row, in turns; a power of two of threads.
extern "C" __global__ void arg_rows(const FROM* x, int* y, i64 rows, i64 n) {
  __shared__ Number values[256];
  __shared__ i64 places[256];
  const int thread = threadIdx.x;
  for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
    Found best = {0, -1};
    for (i64 i = thread; i < n; i += blockDim.x) best = better_of(best, found(number(x[row * n + i]), i));
    best = best_of_block(best, values, places);
    if (thread == 0) y[row] = best.at < 0 ? 0 : (int)best.at;
    __syncthreads();
  }
}

// Of long rows a stretch each, for arg_joins: [rows, stretches]. A power of two of threads.
extern "C" __global__ void arg_stretches(const FROM* x, Number* best_values, i64* best_places, i64 n, i64 stretch) {
  __shared__ Number values[256];
  __shared__ i64 places[256];
  const int thread = threadIdx.x;
  const i64 begin = blockIdx.x * stretch, end = min(n, begin + stretch);
  x += (i64)blockIdx.y * n;
  Found best = {0, -1};
#pragma unroll 8
  for (i64 i = begin + thread; i < end; i += blockDim.x) best = better_of(best, found(number(x[i]), i));
  best = best_of_block(best, values, places);
  if (thread > 0) return;
  best_values[(i64)blockIdx.y * gridDim.x + blockIdx.x] = best.value;
  best_places[(i64)blockIdx.y * gridDim.x + blockIdx.x] = best.at;
}

extern "C" __global__ void arg_joins(const Number* best_values, const i64* best_places, int* y, int stretches) {
  __shared__ Number values[256];
  __shared__ i64 places[256];
  best_values += (i64)blockIdx.x * stretches;
  best_places += (i64)blockIdx.x * stretches;
  Found best = {0, -1};
  for (int i = threadIdx.x; i < stretches; i += blockDim.x) best = better_of(best, Found{best_values[i], best_places[i]});
  best = best_of_block(best, values, places);
  if (threadIdx.x == 0) y[blockIdx.x] = best.at < 0 ? 0 : (int)best.at;
}

// x is [outer, n, inner]; one thread a column.
extern "C" __global__ void arg_columns(const FROM* x, int* y, i64 outer, i64 n, i64 inner) {
  for (i64 task = first_index(); task < outer * inner; task += index_step()) {
    const FROM* from = x + task / inner * n * inner + task % inner;
    Found best = {0, -1};
    for (i64 i = 0; i < n; i++) best = better_of(best, found(number(from[i * inner]), i));
    y[task] = best.at < 0 ? 0 : (int)best.at;
  }
}
