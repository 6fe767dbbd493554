/**
 * @file Scores of a gated MLP's channels without the activations that they are norms of, which would be a number for each token and channel: they exist for
 * a block of rows and columns at a time. A column is summed over rows in their order, however columns are shared out among threads.
 */
import type { KernelInputsOf } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs-core';
import type { Place } from '../../backend.js';
import type { NativeAddress } from '../../library/blas.js';
import type { BlasKernel, Call } from '../../shared/call.js';
import { addProduct, multiply, UNPACKED } from '../../shared/product.js';
import { inScratch } from '../../threads/pool.js';

/** Of a block at most: its two estimates fit into a core's cache. */
const ROWS = 128;
const COLUMNS = 512;

export const gatedScores: BlasKernel<'SpftGatedScores'> = (call, { x, ...predictors }) => {
  const [rows, inputs] = x!.shape as [number, number];
  const scores = call.output([predictors.gateB!.shape[1]!]);
  scoreGated(call, { at: call.at(x!), rows, inputs }, predictors, call.at(scores));
  return scores;
};

/** Makes the scores at `scores` of rows [rows, inputs] at `x.at`. */
export function scoreGated(
  call: Call,
  { at, rows: T, inputs }: { readonly at: Place; readonly rows: number; readonly inputs: number },
  { gateA, gateB, upA, upB }: Omit<KernelInputsOf<'SpftGatedScores'>, 'x'>,
  scores: Place,
): void {
  const { pool } = call;
  const [r, n] = gateB!.shape as [number, number];
  if (T === 0 || inputs === 0 || r === 0) {
    pool.kernels.zero(scores, 4 * n);
    return;
  }
  const p = pool.native(call.scratch(T * 2 * r));
  const [left, right] = [[pool.native(at), inputs] as const, [sideBySide(call, gateA!, upA!), 2 * r] as const];
  multiply(pool, { m: T, n: 2 * r, k: inputs, a: left, b: right, c: [p, 2 * r] });
  const [gateAt, upAt] = [call.native(gateB!), call.native(upB!)];
  const parts = Math.max(Math.ceil(n / COLUMNS), Math.min(2 * pool.threads, Math.ceil(n / 64)));
  const step = 16 * Math.ceil(n / parts / 16);
  const blockRows = Math.max(16, Math.min(ROWS, Math.floor(UNPACKED / (step * r) / 16) * 16));
  pool.reserveScratch(8 * blockRows * step);
  const [gate, up] = [inScratch(0), inScratch(4 * blockRows * step)];
  for (let j = 0; j < n; j += step) {
    const columns = Math.min(step, n - j);
    pool.call('zero', scores + 4 * j, 4 * columns);
    for (let t = 0; t < T; t += blockRows) {
      const size = { m: Math.min(blockRows, T - t), n: columns, k: r };
      const row = p + 8 * t * r;
      addProduct(pool, { ...size, a: [row, 2 * r], b: [gateAt + 4 * j, n], c: [gate, step] });
      addProduct(pool, { ...size, a: [row + 4 * r, 2 * r], b: [upAt + 4 * j, n], c: [up, step] });
      pool.call('addGatedSquares', size.m, columns, gate, up, step, scores + 4 * j);
    }
    pool.endChunk();
  }
  pool.run();
  const values = call.backend.heap.f32(scores, n);
  for (let c = 0; c < n; c++) values[c] = Math.LN2 * Math.sqrt(values[c]!);
}

/** Gate's A, times −log₂ e, beside up's: [inputs, 2 · r] in scratch. As thin as each is, one product of both takes little more than one of one. */
function sideBySide(call: Call, gateA: tf.TensorInfo, upA: tf.TensorInfo): NativeAddress {
  const [inputs, r] = gateA.shape as [number, number];
  const side = call.scratch(inputs * 2 * r);
  const [to, gate, up] = [call.backend.heap.f32(side, inputs * 2 * r), call.values(gateA), call.values(upA)];
  for (let i = 0, from = 0, at = 0; i < inputs; i++, from += r, at += 2 * r) {
    for (let j = 0; j < r; j++) {
      to[at + j] = -Math.LOG2E * gate[from + j]!;
      to[at + r + j] = up[from + j]!;
    }
  }
  return call.pool.native(side);
}
