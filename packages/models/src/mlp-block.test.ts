/** @file What replaces dropped channels, in the MLP: on sparse rows alone, with its gradient, and nothing else changes. */
import type { SparsityPlan } from '@spft/estimator';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import {
  ALL_PROJECTIONS,
  attachAdapters,
  BATCH,
  fixedEstimator,
  lossAndGradients,
  plan,
  pseudoRandom,
  tinyBatch,
  tinyModel,
} from '../test/tiny.js';
import type { Step } from './step.js';

const [H, RANK, LAYER] = [16, 2, 1];
const matrix = (rows: number, columns: number, seed: number) =>
  tf.tensor2d(pseudoRandom(rows * columns, seed), [rows, columns]);

describe.each(TEST_BACKENDS)('a compensated MLP on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([[[]], [ALL_PROJECTIONS]])('adds the map of its input on sparse rows, adapters on %s', async (targets) => {
    const model = await tinyModel();
    attachAdapters(model, targets);
    const { layout } = tinyBatch(BATCH);
    const [T, D] = [layout.tokens, layout.denseTokens];
    const map = { down: matrix(RANK, H, 1), up: matrix(H, RANK, 2), bias: tf.tensor1d(pseudoRandom(H, 3)) };
    const [x, residual, dy] = [matrix(T, H, 4), matrix(T, H, 5), matrix(T, H, 6)];
    const run = (compensation: object) => {
      const step = { layout, training: false, seed: 0, maskSeeds: null } as unknown as Step;
      const sparse = { ...step, plan: { ...plan(fixedEstimator('gather')), ...compensation } };
      const f = (x: tf.Tensor, r: tf.Tensor) =>
        model.parts.layers[LAYER]!.mlp.forward(x as tf.Tensor2D, r as tf.Tensor2D, sparse);
      return [f(x, residual), ...tf.grads(f)([x, residual], dy)];
    };
    const [[y, dx, dr], [y0, dx0, dr0]] = [run({ compensation: new Map([[LAYER, map]]) }), run({})];
    const none = tf.zeros([D, H]) as tf.Tensor2D;
    const rows = (t: tf.Tensor2D) => tf.slice(t, [D, 0]) as tf.Tensor2D;
    const added = tf.add(
      tf.matMul(tf.matMul(rows(x), map.down, false, true), map.up, false, true),
      map.bias,
    ) as tf.Tensor2D;
    const back = tf.matMul(tf.matMul(rows(dy), map.up), map.down) as tf.Tensor2D;
    expectAllClose('y', tf.sub(y!, y0!), tf.concat([none, added]), TOLERANCE.gradient);
    expectAllClose('dx', tf.sub(dx!, dx0!), tf.concat([none, back]), TOLERANCE.gradient);
    expectAllClose('dresidual', dr!, dr0!);
    const other = run({ compensation: new Map([[0, map]]) });
    expectAllClose('another layer', other[0]!, y0!);
  });

  it('is the same with checkpointing, leaks nothing, and leaves dense runs alone', async () => {
    const model = await tinyModel();
    attachAdapters(model, ALL_PROJECTIONS);
    const maps = [1, 2].map((layer) => {
      const map = { down: matrix(RANK, H, layer), up: matrix(H, RANK, 7), bias: tf.tensor1d(pseudoRandom(H, 3)) };
      return [layer, map] as const;
    });
    const batch = tinyBatch(BATCH);
    const withMaps: SparsityPlan = { ...plan(fixedEstimator('gather')), compensation: new Map(maps) };
    const result = (sparsity: SparsityPlan | null, gradientCheckpointing: boolean) => {
      model.setSparsity(sparsity);
      return lossAndGradients(model, batch, { gradientCheckpointing });
    };
    const [once, again] = [result(withMaps, false), result(withMaps, true)];
    expectAllClose('loss', again.loss, once.loss);
    for (const [name, gradient] of once.gradients)
      expectAllClose(name, again.gradients.get(name)!, gradient, TOLERANCE.gradient);
    expect(result(plan(fixedEstimator('gather')), false).loss[0]).not.toBeCloseTo(once.loss[0]!, 4);
    expect(result({ ...withMaps, enabled: false }, false)).toEqual(result(null, false));
    await expectNoLeak(() => void result(withMaps, false));
  });
});
