// Elements of one tensor where a condition holds, of another where not; a condition is worth `inner` elements.
#include "elements.cuh"

extern "C" __global__ void select_elements(const u8* condition, const LEFT* a, const RIGHT* b, TO* to, i64 size, i64 inner, i64 packs) {
  for (i64 i = first_index(); i < packs; i += index_step()) {
    const Pack<u8, 8> which = ((const Pack<u8, 8>*)condition)[i];
    const Pack<LEFT, 8> from_a = ((const Pack<LEFT, 8>*)a)[i];
    const Pack<RIGHT, 8> from_b = ((const Pack<RIGHT, 8>*)b)[i];
    Pack<TO, 8> results;
#pragma unroll
    for (int n = 0; n < 8; n++) results.item[n] = which.item[n] ? Stored<TO>::of(number(from_a.item[n])) : Stored<TO>::of(number(from_b.item[n]));
    ((Pack<TO, 8>*)to)[i] = results;
  }
  for (i64 i = 8 * packs + first_index(); i < size; i += index_step())
    to[i] = condition[i / inner] ? Stored<TO>::of(number(a[i])) : Stored<TO>::of(number(b[i]));
}
