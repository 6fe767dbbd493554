import { HostTensors, localCollectives } from '@spft/distributed';
import { getPeftModel } from '@spft/peft';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { tinyModel } from '../../../models/test/tiny.js';
import { LORA, SAMPLES } from '../../test/tiny-training.js';
import { collate } from '../batch/collate.js';
import { GradientSum, lossAndGradients } from './gradients.js';
import type { Ranks } from './ranks.js';
import { bucketsOf, SharedGradients } from './shared-gradients.js';

describe('bucketsOf()', () => {
  it('begins with a small one of the last variables', () => {
    expect(bucketsOf([100, 10, 10, 20], 80, 120)).toEqual([{ variables: [3] }, { variables: [2, 1, 0] }]);
    expect(bucketsOf([7])).toEqual([{ variables: [0] }]);
  });
});

describe('SharedGradients', () => {
  beforeAll(() => useBackend('cpu'));

  it.each([false, true])(
    'sends buckets while the layers below are still computed (checkpointing: %s)',
    async (gradientCheckpointing) => {
      const model = await tinyModel();
      const peft = getPeftModel(model, { ...LORA, loraDropout: 0 });
      const variables = [...peft.variables.values()];
      for (const [n, variable] of variables.entries()) {
        variable.assign(tf.tidy(() => tf.randomNormal(variable.shape, 0, 0.1, 'float32', n) as tf.Tensor));
      }
      const batches = [SAMPLES.slice(0, 2), SAMPLES.slice(2, 4)].map((samples) => collate(samples));
      const options = { training: true, seed: 1, normalizer: 7, gradientCheckpointing };
      const gradientsOfAll = batches.map((batch) => lossAndGradients(peft, batch, options));
      const before = tf.memory().numTensors;

      const [host] = localCollectives(1);
      const tensors = new HostTensors(host!);
      let computing = false;
      const sent: boolean[] = [];
      const ranks: Ranks = {
        ...{ rank: 0, size: 1, host: host! },
        tensors: {
          records: false,
          allReduce(given) {
            sent.push(computing);
            return tensors.allReduce(given);
          },
        },
      };
      // A bucket for each variable, from the last one on.
      const shared = new SharedGradients(
        variables,
        ranks,
        bucketsOf(
          variables.map(({ size }) => size),
          1,
          1,
        ),
      );
      const first = new GradientSum();
      const { loss: firstLoss, gradients } = lossAndGradients(peft, batches[0]!, options);
      first.add(gradients);
      const loss = shared.last(first, () => {
        computing = true;
        const result = lossAndGradients(peft, batches[1]!, options);
        computing = false;
        return result;
      });
      const sums = await shared.sums();
      expect(sent).toHaveLength(variables.length);
      // Checkpointing takes all gradients of a layer on a tape of its own; they are known with it.
      expect(sent.filter((early) => early).length).toBeGreaterThanOrEqual(variables.length - 2);
      sums.tensors.forEach((sum, n) => {
        const [a, b] = gradientsOfAll.map((one) => one.gradients[n]!.dataSync());
        expect([...sum.dataSync()]).toEqual(Array.from(a!, (x, i) => Math.fround(x + b![i]!)));
      });
      sums.dispose();
      first.dispose();
      shared.dispose();
      tf.dispose([loss, firstLoss]);
      expect(tf.memory().numTensors).toBe(before);
      tf.dispose(gradientsOfAll.flatMap(({ loss, gradients }) => [loss, ...gradients]));
      peft.dispose();
      model.dispose();
    },
  );
});
