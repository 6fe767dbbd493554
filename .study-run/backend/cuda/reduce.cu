// Sums, products, extremes and truths over rows or columns: OP names the operation; FROM and TO are the elements (types of spft.cuh). Floats are
// added in float and integers in int, in an order that the launch fixes, so that results repeat to the bit.
//
// A long reduction is cut into `splits` whose partial results a second launch reduces.
#include "sum-and-product.cuh"

__device__ __forceinline__ float least(float) { return -SPFT_INFINITY; }
__device__ __forceinline__ int least(int) { return -2147483647 - 1; }
struct Max {
  static __device__ __forceinline__ Number start() { return least(Number()); }
  static __device__ __forceinline__ Number of(Number a, Number b) { return greater_of(a, b); }
};
struct Min {
  static __device__ __forceinline__ float greatest(float) { return SPFT_INFINITY; }
  static __device__ __forceinline__ int greatest(int) { return 2147483647; }
  static __device__ __forceinline__ Number start() { return greatest(Number()); }
  static __device__ __forceinline__ Number of(Number a, Number b) { return lesser_of(a, b); }
};
struct All {
  static __device__ __forceinline__ Number start() { return 1; }
  static __device__ __forceinline__ Number of(Number a, Number b) { return a != 0 && b != 0; }
};
struct Any {
  static __device__ __forceinline__ Number start() { return 0; }
  static __device__ __forceinline__ Number of(Number a, Number b) { return a != 0 || b != 0; }
};

__device__ __forceinline__ float scaled(float x, float scale) { return x * scale; }
__device__ __forceinline__ int scaled(int x, float) { return x; }

__device__ __forceinline__ Number of_warp(Number x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) x = OP::of(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}

// What thread `lane` of `lanes` has of row[begin, end); with `packed`, whose begin, end and address are multiples of a pack.
__device__ __forceinline__ Number of_thread(const FROM* row, i64 begin, i64 end, int lane, int lanes, bool packed) {
  Number result = OP::start();
  if (packed) {
    for (i64 i = begin / 8 + lane; i < end / 8; i += lanes) {
      const Pack<FROM, 8> pack = ((const Pack<FROM, 8>*)row)[i];
#pragma unroll
      for (int n = 0; n < 8; n++) result = OP::of(result, number(pack.item[n]));
    }
  } else {
    for (i64 i = begin + lane; i < end; i += lanes) result = OP::of(result, number(row[i]));
  }
  return result;
}

// y[row, split] of x[rows, n]: one block each, in turns.
extern "C" __global__ void reduce_rows(const FROM* x, TO* y, i64 rows, i64 n, i64 chunk, int splits, int packed, float scale) {
  __shared__ Number of_warps[32];
  for (i64 task = blockIdx.x; task < rows * splits; task += gridDim.x) {
    const i64 row = task / splits, begin = task % splits * chunk;
    const i64 end = begin + chunk < n ? begin + chunk : n;
    Number result = of_warp(of_thread(x + row * n, begin, end, threadIdx.x, blockDim.x, packed));
    if ((threadIdx.x & 31) == 0) of_warps[threadIdx.x >> 5] = result;
    __syncthreads();
    if (threadIdx.x < 32) {
      result = of_warp(threadIdx.x < (blockDim.x >> 5) ? of_warps[threadIdx.x] : OP::start());
      if (threadIdx.x == 0) y[task] = Stored<TO>::of(scaled(result, scale));
    }
    __syncthreads();
  }
}

// Short rows: one warp each.
extern "C" __global__ void reduce_short_rows(const FROM* x, TO* y, i64 rows, i64 n, int packed, float scale) {
  const int warps = blockDim.x >> 5;
  for (i64 row = (i64)blockIdx.x * warps + (threadIdx.x >> 5); row < rows; row += (i64)gridDim.x * warps) {
    const Number result = of_warp(of_thread(x + row * n, 0, n, threadIdx.x & 31, 32, packed));
    if ((threadIdx.x & 31) == 0) y[row] = Stored<TO>::of(scaled(result, scale));
  }
}

// y[outer, split, inner] of x[outer, n, inner]: one thread each.
extern "C" __global__ void reduce_columns(const FROM* x, TO* y, i64 outer, i64 n, i64 inner, i64 chunk, int splits, float scale) {
  for (i64 task = first_index(); task < outer * splits * inner; task += index_step()) {
    const i64 column = task % inner, group = task / inner;
    const i64 begin = group % splits * chunk;
    const i64 end = begin + chunk < n ? begin + chunk : n;
    const FROM* from = x + group / splits * n * inner + column;
    Number result = OP::start();
#pragma unroll 4
    for (i64 i = begin; i < end; i++) result = OP::of(result, number(from[i * inner]));
    y[task] = Stored<TO>::of(scaled(result, scale));
  }
}
