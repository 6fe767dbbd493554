// A matrix of bytes whose rows are `stride` apart, or rows of it by index, transposed: to[c, r] = from[rows_of[r], c]. Counts, strides and addresses are multiples of 16. A block of 256
// threads has a tile of 128 by 128, which it reads and writes in lines of 128 bytes; in shared memory units of 16 bytes change places so that neither
// way meets a bank twice.
#include "spft.cuh"

// Four words, each four columns of a row, as four columns.
__device__ __forceinline__ void transpose_words(u32 a, u32 b, u32 c, u32 d, u32 (&to)[4]) {
  const u32 low_ab = __byte_perm(a, b, 0x5140), low_cd = __byte_perm(c, d, 0x5140);
  const u32 high_ab = __byte_perm(a, b, 0x7362), high_cd = __byte_perm(c, d, 0x7362);
  to[0] = __byte_perm(low_ab, low_cd, 0x5410);
  to[1] = __byte_perm(low_ab, low_cd, 0x7632);
  to[2] = __byte_perm(high_ab, high_cd, 0x5410);
  to[3] = __byte_perm(high_ab, high_cd, 0x7632);
}

extern "C" __global__ void transpose_bytes(const u8* from, const int* rows_of, u8* to, int rows, int columns, int stride, int to_stride) {
  __shared__ Words4 tile[128 * 8];
  const int row0 = blockIdx.y * 128, column0 = blockIdx.x * 128;
#pragma unroll
  for (int k = 0; k < 4; k++) {
    const int r = (threadIdx.x >> 3) + 32 * k, unit = threadIdx.x & 7;
    const int row = row0 + r, column = column0 + 16 * unit;
    if (row < rows && column < columns)
      tile[8 * r + (unit ^ r >> 4)] = *(const Words4*)(from + (i64)(rows_of ? rows_of[row] : row) * stride + column);
  }
  __syncthreads();
  // Rows [16 * stretch, +16) of columns [4 * word, +4).
  const int stretch = threadIdx.x & 7, word = threadIdx.x >> 3;
  if (row0 + 16 * stretch >= rows || column0 + 4 * word >= columns) return;
  const u32* words = (const u32*)tile;
  const int place = word ^ stretch << 2;
  u32 out[4][4];
#pragma unroll
  for (int k = 0; k < 4; k++) {
    const u32* at = words + (16 * stretch + 4 * k) * 32 + place;
    u32 four[4];
    transpose_words(at[0], at[32], at[64], at[96], four);
#pragma unroll
    for (int j = 0; j < 4; j++) out[j][k] = four[j];
  }
#pragma unroll
  for (int j = 0; j < 4; j++) {
    u8* line = to + (i64)(column0 + 4 * word + j) * to_stride + row0 + 16 * stretch;
    *(Words4*)line = Words4{{out[j][0], out[j][1], out[j][2], out[j][3]}};
  }
}
