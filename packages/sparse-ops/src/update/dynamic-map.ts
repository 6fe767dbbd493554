/**
 * @file The 256 values that a moment in 8 bits can have, relative to the largest of its block, and how a number is rounded to one of them: bitsandbytes'
 * dynamic data type (Dettmers et al. 2022, arXiv:2110.02861; `create_dynamic_map` in its functional.py, `quantize_2D` in its kernels.cu).
 *
 * A number goes to the nearest value; one that lies just between two goes to the one of even code, as the binary search of bitsandbytes' CUDA kernel has
 * it. A first moment keeps its sign: what is below zero never becomes zero.
 */

/** Numbers that share a scale. */
export const BLOCK = 256;
/** int32 words that hold the codes of a block, four a word, the first in the lowest byte. */
export const BLOCK_WORDS = BLOCK / 4;

/** Ascending, of float32 values. Signed from −0.993 to 1, unsigned from 0 to 1. */
export function dynamicMap(signed: boolean): Float32Array {
  const values = [0, 1];
  for (let i = 0; i < 7; i++) {
    // torch.linspace(0.1, 1, items): in float32, from either end to the middle; torch's own last bit depends on the processor's vectors.
    const items = 2 ** (signed ? i : i + 1) + 1;
    const step = Math.fround(Math.fround(1 - Math.fround(0.1)) / (items - 1));
    const boundary = (n: number) =>
      n < items / 2
        ? Math.fround(Math.fround(0.1) + Math.fround(step * n))
        : Math.fround(1 - Math.fround(step * (items - 1 - n)));
    const scale = Math.fround(10 ** (i - 6));
    for (let n = 0; n + 1 < items; n++) {
      const mean = Math.fround(scale * Math.fround(Math.fround(boundary(n) + boundary(n + 1)) / 2));
      values.push(mean);
      if (signed) values.push(-mean);
    }
  }
  return Float32Array.from(values).sort();
}

/** A finite number that nothing reaches: moments are divided by the largest of their block. */
const NEVER = 2;

/** What is at least element k is rounded to code k + 1 or a greater one; ascending. The last is out of reach, so that a search needs no bounds. */
export function codeThresholds(map: Float32Array): Float32Array {
  const thresholds = new Float32Array(BLOCK).fill(NEVER);
  for (let k = 0; k + 1 < BLOCK; k++) {
    const middle = Math.fround(Math.fround(map[k]! + map[k + 1]!) * 0.5);
    // From an odd code to an even one the middle itself belongs to the upper.
    thresholds[k] = k % 2 === 1 ? middle : nextAbove(middle);
    if (map[k]! < 0 && map[k + 1] === 0) thresholds[k] = 0;
  }
  return thresholds;
}

/** The smallest float32 above a finite one. */
function nextAbove(value: number): number {
  const single = Float32Array.of(value);
  const bits = new Int32Array(single.buffer);
  if (value === 0) bits[0] = 1;
  else bits[0]! += value > 0 ? 1 : -1;
  return single[0]!;
}

/** Rows of the tensor that kernels get: values and thresholds of first moments, then of second ones. */
const TABLE_ROWS = ['firstMap', 'firstThresholds', 'secondMap', 'secondThresholds'] as const;

/** [4, 256], row by row as `TABLE_ROWS` has them. */
export function momentTables(): Float32Array {
  const [signed, unsigned] = [dynamicMap(true), dynamicMap(false)];
  const tables = new Float32Array(TABLE_ROWS.length * BLOCK);
  [signed, codeThresholds(signed), unsigned, codeThresholds(unsigned)].forEach((row, n) => {
    tables.set(row, n * BLOCK);
  });
  return tables;
}

/** Blocks of so many numbers; the last may not be full. */
export const blocksOf = (size: number): number => Math.ceil(size / BLOCK);
