import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { layerOf } from '../../test/layers.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, someOf, valuesOf } from '../../test/selections.js';
import type { FrozenLayer } from './frozen-layer.js';
import { projectRows } from './project-rows.js';
import { layerGradReference, layerReference } from './project-rows.reference.js';

/** Loss Σ y·dy of all layers, whose gradients are those for dy. */
const weighted = (ys: readonly tf.Tensor2D[], dys: readonly tf.Tensor2D[]) =>
  tf.addN(ys.map((y, n) => tf.sum(tf.mul(y, dys[n]!)))) as tf.Scalar;

describe.each(PATHS)('projectRows() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    // tokens, dense rows, inputs, outputs of each layer, ranks, bias (or magnitudes), sparse
    [0, 0, 3, [4, 2], [2, 0], false, true],
    [1, 1, 1, [1], [1], false, false],
    [5, 5, 7, [6, 4, 4], [2, 3, 0], true, false],
    [6, 0, 5, [8, 4, 4], [2, 2, 2], false, true],
    [9, 4, 6, [8, 4, 4], [0, 0, 0], true, true],
    [33, 12, 17, [24, 6, 6], [4, 4, 4], false, true],
    [7, 7, 6, [8, 4, 4], [2, 2, 2], 'magnitudes', false],
    [19, 5, 8, [16, 8, 8], [3, 0, 3], 'magnitudes', true],
  ])(
    'equals its reference, and its gradients too: %i tokens, %i dense, %i inputs, outputs %j, ranks %j, bias %j, sparse %j',
    (T, D, inputs, outs, ranks, bias, sparse) => {
      const x = random2d(T, inputs, 1);
      const both = outs.map((out, n) =>
        layerOf(
          {
            ...{ out, inputs, rank: ranks[n]!, select: sparse ? out : 0 },
            ...{ bias: bias === true, magnitude: bias === 'magnitudes' },
          },
          10 * (n + 1),
        ),
      );
      const layers = both.map(({ layer }) => layer);
      const dys = outs.map((out, n) => random2d(T, out, 90 + n));
      projectRows(x, layers, D).forEach((y, n) => {
        expectAllClose(`y${n}`, y, layerReference(valuesOf(x), T, both[n]!.plain, D, 'outputs'));
      });
      const branches = layers.flatMap(({ lora }) =>
        lora ? [lora.a, lora.b, ...(lora.magnitude ? [lora.magnitude] : [])] : [],
      );
      const gradients = tf.grads((x, ...branches) => {
        let next = 0;
        const given = layers.map((layer) =>
          layer.lora
            ? {
                ...layer,
                lora: {
                  ...layer.lora,
                  a: branches[next++] as tf.Tensor2D,
                  b: branches[next++] as tf.Tensor2D,
                  magnitude: layer.lora.magnitude && (branches[next++] as tf.Tensor1D),
                },
              }
            : layer,
        );
        return weighted(projectRows(x as tf.Tensor2D, given, D), dys);
      })([x, ...branches]);
      const expected = both.map(({ plain }, n) =>
        layerGradReference(valuesOf(x), valuesOf(dys[n]!), T, plain, D, 'outputs'),
      );
      const dx = new Float64Array(T * inputs);
      for (const { dx: part } of expected)
        part.forEach((g, i) => {
          dx[i]! += g;
        });
      expectAllClose('dx', gradients[0]!, dx, TOLERANCE.gradient);
      expected
        .flatMap(({ dA, dB, dm }) => [dA, dB, dm].filter((g) => g !== null))
        .forEach((g, n) => {
          expectAllClose(`gradient of branch ${n}`, gradients[n + 1]!, g, TOLERANCE.gradient);
        });
    },
  );

  it('leaves a tensor for each layer, and none after its gradients', async () => {
    const x = random2d(5, 4, 1);
    const layers = [6, 4].map((out, n) => layerOf({ out, inputs: 4, rank: 2, bias: false, select: out }, n).layer);
    await expectNoLeak(() => projectRows(x, layers, 2), 2);
    await expectNoLeak(() =>
      tf
        .grad((x) => tf.addN(projectRows(x as tf.Tensor2D, layers, 2).map((y) => tf.sum(y))))(x)
        .dispose(),
    );
  });

  it('says what it wanted when the shapes do not fit', () => {
    const x = tf.zeros([2, 3]) as tf.Tensor2D;
    const layer: FrozenLayer = { weight: tf.zeros([4, 3]), bias: null, keep: null, lora: null };
    expect(() => projectRows(tf.zeros([2, 5]), [layer], 2)).toThrow(
      'projectRows: x [2,5] must have as many columns as weight [4,3]',
    );
    expect(() => projectRows(x, [layer], 3)).toThrow('denseRows is 3, must be a whole number from 0 to 2');
    expect(() => projectRows(x, [{ ...layer, keep: someOf(3) }], 1)).toThrow('the selection is of 3 channels');
    const lora = { a: tf.zeros([1, 2]) as tf.Tensor2D, b: tf.zeros([4, 1]) as tf.Tensor2D, scaling: 1 };
    expect(() => projectRows(x, [{ ...layer, lora }], 1)).toThrow('must be [T, in], [T, out], [r, in] and [out, r]');
  });
});
