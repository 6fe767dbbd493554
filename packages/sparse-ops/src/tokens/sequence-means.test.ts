import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import type { PackedLayout } from '../contract/types.js';
import { sequenceMeans } from './sequence-means.js';
import { sequenceMeansReference } from './sequence-means.reference.js';
import { packTokens } from './token-partition.js';

const layoutOf = (...lengths: number[]) => packTokens({ lengths, dense: (token) => token % 3 === 1 });

describe.each(PATHS)('sequenceMeans() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [[1], 1],
    [[5], 3],
    [[3, 1, 6], 7],
    [[], 4],
  ])('equals its reference for sequences of %j tokens, %i channels', (lengths, n) => {
    const layout = layoutOf(...lengths);
    const x = random2d(layout.tokens, n, 1);
    const means = sequenceMeans(x, layout);
    expect(means.shape).toEqual([lengths.length, n]);
    expectAllClose('means', means, sequenceMeansReference(valuesOf(x), layout, n));
  });

  it('gives zeros for a sequence without tokens', () => {
    const layout: PackedLayout = { ...layoutOf(2), sequenceStarts: Int32Array.of(0, 2, 2) };
    expectAllClose('means', sequenceMeans(tf.ones([2, 2]), layout), [1, 1, 0, 0]);
  });

  it('has the gradient of finite differences', () => {
    const layout = layoutOf(3, 2);
    expectGradients('sequenceMeans', (x) => sequenceMeans(x as tf.Tensor2D, layout), [random2d(5, 2, 1)]);
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const layout = layoutOf(3, 2);
    const x = random2d(5, 2, 1);
    await expectNoLeak(() => sequenceMeans(x, layout), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => sequenceMeans(t as tf.Tensor2D, layout))(x)
        .dispose(),
    );
  });

  it('says what it wanted when there is not a row for each token', () => {
    expect(() => sequenceMeans(tf.zeros([4, 2]), layoutOf(3, 2))).toThrow(
      "sequenceMeans: x [4,2] must have a row for each of the layout's 5 tokens",
    );
  });
});
