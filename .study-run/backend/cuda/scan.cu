// Running sums (OP Sum) or products (OP Prod) of rows, one block of 256 threads a row in turns, tile after tile. FROM and TO are the elements.
#include "sum-and-product.cuh"

extern "C" __global__ void scan_rows(const FROM* x, TO* y, i64 rows, i64 n, int exclusive, int reverse) {
  __shared__ Number of_warps[8];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
    Number before = OP::start();
    for (i64 begin = 0; begin < n; begin += 256) {
      const i64 i = begin + threadIdx.x;
      const i64 at = row * n + (reverse ? n - 1 - i : i);
      const Number own = i < n ? number(x[at]) : OP::start();
      Number upto = own;
#pragma unroll
      for (int offset = 1; offset < 32; offset <<= 1) {
        const Number other = __shfl_up_sync(0xffffffffu, upto, offset);
        if (lane >= offset) upto = OP::of(other, upto);
      }
      if (lane == 31) of_warps[warp] = upto;
      // What is before this thread in its warp.
      Number ahead = __shfl_up_sync(0xffffffffu, upto, 1);
      if (lane == 0) ahead = OP::start();
      __syncthreads();
      Number prefix = before;
      for (int w = 0; w < 8; w++) {
        if (w < warp) prefix = OP::of(prefix, of_warps[w]);
        before = OP::of(before, of_warps[w]);
      }
      if (i < n) y[at] = Stored<TO>::of(OP::of(prefix, exclusive ? ahead : upto));
      __syncthreads();
    }
  }
}
