// Rows by index, and their gradient. Rows are moved in units of UNIT (bytes of 1, 2, 4 or 16), whatever their numbers are.
#include "octets.cuh"

template <int Bytes> struct Unit {};
template <> struct Unit<1> { typedef u8 Type; };
template <> struct Unit<2> { typedef u16 Type; };
template <> struct Unit<4> { typedef u32 Type; };
template <> struct Unit<16> { typedef Words4 Type; };

#ifdef UNIT
typedef Unit<UNIT>::Type Moved;

// y[r] = x[rows[r]], each of `units` units; zeros where rows[r] is below 0. A block has blockDim.y rows.
__device__ __forceinline__ void gather(const Moved* x, const int* rows, Moved* y, int count, i64 units) {
  const i64 r = (i64)blockIdx.x * blockDim.y + threadIdx.y;
  if (r >= count) return;
  const int row = rows[r];
  const Moved* from = x + (i64)row * units;
  Moved* to = y + r * units;
  const i64 step = (i64)gridDim.y * blockDim.x;
  for (i64 u = (i64)blockIdx.y * blockDim.x + threadIdx.x; u < units; u += 4 * step) {
    Moved unit[4];
#pragma unroll
    for (int k = 0; k < 4; k++) {
      unit[k] = Moved();
      if (row >= 0 && u + k * step < units) unit[k] = from[u + k * step];
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (u + k * step < units) to[u + k * step] = unit[k];
    }
  }
}

extern "C" __global__ void gather_rows(const Moved* x, const int* rows, Moved* y, int count, i64 units) { gather(x, rows, y, count, units); }

// Rows of two matrices one below the other: y[r] = first[rows[r]], and y[count + r] = second[rows[r]]. blockIdx.z is the matrix.
extern "C" __global__ void gather_rows_of_two(const Moved* first, const Moved* second, const int* rows, Moved* y, int count, i64 units) {
  gather(blockIdx.z ? second : first, rows, y + blockIdx.z * count * units, count, units);
}

// first, then second: `split` units and the rest.
extern "C" __global__ void join_rows(const Moved* first, const Moved* second, Moved* y, i64 split, i64 units) {
  const i64 step = (i64)gridDim.x * blockDim.x;
  for (i64 u = (i64)blockIdx.x * blockDim.x + threadIdx.x; u < units; u += step) y[u] = u < split ? first[u] : second[u - split];
}
#endif

#ifdef X
// dx[m] = Σ of the dy[r] with rows[r] = m, in the order of r. A block has a row of dx and looks through all of `rows`; most find nothing.
extern "C" __global__ void gather_rows_grad(const X* dy, const int* rows, X* dx, int count, int n, int aligned) {
  const int m = blockIdx.x;
  __shared__ int found[256];
  __shared__ int of_warp[8];
  int any = 0;
  for (int r = threadIdx.x; r < count; r += blockDim.x) any |= rows[r] == m;
  any = __syncthreads_or(any);
  dx += (i64)m * n;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  for (int begin = 0; begin < n; begin += 8 * blockDim.x) {
    const int at = begin + 8 * threadIdx.x, left = n - at;
    float sum[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    for (int first = 0; any && first < count; first += blockDim.x) {
      // Those of the next 256 that match, in order.
      const int r = first + threadIdx.x;
      const bool matches = r < count && rows[r] == m;
      const u32 matching = __ballot_sync(0xffffffffu, matches);
      if (lane == 0) of_warp[warp] = __popc(matching);
      __syncthreads();
      int place = __popc(matching & ((1u << lane) - 1u)), total = 0;
      for (int w = 0; w < (int)(blockDim.x >> 5); w++) {
        if (w < warp) place += of_warp[w];
        total += of_warp[w];
      }
      if (matches) found[place] = r;
      __syncthreads();
      for (int f = 0; f < total && left > 0; f++) {
        float one[8];
        load_octet(dy + (i64)found[f] * n + at, left, aligned, one);
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] += one[i];
      }
      __syncthreads();
    }
    if (left > 0) store_octet(dx + at, left, aligned, sum);
  }
}
#endif
