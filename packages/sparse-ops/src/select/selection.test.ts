/** @file A selection, or rows, made inside a step: the step's scope ends before its backward pass needs them. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import type { ChannelSelection } from '../contract/types.js';
import { linearKeptColumns } from '../project/linear-kept-columns.js';
import { linearKeptRows } from '../project/linear-kept-rows.js';
import { gatherRows } from '../tokens/gather-rows.js';
import { gatherColumns } from './gather-columns.js';
import { maskColumns } from './mask-columns.js';
import { scatterColumns } from './scatter-columns.js';

type Op = (x: tf.Tensor2D, keep: ChannelSelection, weight: tf.Tensor2D) => tf.Tensor2D;

/** Columns of x, and the op. */
const OPS: Record<string, [number, Op]> = {
  gatherColumns: [3, gatherColumns],
  gatherRows: [3, (x, { indices }) => gatherRows(x, indices)],
  linearKeptColumns: [2, (x, keep, weight) => linearKeptColumns(x, weight, keep)],
  linearKeptRows: [3, (x, keep, weight) => linearKeptRows(x, weight, keep)],
  maskColumns: [3, (x, keep) => maskColumns(x, keep, 1)],
  scatterColumns: [2, scatterColumns],
};

describe.each(TEST_BACKENDS)('indices made inside a recorded function on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each(Object.entries(OPS))(
    'live until the gradient of %s() is computed, and no longer',
    async (_, [columns, op]) => {
      const x = tf.ones([4, columns]);
      const weight = tf.tensor2d([1, 2, 3, 4, 5, 6, 7, 8, 9], [3, 3]);
      const gradient = (indices: () => tf.Tensor1D) =>
        tf.grad((t) => op(t as tf.Tensor2D, { indices: indices(), kept: 2, total: 3 }, weight).sum())(x);
      const outside = tf.tensor1d([0, 2], 'int32');
      const inside = () => tf.tensor1d([0, 2], 'int32');
      expect(gradient(inside).dataSync()).toEqual(gradient(() => outside).dataSync());
      await expectNoLeak(() => gradient(inside).dispose());
    },
  );
});
