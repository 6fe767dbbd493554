import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { layerOf } from '../../test/layers.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import { projectColumns } from './project-columns.js';
import { layerGradReference, layerReference } from './project-rows.reference.js';

describe.each(PATHS)('projectColumns() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    // tokens, dense rows, inputs, outputs, rank, bias (or magnitude), sparse
    [0, 0, 3, 4, 2, false, true],
    [1, 1, 1, 1, 1, true, false],
    [5, 5, 7, 6, 2, true, false],
    [6, 0, 8, 5, 3, true, true],
    [9, 4, 8, 6, 0, false, true],
    [33, 12, 24, 17, 4, false, true],
    [7, 7, 6, 8, 2, 'magnitude', false],
    [19, 5, 16, 9, 3, 'magnitude', true],
  ])(
    'equals its reference, and its gradients too: %i tokens, %i dense, %i inputs, %i outputs, rank %i, bias %j, sparse %j',
    (T, D, inputs, out, rank, bias, sparse) => {
      const { layer, plain } = layerOf(
        { out, inputs, rank, select: sparse ? inputs : 0, bias: bias === true, magnitude: bias === 'magnitude' },
        10,
      );
      const [x, residual, dy] = [random2d(T, inputs, 1), random2d(T, out, 2), random2d(T, out, 3)];
      const product = layerReference(valuesOf(x), T, plain, D, 'inputs');
      const expected = valuesOf(residual).map((r, i) => r + product[i]!);
      expectAllClose('y', projectColumns(x, residual, layer, D), expected);
      const { lora } = layer;
      const branch = lora ? [lora.a, lora.b, ...(lora.magnitude ? [lora.magnitude] : [])] : [];
      const [dx, dresidual, dA, dB, dm] = tf.grads((x, residual, a, b, m) => {
        const lora = layer.lora && {
          ...layer.lora,
          a: a as tf.Tensor2D,
          b: b as tf.Tensor2D,
          magnitude: (m as tf.Tensor1D) ?? null,
        };
        return projectColumns(x as tf.Tensor2D, residual as tf.Tensor2D, { ...layer, lora }, D);
      })([x, residual, ...branch], dy);
      const gradients = layerGradReference(valuesOf(x), valuesOf(dy), T, plain, D, 'inputs');
      expectAllClose('dx', dx!, gradients.dx, TOLERANCE.gradient);
      expectAllClose('dresidual', dresidual!, valuesOf(dy));
      if (layer.lora) {
        expectAllClose('dA', dA!, gradients.dA!, TOLERANCE.gradient);
        expectAllClose('dB', dB!, gradients.dB!, TOLERANCE.gradient);
        if (layer.lora.magnitude) expectAllClose('dm', dm!, gradients.dm!, TOLERANCE.gradient);
      }
    },
  );

  it('leaves one tensor, and none after its gradients', async () => {
    const { layer } = layerOf({ out: 4, inputs: 6, rank: 2, bias: false, select: 6 }, 1);
    const [x, residual] = [random2d(5, 6, 1), random2d(5, 4, 2)];
    await expectNoLeak(() => projectColumns(x, residual, layer, 2), 1);
    await expectNoLeak(() =>
      tf.dispose(tf.grads((x, r) => projectColumns(x as tf.Tensor2D, r as tf.Tensor2D, layer, 2))([x, residual])),
    );
  });

  it('says what it wanted when the residual does not fit', () => {
    const { layer } = layerOf({ out: 4, inputs: 6, rank: 0, bias: false, select: 0 }, 1);
    expect(() => projectColumns(tf.zeros([2, 6]), tf.zeros([2, 5]), layer, 2)).toThrow(
      'projectColumns: residual [2,5] must be [2,4]',
    );
  });
});
