// One value everywhere; float tensors take `value`, others `integer`.
#include "elements.cuh"

__device__ __forceinline__ float chosen(float, float value, int) { return value; }
__device__ __forceinline__ int chosen(int, float, int integer) { return integer; }

extern "C" __global__ void fill(TO* to, i64 size, i64 packs, float value, int integer) {
  const TO item = Stored<TO>::of(chosen(number(TO{}), value, integer));
  Pack<TO, 8> pack;
#pragma unroll
  for (int n = 0; n < 8; n++) pack.item[n] = item;
  for (i64 i = first_index(); i < packs; i += index_step()) ((Pack<TO, 8>*)to)[i] = pack;
  for (i64 i = 8 * packs + first_index(); i < size; i += index_step()) to[i] = item;
}
