/** @file Plain loops that say the same as svd.ts, head-channels.ts and select-channels.ts, written from NOTES. */
import type { HeadLayout } from '@spft/sparse-ops';
import type { Compat } from './types.js';

/** Wᵀ ≈ a·b: a [in, r], b [r, out] row-major. */
export interface LowRankReference {
  readonly a: ArrayLike<number>;
  readonly b: ArrayLike<number>;
  readonly rank: number;
}

/** x·a·b: x [T, in] → [T, out]. */
export function estimateReference(x: ArrayLike<number>, T: number, { a, b, rank }: LowRankReference): number[][] {
  const inputs = a.length / rank;
  const out = b.length / rank;
  return Array.from({ length: T }, (_, t) =>
    Array.from({ length: out }, (_, o) => {
      let sum = 0;
      for (let r = 0; r < rank; r++) {
        let inner = 0;
        for (let i = 0; i < inputs; i++) inner += x[t * inputs + i]! * a[i * rank + r]!;
        sum += inner * b[r * out + o]!;
      }
      return sum;
    }),
  );
}

/** L2 norm of each column. */
export function normsReference(rows: readonly ArrayLike<number>[]): number[] {
  return Array.from(rows[0]!, (_, c) => Math.sqrt(rows.reduce((sum, row) => sum + row[c]! ** 2, 0)));
}

/** Mean row of each sequence: x [T, n] whose row t is packed token `tokenOfRow[t]`. */
export function meansReference(
  x: ArrayLike<number>,
  n: number,
  starts: ArrayLike<number>,
  tokenOfRow: ArrayLike<number>,
): number[] {
  const B = starts.length - 1;
  const means = new Array<number>(B * n).fill(0);
  for (let row = 0; row < tokenOfRow.length; row++) {
    let b = 0;
    while (tokenOfRow[row]! >= starts[b + 1]!) b++;
    for (let c = 0; c < n; c++) means[b * n + c]! += x[row * n + c]! / (starts[b + 1]! - starts[b]!);
  }
  return means;
}

/** silu(gate) ⊙ up, norms over rows. */
export function mlpScoresReference(
  x: ArrayLike<number>,
  T: number,
  gate: LowRankReference,
  up: LowRankReference,
): number[] {
  const [g, u] = [estimateReference(x, T, gate), estimateReference(x, T, up)];
  return normsReference(g.map((row, t) => row.map((value, c) => (value / (1 + Math.exp(-value))) * u[t]![c]!)));
}

/** qk scores over kv channels. */
export function combineReference(
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  { heads, kvHeads, headDim: d }: HeadLayout,
  compat: Compat,
): number[] {
  const G = heads / kvHeads;
  return Array.from(k, (score, c) => {
    let sum = 0;
    for (let g = 0; g < G; g++) {
      sum += compat === 'reference' ? q[g * kvHeads * d + c]! : q[(Math.floor(c / d) * G + g) * d + (c % d)]!;
    }
    return (sum / G) * score;
  });
}

/** The `kept` highest, ascending; of equal ones the lower index. */
export function topReference(scores: ArrayLike<number>, kept: number): number[] {
  return Array.from(scores, (_, i) => i)
    .sort((i, j) => scores[j]! - scores[i]! || i - j)
    .slice(0, kept)
    .sort((i, j) => i - j);
}

/** The `kept` highest of each kv head. */
export function topPerHeadReference(
  scores: ArrayLike<number>,
  kept: number,
  { kvHeads, headDim }: HeadLayout,
): number[] {
  return Array.from({ length: kvHeads }, (_, h) =>
    topReference(Array.from(scores).slice(h * headDim, (h + 1) * headDim), kept).map((c) => h * headDim + c),
  ).flat();
}

/** Query channels of kv channels. */
export function queryReference(
  kv: readonly number[],
  { heads, kvHeads, headDim: d }: HeadLayout,
  compat: Compat,
): number[] {
  const G = heads / kvHeads;
  return kv
    .flatMap((c) =>
      Array.from({ length: G }, (_, g) =>
        compat === 'reference' ? c * G + g : (Math.floor(c / d) * G + g) * d + (c % d),
      ),
    )
    .sort((i, j) => i - j);
}
