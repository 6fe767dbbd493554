/** @file A training step whose kernels get no more tensors than WebGPU takes, with many of everything of which there can be many. */
import { adamwUpdate, clipScale, globalNorm, zeroMoments } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterAll, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../test/support/allclose.js';
import { NARROW, registerNarrowBackend } from '../../../test/support/narrow-backend.js';
import {
  ALL_PROJECTIONS,
  attachAdapters,
  fixedEstimator,
  lossAndGradients,
  plan,
  tinyBatch,
  tinyModel,
} from '../test/tiny.js';

afterAll(() => tf.setBackend('cpu'));

/** Loss, gradients, and variables after a step of clipped AdamW. */
async function step(backend: string, applies: 'gather' | 'mask') {
  await tf.setBackend(backend);
  const model = await tinyModel();
  attachAdapters(model, ALL_PROJECTIONS);
  model.setSparsity(plan(fixedEstimator(applies)));
  // Twelve sequences.
  const batch = tinyBatch(Array.from({ length: 12 }, (_, n) => [3 + (n % 4), 1 + (n % 3)] as const));
  const { loss, gradients } = lossAndGradients(model, batch);
  const variables = [...model.variables.values()];
  const given = [...gradients.values()].map((values, n) => tf.tensor(values, variables[n]!.shape));
  const state = { firstMoments: zeroMoments(variables), secondMoments: zeroMoments(variables) };
  const gradientScale = clipScale(globalNorm(given), 0.1);
  adamwUpdate(variables, given, state, { learningRate: 0.01, step: 1, gradientScale });
  const after = variables.map((variable) => variable.dataSync() as Float32Array);
  model.dispose();
  return { loss, gradients, after };
}

it.each(['gather', 'mask'] as const)(
  'a step of a sparse model with adapters everywhere, channels by %s',
  async (applies) => {
    registerNarrowBackend();
    const expected = await step('cpu', applies);
    const narrow = await step(NARROW, applies);
    expect(expected.gradients.size).toBeGreaterThan(40);
    expectAllClose('loss', narrow.loss, expected.loss);
    for (const [name, gradient] of expected.gradients) {
      expectAllClose(name, narrow.gradients.get(name)!, gradient, TOLERANCE.gradient);
    }
    expected.after.forEach((values, n) => {
      expectAllClose(`variable ${n} after the step`, narrow.after[n]!, values, TOLERANCE.gradient);
    });
  },
);
