// Rows of a frozen matrix as a product with few rows of activations reads them (gemv.cu): a thread takes UNIT neighbours of a row at a time, in loads of
// 16 bytes that are read once and leave the cache alone, and unpacks eight of them at a time. One struct a stored form, chosen by FORM.
//
// A form has: UNIT, how many numbers a thread loads at a time, a multiple of 8 that divides a row; Unit, these in registers as they lie; `load` of the unit
// that begins at `column` of row `row` of matrix `number`; `octet`, eight numbers of a unit as floats; and `scale_of`, by which a row's sum is multiplied. X_SCALE, if there is one, multiplies x. Where
// it has UNIT_SCALES, the sum of a unit is multiplied by its `scale` too. `codes` and `extra` are the two addresses that the form's matrices have (src/forms):
// the matrix itself, and what is kept beside it. `begin_form` is called by all threads before anything is loaded.
#pragma once
#include "e4m3.cuh"
#include "four-bit.cuh"

__device__ __forceinline__ Words4 load_once(const void* from) {
  Words4 words;
  ptx_load_once(from, words.word);
  return words;
}

#define FORM_BF16 0
#define FORM_F32 1
#define FORM_E4M3 2
#define FORM_4BIT 3

#if FORM == FORM_BF16
#define UNIT 8
struct Unit {
  Words4 words;
  __device__ __forceinline__ void load(const u8* codes, const u8*, i64 row, int column, int columns, int) {
    words = load_once((const bf16*)codes + row * columns + column);
  }
  __device__ __forceinline__ void octet(int, float (&to)[8]) const {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      to[2 * i] = low_float(words.word[i]);
      to[2 * i + 1] = high_float(words.word[i]);
    }
  }
};
__device__ __forceinline__ float scale_of(const u8*) { return 1.0f; }

#elif FORM == FORM_F32
#define UNIT 8
struct Unit {
  Words4 words[2];
  __device__ __forceinline__ void load(const u8* codes, const u8*, i64 row, int column, int columns, int) {
    const float* from = (const float*)codes + row * columns + column;
    words[0] = load_once(from);
    words[1] = load_once(from + 4);
  }
  __device__ __forceinline__ void octet(int, float (&to)[8]) const {
#pragma unroll
    for (int i = 0; i < 8; i++) to[i] = __uint_as_float(words[i / 4].word[i % 4]);
  }
};
__device__ __forceinline__ float scale_of(const u8*) { return 1.0f; }

#elif FORM == FORM_E4M3
#define UNIT 16
// Codes behind each row, which are of no concern here.
#ifndef BEHIND
#define BEHIND 0
#endif
struct Unit {
  Words4 words;
  __device__ __forceinline__ void load(const u8* codes, const u8*, i64 row, int column, int columns, int) {
    words = load_once(codes + row * (columns + BEHIND) + column);
  }
  __device__ __forceinline__ void octet(int n, float (&to)[8]) const {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const u32 code = words.word[2 * n + i / 4] << 8 * (3 - i % 4);
      to[i] = __uint_as_float((code & 0x80000000u) | (code >> 4 & 0x07f00000u));
    }
  }
};
// A code's bits in a float's places are its number times 2^-120 (NaN is none of them: such a matrix is refused when it is stored). Half of that is made up for in
// x and half in the sum, so that nothing comes near the ends of what a float can be.
#define X_SCALE 0x1p60f
// One scale a matrix.
__device__ __forceinline__ float scale_of(const u8* extra) { return *(const float*)extra * 0x1p60f; }

#elif FORM == FORM_4BIT
// What a number of a block is without its scale is looked up, and the scale multiplies the sum of the unit: the matrix's numbers before they are rounded to the
// type that it was in, which costs a lookup and a multiply-add each.
#define UNIT_SCALES
#define UNIT (BATCH > 2 ? 16 : 32)
#define BOOKS 3
// Sixteen numbers in as many banks, for each matrix.
__shared__ float books[BOOKS * 16];
__device__ __forceinline__ void begin_form(const u8* extra0, const u8* extra1, const u8* extra2) {
  const int number = threadIdx.x >> 4;
  const u8* extra = number == 0 ? extra0 : number == 1 ? extra1 : extra2;
  if (threadIdx.x < 16 * BOOKS) books[threadIdx.x] = extra ? ((const FourBit*)extra)->map[threadIdx.x & 15] : 0.0f;
  // Fewer threads than numbers.
  if (blockDim.x == 32 && threadIdx.x < 16) books[32 + threadIdx.x] = extra2 ? ((const FourBit*)extra2)->map[threadIdx.x] : 0.0f;
  __syncthreads();
}
struct Unit {
  u32 words[UNIT / 8];
  u32 book, code;
  float part;
  __device__ __forceinline__ void load(const u8* codes, const u8* extra, i64 row, int column, int columns, int number) {
    const i64 at = row * columns + column;
#if UNIT == 32
    ptx_load_once(codes + at / 2, words);
#else
    const Words2 pair = *(const Words2*)(codes + at / 2);
    words[0] = pair.word[0], words[1] = pair.word[1];
#endif
    book = 16 * number;
    const FourBit* of = (const FourBit*)extra;
    const i64 block = at >> of->block_shift;
    const u8* scales = extra + of->absmax;
    // The scale itself is made when it is wanted: what is looked up now is under way meanwhile.
    if (of->nested_map == 0) part = ((const float*)scales)[block];
    else {
      code = scales[block];
      part = ((const float*)(extra + of->nested_absmax))[block >> of->nested_shift];
    }
  }
  __device__ __forceinline__ void octet(int n, float (&to)[8]) const {
#pragma unroll
    for (int i = 0; i < 8; i++) to[i] = books[book | (words[n] >> (8 * (i / 2) + (i & 1 ? 0 : 4)) & 15u)];
  }
  __device__ __forceinline__ float scale(const u8* extra) const {
    const FourBit* of = (const FourBit*)extra;
    if (of->nested_map == 0) return part;
    return __fadd_rn(__fmul_rn(((const float*)(extra + of->nested_map))[code], part), of->offset);
  }
};
__device__ __forceinline__ float scale_of(const u8*) { return 1.0f; }
#endif

#if FORM != FORM_4BIT
__device__ __forceinline__ void begin_form(const u8*, const u8*, const u8*) {}
#endif
