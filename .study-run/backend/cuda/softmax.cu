// Softmax of rows, or its logarithm with LOG: one block a row, which is read twice, the second time from the cache. FROM is the element.
#include "elements.cuh"

extern "C" __global__ void softmax_rows(const FROM* x, FROM* y, i64 rows, i64 n) {
  for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
    const FROM* from = x + row * n;
    FROM* to = y + row * n;
    float most = -SPFT_INFINITY, sum = 0.0f;
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
      const float value = to_float(from[i]);
      if (value > most) {
        sum = sum * expf(most - value) + 1.0f;
        most = value;
      } else if (value != -SPFT_INFINITY) {
        sum += expf(value - most);
      }
    }
    const float greatest = block_max(most);
    // A thread that saw nothing adds nothing, also where the whole row is -infinity.
    const float total = block_sum(sum == 0.0f ? 0.0f : sum * expf(most - greatest));
#ifdef LOG
    const float subtract = greatest + logf(total);
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) to[i] = from_float<FROM>(to_float(from[i]) - subtract);
#else
    const float factor = 1.0f / total;
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) to[i] = from_float<FROM>(expf(to_float(from[i]) - greatest) * factor);
#endif
  }
}
