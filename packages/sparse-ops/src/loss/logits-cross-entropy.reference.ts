/** @file Plain loops that say the same as logits-cross-entropy.ts. */

/** Σᵣ (log Σⱼ exp z[r, j] − Σⱼ w[r, j]·z[r, j]) with w = (1 − ε)·[j = label] + ε / V, and its gradient softmax(z) − w. */
export function logitsCrossEntropyReference(
  logits: Float32Array,
  labels: ArrayLike<number>,
  V: number,
  epsilon = 0,
): { loss: number; dz: Float32Array } {
  const dz = new Float32Array(logits.length);
  let loss = 0;
  for (let r = 0; r < labels.length; r++) {
    const z = logits.subarray(r * V, (r + 1) * V);
    const highest = Math.max(...z);
    const total = z.reduce((sum, value) => sum + Math.exp(value - highest), 0);
    loss += highest + Math.log(total);
    for (let j = 0; j < V; j++) {
      const wanted = (j === labels[r] ? 1 - epsilon : 0) + epsilon / V;
      loss -= wanted * z[j]!;
      dz[r * V + j] = Math.exp(z[j]! - highest) / total - wanted;
    }
  }
  return { loss, dz };
}
