/** @file Plain loops that say the same as linear-cross-entropy.ts. */

/** Σᵣ (log Σⱼ exp z[r, j] − z[r, label]) with z = x·Wᵀ, and dx[r] = Σⱼ (softmax(z)[r, j] − [j = label])·W[j]. */
export function linearCrossEntropyReference(
  x: Float32Array,
  weight: Float32Array,
  labels: ArrayLike<number>,
  H: number,
  V: number,
): { loss: number; dx: Float32Array } {
  const dx = new Float32Array(x.length);
  let loss = 0;
  for (let r = 0; r < labels.length; r++) {
    const z = Array.from({ length: V }, (_, j) => {
      let dot = 0;
      for (let h = 0; h < H; h++) dot += x[r * H + h]! * weight[j * H + h]!;
      return dot;
    });
    const highest = Math.max(...z);
    const total = z.reduce((sum, value) => sum + Math.exp(value - highest), 0);
    loss += highest + Math.log(total) - z[labels[r]!]!;
    z.forEach((value, j) => {
      const dz = Math.exp(value - highest) / total - (j === labels[r] ? 1 : 0);
      for (let h = 0; h < H; h++) dx[r * H + h]! += dz * weight[j * H + h]!;
    });
  }
  return { loss, dx };
}
