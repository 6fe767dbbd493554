// Rows of a frozen matrix as a product with few rows of activations reads them (gemv.cu): a thread takes UNIT neighbours of a row at a time, in loads of
// 16 bytes that are read once and leave the cache alone, and unpacks eight of them at a time. One struct a stored form, chosen by FORM.
//
// A form has: UNIT, how many numbers a thread loads at a time, a multiple of 8 that divides a row; Unit, these in registers as they lie; `load` of the unit
// that begins at `column` of row `row`; `octet`, eight numbers of a unit as floats; and `scale`, by which a row's sum is multiplied. `codes` and `extra`
// are the two addresses that the form's matrices have (src/forms): the matrix itself, and what is kept beside it.
#pragma once
#include "e4m3.cuh"

__device__ __forceinline__ Words4 load_once(const void* from) {
  Words4 words;
  ptx_load_once(from, words.word);
  return words;
}

#define FORM_BF16 0
#define FORM_F32 1
#define FORM_E4M3 2

#if FORM == FORM_BF16
#define UNIT 8
struct Unit {
  Words4 words;
  __device__ __forceinline__ void load(const u8* codes, const u8*, i64 row, int column, int columns) {
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
  __device__ __forceinline__ void load(const u8* codes, const u8*, i64 row, int column, int columns) {
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
struct Unit {
  Words4 words;
  __device__ __forceinline__ void load(const u8* codes, const u8*, i64 row, int column, int columns) {
    words = load_once(codes + row * columns + column);
  }
  __device__ __forceinline__ void octet(int n, float (&to)[8]) const {
#pragma unroll
    for (int i = 0; i < 8; i++) to[i] = to_float(e4m3{(u8)(words.word[2 * n + i / 4] >> 8 * (i % 4))});
  }
};
// One scale a matrix.
__device__ __forceinline__ float scale_of(const u8* extra) { return *(const float*)extra; }
#endif
