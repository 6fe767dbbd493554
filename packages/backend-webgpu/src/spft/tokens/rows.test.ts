/** @file Rows of none, which recorded steps are padded with. */
import { gatherRows } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import { describeWebGPU, useWebGPU } from '../../../test/webgpu.js';

describeWebGPU('gatherRows()', () => {
  beforeAll(useWebGPU);

  it('takes rows below 0 as zeros, and gives nothing back to them', async () => {
    const x = tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]);
    const rows = tf.tensor1d([-1, 2, -1, 2], 'int32');
    const y = gatherRows(x, rows);
    expect([...(await y.data())]).toEqual([0, 0, 5, 6, 0, 0, 5, 6]);
    const dx = tf.grad((x) => gatherRows(x as tf.Tensor2D, rows))(x, tf.ones([4, 2]));
    expect([...(await dx.data())]).toEqual([0, 0, 0, 0, 2, 2]);
    tf.dispose([x, rows, y, dx]);
  });
});
