/** @file Scores of a gated MLP's channels without the activations that they are norms of, which would be a number for each token and channel. */
import type { BlasKernel } from '../../shared/call.js';
import { multiply } from '../../shared/product.js';

export const gatedScores: BlasKernel<'SpftGatedScores'> = (call, { x, gateA, gateB, upA, upB }) => {
  const { pool } = call;
  const [T, inputs] = x!.shape as [number, number];
  const [r, n] = gateB!.shape as [number, number];
  const scores = call.output([n]);
  const estimates = [gateA!, upA!].map((a) => {
    const p = call.scratch(T * r);
    multiply(pool, {
      m: T,
      n: r,
      k: inputs,
      a: [call.native(x!), inputs],
      b: [call.native(a), r],
      c: [pool.native(p), r],
    });
    return p;
  });
  const [gate, up] = [call.at(gateB!), call.at(upB!)];
  call.share('gatedScores', n, 4 * T * r, ...estimates, r, gate, up, T, n, call.at(scores));
  return scores;
};
