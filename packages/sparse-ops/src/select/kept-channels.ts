/** @file How many channels a sparsity keeps. */

/**
 * floor(total·(1 − sparsity)) as the original takes it, in double precision (160·(1 − 0.9) keeps 15), then rounded up to a multiple that
 * the hardware likes (16 on CUDA), never above `total`; at least 1.
 * @param sparsity fraction dropped, 0 to 1.
 * @throws RangeError when sparsity is no fraction, or total or multiple no positive whole number.
 */
export function keptChannels(total: number, sparsity: number, multiple = 1): number {
  if (!(sparsity >= 0 && sparsity <= 1)) {
    throw new RangeError(`keptChannels: sparsity is ${sparsity}, must be the fraction dropped, from 0 to 1`);
  }
  for (const [name, value] of Object.entries({ total, multiple })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new RangeError(`keptChannels: ${name} is ${value}, must be a positive whole number`);
    }
  }
  const kept = Math.max(1, Math.floor(total * (1 - sparsity)));
  return Math.min(total, Math.ceil(kept / multiple) * multiple);
}
