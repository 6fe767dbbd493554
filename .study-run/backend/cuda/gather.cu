// Slices of a tensor by index, moved in words of WORD; a slice that is not there is zeros, as no error can be thrown from here.
#include "elements.cuh"
#include "strided.cuh"

// to[b, o, i, :] = from[b, o, indices[b, i], :]; `words` a slice, `choices` slices to choose from.
extern "C" __global__ void gather(const WORD* from, const int* indices, WORD* to, i64 size, Index outer, Index count, i64 choices, Index words) {
  for (i64 n = first_index(); n < size; n += index_step()) {
    const Index slice = (Index)n / words, word = (Index)n - slice * words;
    const Index group = slice / count, i = slice - group * count;
    const i64 chosen = indices[(i64)(group / outer) * count + i];
    WORD value = {};
    if (chosen >= 0 && chosen < choices) value = from[((i64)group * choices + chosen) * words + word];
    to[n] = value;
  }
}

// Index vectors of up to six dimensions as single indices, or -1 where one is out of range.
extern "C" __global__ void flatten_indices(const int* indices, int* flat, i64 count, int rank, SPFT_SIX(int, size), SPFT_SIX(int, stride)) {
  SPFT_ARRAY(int, size);
  SPFT_ARRAY(int, stride);
  for (i64 n = first_index(); n < count; n += index_step()) {
    int at = 0;
    bool valid = true;
#pragma unroll
    for (int d = 0; d < SPFT_DIMENSIONS; d++) {
      if (d < SPFT_DIMENSIONS - rank) continue;
      const int index = indices[n * rank + d - (SPFT_DIMENSIONS - rank)];
      valid = valid && index >= 0 && index < size[d];
      at += index * stride[d];
    }
    flat[n] = valid ? at : -1;
  }
}

extern "C" __global__ void one_hot(const int* indices, WORD* to, i64 size, int depth, WORD on, WORD off) {
  for (i64 n = first_index(); n < size; n += index_step()) {
    const i64 row = n / depth;
    to[n] = indices[row] == (int)(n - row * depth) ? on : off;
  }
}
