import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { rope } from './rope.js';
import { ropeReference } from './rope.reference.js';
import { ropeRows, ropeTables } from './rope-tables.js';

const random = (shape: [number, number], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed) as tf.Tensor2D;
const values = (t: tf.Tensor) => t.dataSync() as Float32Array;
/** Angles of rows at every other position. */
const angles = (T: number, headDim: number) =>
  ropeRows(
    ropeTables({ headDim, theta: 100, positions: 2 * T + 1 }),
    Array.from({ length: T }, (_, t) => 2 * t + 1),
  );

describe.each(PATHS)('rope() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 2, 4],
    [1, 1, 2],
    [5, 3, 6],
    [9, 2, 8],
  ])('equals its reference, and its gradient the opposite turn, for %i tokens, %i heads of %i', (T, heads, d) => {
    const x = random([T, heads * d], 1);
    const { cos, sin } = angles(T, d);
    expectAllClose('y', rope(x, cos, sin, d), ropeReference(values(x), values(cos), values(sin), T, heads, d));
    const dy = random([T, heads * d], 2);
    const dx = tf.grad((t) => rope(t as tf.Tensor2D, cos, sin, d))(x, dy);
    const opposite = values(sin).map((s) => -s);
    const expected = ropeReference(values(dy), values(cos), opposite, T, heads, d);
    expectAllClose('dx', dx, expected, TOLERANCE.gradient);
  });

  it('leaves position 0 as it is', () => {
    const x = random([1, 4], 3);
    const { cos, sin } = ropeRows(ropeTables({ headDim: 4, theta: 1e4, positions: 1 }), [0]);
    expectAllClose('y', rope(x, cos, sin, 4), x);
  });

  it('has the gradient of finite differences', () => {
    const { cos, sin } = angles(2, 4);
    expectGradients('rope', (x) => rope(x as tf.Tensor2D, cos, sin, 4), [random([2, 8], 4)]);
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const x = random([3, 8], 1);
    const { cos, sin } = angles(3, 4);
    await expectNoLeak(() => rope(x, cos, sin, 4), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => rope(t as tf.Tensor2D, cos, sin, 4))(x)
        .dispose(),
    );
  });

  it('says what it wanted when the shapes do not fit', () => {
    const { cos, sin } = angles(3, 4);
    expect(() => rope(tf.zeros([3, 6]), cos, sin, 4)).toThrow(
      'rope: x [3,6] must be [T, heads·4], cos [3,2] and sin [3,2] [T, 2]',
    );
    expect(() => rope(tf.zeros([2, 8]), cos, sin, 4)).toThrow('rope: x [2,8]');
  });
});
