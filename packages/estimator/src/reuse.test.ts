import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { reusingEstimator } from './reuse.js';
import type { MlpContext, SparsityEstimator } from './types.js';

/** Keeps one channel: the number of the call. */
function counting(): SparsityEstimator & { calls: number } {
  const one = (value: number) => ({ indices: tf.tensor1d([value], 'int32'), kept: 1, total: 9 });
  const estimator: SparsityEstimator & { calls: number } = {
    ...{ calls: 0, mode: 'counting', needs: 'input', applies: 'gather' },
    selectMlp: () => one(estimator.calls++),
    selectAttention: () => ({ q: null, k: one(estimator.calls++), v: null, o: null }),
    dispose() {},
  };
  return estimator;
}

describe('reusingEstimator()', () => {
  beforeAll(() => useBackend('cpu'));

  it('chooses in the first step of each window, by layer and module, and leaks nothing', async () => {
    await expectNoLeak(() => {
      let step = 0;
      const estimator = reusingEstimator(counting(), 3, () => step);
      const chosen = (layer: number) => {
        const selection = estimator.selectMlp({ layer, sparsity: 0.5 } as MlpContext)!;
        const [value] = selection.indices.dataSync();
        selection.indices.dispose();
        return value;
      };
      const seen: unknown[] = [];
      for (step = 0; step < 7; step++) seen.push([chosen(0), chosen(1)]);
      expect(seen).toEqual([
        [0, 1],
        [0, 1],
        [0, 1],
        [2, 3],
        [2, 3],
        [2, 3],
        [4, 5],
      ]);
      const attention = estimator.selectAttention({ layer: 0, sparsity: 0.5 } as never);
      expect([attention.q, attention.k!.indices.dataSync()[0]]).toEqual([null, 6]);
      attention.k!.indices.dispose();
      estimator.dispose();
    });
  });
});
