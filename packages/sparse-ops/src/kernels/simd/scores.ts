/** @file Scores of a gated MLP's channels without the activations that they are norms of, which would be a number for each token and channel. */
import { share } from './kernels.js';
import type { SimdRun } from './module.js';

const FLOAT = 4;

export const gatedScores: SimdRun<'SpftGatedScores'> = (call, { x, gateA, gateB, upA, upB }) => {
  const [T, inputs] = x!.shape as [number, number];
  const [r, n] = gateB!.shape as [number, number];
  const scores = call.output([n]);
  const [pGate, pUp] = [call.scratch(T * r), call.scratch(T * r)];
  const tensors = [x!, gateA!, upA!, gateB!, upB!, scores].map((info) => call.at(info));
  const [xAt, gateAAt, upAAt, gateBAt, upBAt, y] = tensors as [number, number, number, number, number, number];
  const [row, thin] = [inputs * FLOAT, r * FLOAT];
  share(call, T, 2 * inputs * r, 4, (from, to) => {
    for (const [a, p] of [
      [gateAAt, pGate],
      [upAAt, pUp],
    ] as const) {
      const product = [xAt + from * row, row, FLOAT, a, thin, p + from * thin, thin];
      call.pool.call('product', ...product, 0, to - from, inputs, r, 1);
    }
  });
  share(call, n, 4 * T * r, 4, (from, to) =>
    call.pool.call('gatedScores', from, to, pGate, pUp, r, gateBAt, upBAt, T, n, y),
  );
  return scores;
};
