/** @file Plain loops that say the same as gated-scores.ts. */

/** Row-major a [in, r] and b [r, n]. */
export interface LowRankReference {
  readonly a: ArrayLike<number>;
  readonly b: ArrayLike<number>;
  readonly r: number;
}

export function gatedScoresReference(
  x: ArrayLike<number>,
  gate: LowRankReference,
  up: LowRankReference,
  { B, In, n }: { readonly B: number; readonly In: number; readonly n: number },
): number[] {
  const estimate = ({ a, b, r }: LowRankReference, row: number, j: number): number => {
    let sum = 0;
    for (let k = 0; k < r; k++) {
      let inner = 0;
      for (let i = 0; i < In; i++) inner += x[row * In + i]! * a[i * r + k]!;
      sum += inner * b[k * n + j]!;
    }
    return sum;
  };
  return Array.from({ length: n }, (_, j) => {
    let squares = 0;
    for (let row = 0; row < B; row++) {
      const g = estimate(gate, row, j);
      squares += ((g / (1 + Math.exp(-g))) * estimate(up, row, j)) ** 2;
    }
    return Math.sqrt(squares);
  });
}
