// From kv channels to query channels of grouped-query attention: kv channel (h, i) belongs with query channels (h·G + g)·d + i, g < G.
#include "spft.cuh"

// y[h·d + i] = k[h·d + i] · mean over g of q[(h·G + g)·d + i].
extern "C" __global__ void combine_scores(const float* q, const float* k, float* y, int channels, int group, int head) {
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  const int h = c / head, i = c - h * head;
  float sum = 0.0f;
  for (int g = 0; g < group; g++) sum += q[(h * group + g) * head + i];
  y[c] = sum / group * k[c];
}

// Place of the first of `kept` ascending indices that is not below `channel`.
__device__ __forceinline__ int lower_bound(const int* indices, int kept, int channel) {
  int low = 0, high = kept;
  while (low < high) {
    const int middle = (low + high) >> 1;
    if (indices[middle] < channel) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The query channels of kept kv channels, ascending. Before those of kv head h come G for each kept channel of the heads before; within a kv
// head one query head comes after the other.
extern "C" __global__ void query_channels(const int* indices, int* y, int kept, int group, int head) {
  const int j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= kept) return;
  const int channel = indices[j], h = channel / head, i = channel - h * head;
  const int begin = lower_bound(indices, kept, h * head), count = lower_bound(indices, kept, (h + 1) * head) - begin;
  for (int g = 0; g < group; g++) y[begin * group + g * count + j - begin] = (h * group + g) * head + i;
}
