/**
 * @file The code books of bitsandbytes: NF4 (QLoRA, Dettmers et al. 2023, arXiv:2305.14314, appendix E), FP4, and the dynamic 8 bit map in which double
 * quantisation holds scales (arXiv:1511.04561). A code stands for its number in the book times a scale.
 */
import type { FourBitType } from '../contract/layers.js';

const f = Math.fround;

/** What each code stands for, as `quant_map` of a checkpoint has it. */
export const CODE_BOOKS: Readonly<Record<FourBitType, Float32Array>> = {
  nf4: Float32Array.of(
    ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334],
    ...[-0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224],
    ...[0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
  ),
  // In twelfths, as bitsandbytes' FP4 has an exponent of its own for the least number.
  fp4: Float32Array.of(
    ...[0, 0.0625, 8, 12, 4, 6, 2, 3].map((x) => x / 12),
    ...[0, -0.0625, -8, -12, -4, -6, -2, -3].map((x) => x / 12),
  ),
};

/** The codes of a book by what they stand for, ascending, and the numbers half way between neighbours. */
export interface CodeOrder {
  readonly codes: Uint8Array;
  /** One fewer than codes: x has code n of `codes` for bounds[n − 1] < x ≤ bounds[n]. */
  readonly bounds: Float32Array;
}

function orderOf(book: Float32Array): CodeOrder {
  // FP4 has two codes of 0. The lower one comes first, as in bitsandbytes: the sort is stable.
  const codes = Uint8Array.from([...book.keys()].sort((a, b) => book[a]! - book[b]!));
  const bounds = Float32Array.from(
    { length: book.length - 1 },
    (_, n) => f(book[codes[n]!]! + book[codes[n + 1]!]!) / 2,
  );
  return { codes, bounds };
}

export const CODE_ORDERS: Readonly<Record<FourBitType, CodeOrder>> = {
  nf4: orderOf(CODE_BOOKS.nf4),
  fp4: orderOf(CODE_BOOKS.fp4),
};

/** Numbers from 0.1 to 1 as torch.linspace has them in float32: counted from the nearer end, each a fused multiply-add, which a double holds exactly. */
function stretch(count: number): number[] {
  const first = f(0.1);
  const step = f(f(1 - first) / (count - 1));
  return Array.from({ length: count }, (_, n) =>
    f(n < Math.floor(count / 2) ? first + step * n : 1 - step * (count - n - 1)),
  );
}

/** `create_dynamic_map()`: the 256 numbers of 8 bit codes, ascending; seven exponents, whose fractions have 0 to 6 bits, with signs, 0 and 1. */
export const DYNAMIC_MAP: Float32Array = (() => {
  const numbers = [0, 1];
  for (let exponent = 0; exponent < 7; exponent++) {
    const edges = stretch(2 ** exponent + 1);
    const size = f(10 ** (exponent - 6));
    for (let n = 0; n + 1 < edges.length; n++) {
      const mean = f(size * f(f(edges[n]! + edges[n + 1]!) / 2));
      numbers.push(mean, -mean);
    }
  }
  return Float32Array.from(numbers).sort();
})();
