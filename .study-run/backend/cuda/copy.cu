// Moves words of WORD (u8 to 16 bytes) between places that strides describe: slices, reversals, broadcasts, concatenations, paddings.
#include "elements.cuh"
#include "strided.cuh"

extern "C" __global__ void copy_strided(const WORD* from, WORD* to, i64 size, int rank, SPFT_SIX(Index, size_), SPFT_SIX(Offset, in),
                                        SPFT_SIX(Offset, out)) {
  SPFT_ARRAY(Index, size_);
  const Offset strides[2][SPFT_DIMENSIONS] = {{in0, in1, in2, in3, in4, in5}, {out0, out1, out2, out3, out4, out5}};
  for (i64 i = first_index(); i < size; i += index_step()) {
    Offset at[2];
    locate(i, rank, size_, strides, at);
    to[at[1]] = from[at[0]];
  }
}
