// Slices written where indices say, several to one place summed (MODE Sum) or the last of them kept (MODE Last), without atomics: the indices
// are sorted first (sort.cu), the key's upper half the place and its lower half the slice, so that the slices of one place are neighbours, in
// order. FROM and TO are the elements.
#include "elements.cuh"

// Indices that are out of range sort last.
extern "C" __global__ void scatter_keys(const int* indices, u64* keys, i64 count, i64 padded, i64 places) {
  for (i64 n = first_index(); n < padded; n += index_step()) {
    const i64 place = n < count ? (i64)indices[n] : -1;
    keys[n] = place >= 0 && place < places ? (u64)place << 32 | (u64)n : ~0ull;
  }
}

struct Sum {
  template <typename N> static __device__ __forceinline__ N of(N before, N x) { return before + x; }
};
struct Last {
  template <typename N> static __device__ __forceinline__ N of(N, N x) { return x; }
};

// `step` is 0 where all slices are one and the same.
extern "C" __global__ void scatter_slices(const u64* keys, const FROM* updates, TO* to, i64 count, i64 slice, i64 step) {
  for (i64 n = first_index(); n < count * slice; n += index_step()) {
    const i64 at = n / slice, element = n - at * slice;
    const u64 key = keys[at];
    const u32 place = (u32)(key >> 32);
    // The first of its place does all of them.
    if (key == ~0ull || (at > 0 && (u32)(keys[at - 1] >> 32) == place)) continue;
    decltype(number(FROM{})) result = number(updates[(i64)(u32)key * step + element]);
    for (i64 next = at + 1; next < count && (u32)(keys[next] >> 32) == place; next++)
      result = MODE::of(result, number(updates[(i64)(u32)keys[next] * step + element]));
    to[(i64)place * slice + element] = Stored<TO>::of(result);
  }
}
