/** @file Ops on whole rows: RMSNorm, RoPE, SwiGLU, dropout; rows gathered, split and joined. */
import type * as tf from '@tensorflow/tfjs-core';
import { sizeOf } from '../../backend.js';
import type { BlasKernel } from '../../shared/call.js';

export const rmsNorm: BlasKernel<'SpftRmsNorm'> = (call, { x, weight }, { eps }) => {
  const [T, H] = x!.shape as [number, number];
  const y = call.output(x!.shape);
  call.share('rmsNorm', T, H, call.at(x!), call.at(weight!), call.at(y), H, eps);
  return y;
};

export const rmsNormGrad: BlasKernel<'SpftRmsNormGrad'> = (call, { x, weight, dy }, { eps }) => {
  const [T, H] = x!.shape as [number, number];
  const dx = call.output(x!.shape);
  call.share('rmsNormGrad', T, 2 * H, call.at(x!), call.at(weight!), call.at(dy!), call.at(dx), H, eps);
  return dx;
};

export const rope: BlasKernel<'SpftRope'> = (call, { x, cos, sin }, { headDim, inverse }) => {
  const [T, width] = x!.shape as [number, number];
  const y = call.output(x!.shape);
  const tensors = [x!, cos!, sin!, y].map((info) => call.at(info));
  call.share('rope', T, width, ...tensors, width / headDim, headDim / 2, inverse ? -1 : 1);
  return y;
};

export const swiglu: BlasKernel<'SpftSwiglu'> = (call, { gate, up }) => {
  const y = call.output(gate!.shape);
  call.share('swiglu', sizeOf(y.shape), 4, call.at(gate!), call.at(up!), call.at(y));
  return y;
};

export const swigluGrad: BlasKernel<'SpftSwigluGrad'> = (call, { gate, up, dy }) => {
  const outputs = [call.output(gate!.shape), call.output(gate!.shape)];
  call.share('swigluGrad', sizeOf(gate!.shape), 6, ...[gate!, up!, dy!, ...outputs].map((info) => call.at(info)));
  return outputs;
};

/** lowbias32 (Wellons 2018): spreads a seed over 32 bits, as sparse-ops has it. */
function spread(seed: number): number {
  let h = seed | 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}

export const dropout: BlasKernel<'SpftDropout'> = (call, { x }, { rate, seed }) => {
  const y = call.output(x!.shape);
  const before = spread(seed);
  const within = spread(before ^ 0x9e3779b9);
  const dropBelow = Math.round(rate * 2 ** 32) - 2 ** 31;
  call.share('dropout', sizeOf(y.shape), 2, call.at(x!), call.at(y), before, within, dropBelow, 1 / (1 - rate));
  return y;
};

/** The rows of x that `index` names, of n numbers each, by JavaScript: for what does not lie in the shared memory. */
export function copyRows(x: Float32Array, index: ArrayLike<number>, n: number, to: Float32Array): void {
  for (let r = 0; r < index.length; r++) to.set(x.subarray(index[r]! * n, (index[r]! + 1) * n), r * n);
}

/** The matrix may be a vocabulary's, which is not worth moving into the shared memory for a few rows. */
export const gatherRows: BlasKernel<'SpftGatherRows'> = (call, { x, rows }) => {
  const n = x!.shape[1]!;
  const y = call.output([rows!.shape[0]!, n]);
  copyRows(call.values(x!), call.values(rows!), n, call.values(y));
  return y;
};

/** Rows named twice add up. */
export const gatherRowsGrad: BlasKernel<'SpftGatherRowsGrad'> = (call, { dy, rows }, { total }) => {
  const [count, n] = dy!.shape as [number, number];
  const dx = call.output([total, n]);
  call.values(dx).fill(0);
  call.pool.kernels.addRowsAt(call.at(dy!), call.at(rows!), count, n, 0, call.at(dx));
  return dx;
};

/** Both halves are views: nothing is copied. */
export const splitRows: BlasKernel<'SpftSplitRows'> = (call, { x }, { at }) => {
  const [rows, n] = x!.shape as [number, number];
  return [call.view(x!, [at, n], 0), call.view(x!, [rows - at, n], at * n)];
};

export const joinRows: BlasKernel<'SpftJoinRows'> = (call, { first, second }) => {
  const { pool } = call;
  const [a, b] = [first!, second!].map(({ shape }: tf.TensorInfo) => shape[0]!) as [number, number];
  const n = first!.shape[1]!;
  const y = call.output([a + b, n]);
  pool.call('copy', call.at(first!), call.at(y), 4 * a * n);
  pool.endChunk();
  pool.call('copy', call.at(second!), call.at(y) + 4 * a * n, 4 * b * n);
  pool.endChunk();
  pool.run();
  return y;
};
