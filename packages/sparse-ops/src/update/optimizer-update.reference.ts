/** @file Plain loops that say the same as optimizer-update.ts, in double precision, for one tensor. */

export interface AdamwReferenceOptions {
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly scale: number;
}

/** Takes one AdamW step for each of `gradients`, starting from zero moments. */
export function adamwReference(
  p: ArrayLike<number>,
  gradients: readonly ArrayLike<number>[],
  o: AdamwReferenceOptions,
): { p: number[]; m: number[]; v: number[] } {
  const result = { p: Array.from(p), m: Array.from(p, () => 0), v: Array.from(p, () => 0) };
  gradients.forEach((gradient, index) => {
    const step = index + 1;
    for (let i = 0; i < p.length; i++) {
      const g = gradient[i]! * o.scale;
      result.p[i]! *= 1 - o.learningRate * o.weightDecay;
      result.m[i] = o.beta1 * result.m[i]! + (1 - o.beta1) * g;
      result.v[i] = o.beta2 * result.v[i]! + (1 - o.beta2) * g * g;
      const mean = result.m[i]! / (1 - o.beta1 ** step);
      const square = result.v[i]! / (1 - o.beta2 ** step);
      result.p[i]! -= (o.learningRate * mean) / (Math.sqrt(square) + o.epsilon);
    }
  });
  return result;
}

/** Takes one 'SpftSgd' step for each of `gradients`, starting without momentum. */
export function sgdReference(
  p: ArrayLike<number>,
  gradients: readonly ArrayLike<number>[],
  o: { learningRate: number; weightDecay: number; momentum: number; scale: number },
): { p: number[]; m: number[] } {
  const result = { p: Array.from(p), m: Array.from(p, () => 0) };
  for (const gradient of gradients) {
    for (let i = 0; i < p.length; i++) {
      result.m[i] = o.momentum * result.m[i]! + gradient[i]! * o.scale + o.weightDecay * result.p[i]!;
      result.p[i]! -= o.learningRate * result.m[i]!;
    }
  }
  return result;
}
