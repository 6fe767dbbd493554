import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { layerOf } from '../../test/layers.js';
import { PATHS, usePath } from '../../test/paths.js';
import { indicesOf, random2d, someOf, valuesOf } from '../../test/selections.js';
import { gatedMlp } from './gated-mlp.js';
import { gatedMlpGradReference, gatedMlpReference } from './gated-mlp.reference.js';

/** Weights [I, H], [I, H], [H, I], as tensors and as numbers. */
function mlpOf(H: number, I: number, bias: boolean, keep: ReadonlySet<number> | null) {
  const common = { rank: 0, bias, select: 0 };
  const gate = layerOf({ ...common, out: I, inputs: H }, 10);
  const up = layerOf({ ...common, out: I, inputs: H }, 20);
  const down = layerOf({ ...common, out: H, inputs: I }, 30);
  return {
    weights: { gate: gate.layer, up: up.layer, down: down.layer },
    plain: { gate: { ...gate.plain, keep }, up: { ...up.plain, keep }, down: { ...down.plain, keep } },
  };
}

describe.each(PATHS)('gatedMlp() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    // tokens, dense rows, hidden, intermediate, bias, sparse
    [0, 0, 3, 4, false, true],
    [1, 1, 1, 1, false, false],
    [5, 5, 7, 9, true, false],
    [6, 0, 5, 8, false, true],
    [9, 4, 6, 11, true, true],
    [33, 12, 16, 48, false, true],
  ])(
    'equals its reference, and its gradients too: %i tokens, %i dense, %i hidden, %i intermediate, bias %j, sparse %j',
    (T, D, H, I, bias, sparse) => {
      const keep = sparse ? someOf(I) : null;
      const { weights, plain } = mlpOf(H, I, bias, keep && new Set(indicesOf(keep)));
      const [x, residual, dy] = [random2d(T, H, 1), random2d(T, H, 2), random2d(T, H, 3)];
      const expected = gatedMlpReference(valuesOf(x), valuesOf(residual), T, plain, D);
      expectAllClose('y', gatedMlp(x, residual, weights, keep, D), expected);
      const [dx, dresidual] = tf.grads((x, residual) =>
        gatedMlp(x as tf.Tensor2D, residual as tf.Tensor2D, weights, keep, D),
      )([x, residual], dy);
      expectAllClose('dx', dx!, gatedMlpGradReference(valuesOf(x), valuesOf(dy), T, plain, D), TOLERANCE.gradient);
      expectAllClose('dresidual', dresidual!, valuesOf(dy));
    },
  );

  it('leaves one tensor, and none after its gradients', async () => {
    const { weights } = mlpOf(4, 6, false, null);
    const [x, residual, keep] = [random2d(5, 4, 1), random2d(5, 4, 2), someOf(6)];
    await expectNoLeak(() => gatedMlp(x, residual, weights, keep, 2), 1);
    await expectNoLeak(() =>
      tf.dispose(tf.grads((x, r) => gatedMlp(x as tf.Tensor2D, r as tf.Tensor2D, weights, keep, 2))([x, residual])),
    );
  });

  it('says what it wanted when the shapes do not fit', () => {
    const { weights } = mlpOf(4, 6, false, null);
    const x = tf.zeros([2, 4]) as tf.Tensor2D;
    expect(() => gatedMlp(x, tf.zeros([3, 4]), weights, null, 2)).toThrow(
      'must be [I, H], [I, H], [H, I] and [T, H] for x [2,4]',
    );
    expect(() => gatedMlp(x, x, { ...weights, down: weights.gate }, null, 2)).toThrow('down [6,4]');
    expect(() => gatedMlp(x, x, weights, someOf(5), 2)).toThrow('the selection is of 5 channels');
  });
});
