// The `kept` highest of n scores as ascending indices; of equal scores the lower index first. One block of 1024 threads, see top-k.cuh.
#include "top-k.cuh"

#define THREADS 1024

extern "C" __global__ void __launch_bounds__(THREADS) top_k(const float* scores, int* indices, int n, int kept) {
  keep_highest<PER_THREAD, THREADS>(scores, indices, n, kept);
}
