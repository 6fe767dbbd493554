// Sorts rows of 64-bit keys in ascending order, each row a power of two long, by a bitonic network: within tiles in shared memory as far as
// that goes, else one launch a step. The upper half of a key is what is compared, the lower says where it came from, so that no two are equal.
#include "elements.cuh"

#define TILE 2048

__device__ __forceinline__ void order(u64& low, u64& high, bool ascending) {
  if ((low > high) == ascending) {
    const u64 other = low;
    low = high;
    high = other;
  }
}

// Steps of stages `from` to `to` (lengths of sorted runs, powers of two) that stay within a tile.
extern "C" __global__ void sort_tiles(u64* keys, i64 size, i64 row, i64 from, i64 to) {
  __shared__ u64 tile[TILE];
  for (i64 begin = (i64)blockIdx.x * TILE; begin < size; begin += (i64)gridDim.x * TILE) {
    for (int i = threadIdx.x; i < TILE; i += blockDim.x) tile[i] = begin + i < size ? keys[begin + i] : ~0ull;
    __syncthreads();
    for (i64 run = from; run <= to; run *= 2) {
      for (int half = (int)(run / 2 < TILE / 2 ? run / 2 : TILE / 2); half > 0; half /= 2) {
        for (int pair = threadIdx.x; pair < TILE / 2; pair += blockDim.x) {
          const int i = 2 * pair - (pair & (half - 1));
          order(tile[i], tile[i + half], (((begin + i) & (row - 1)) & run) == 0);
        }
        __syncthreads();
      }
    }
    for (int i = threadIdx.x; i < TILE && begin + i < size; i += blockDim.x) keys[begin + i] = tile[i];
    __syncthreads();
  }
}

// One step: elements that are `half` apart, in runs of length `run`.
extern "C" __global__ void sort_step(u64* keys, i64 size, i64 row, i64 run, i64 half) {
  for (i64 pair = first_index(); pair < size / 2; pair += index_step()) {
    const i64 i = 2 * pair - (pair & (half - 1));
    order(keys[i], keys[i + half], ((i & (row - 1)) & run) == 0);
  }
}
