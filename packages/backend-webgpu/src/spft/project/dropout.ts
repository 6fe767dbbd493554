/** @file Dropout whose mask is a function of seed and place; the host's spreads the seed, the shader hashes each place with it. */
import type * as tf from '@tensorflow/tfjs';
import { type Call, f32, forEach, output, sizeOf } from '../../shared/call.js';

/** lowbias32 (Wellons 2018), as packages/sparse-ops/src/kernels/host/dropout.ts has it. */
function spread(seed: number): number {
  let h = seed | 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}

function dropout({ backend, inputs: { x }, attributes }: Call<'SpftDropout'>): tf.TensorInfo {
  const { rate, seed, seedAt } = attributes;
  const y = output(backend, x.shape);
  const before = spread(seed);
  const within = spread(before ^ 0x9e3779b9);
  const dropBelow = Math.round(rate * 2 ** 32) - 2 ** 31;
  const recorded = seedAt !== undefined && backend.isStepInput(seedAt.values);
  const numbers = [
    ...(recorded ? [0, 0] : [before, within]),
    dropBelow,
    f32(1 / (1 - rate)),
    recorded ? seedAt.index : 0,
  ];
  const bindings = [x, y, recorded ? seedAt.values : x];
  forEach(backend, 'dropout', [sizeOf(x.shape), ...numbers], bindings, { RECORDED: recorded });
  return y;
}

export const dropoutKernels = { SpftDropout: dropout };
