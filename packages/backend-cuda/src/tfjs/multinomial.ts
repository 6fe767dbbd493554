/** @file Multinomial: draws from a few distributions, by random numbers of the device. */
import * as tf from '@tensorflow/tfjs';
import { randomTensor } from '../random.js';
import { registerCudaKernel } from '../shared/register.js';
import { combinations, declareVariants } from '../shared/variants.js';
import { softmax } from './softmax.js';

interface MultinomialAttributes {
  readonly numSamples: number;
  readonly seed: number;
  readonly normalized: boolean;
}

// A sample a token: the probabilities are few, so they are read and drawn from on the host.
registerCudaKernel<'logits', MultinomialAttributes>(
  tf.Multinomial,
  ({ backend, inputs: { logits }, attributes: { numSamples, seed, normalized } }) => {
    const probabilities = normalized ? backend.share(logits) : softmax(backend, logits);
    const values = backend.readSync(probabilities.dataId) as Float32Array;
    const [rows, outcomes] = logits.shape as [number, number];
    const uniform = randomTensor([rows, numSamples], {
      seed,
      distribution: 'uniform',
      mean: 0.5,
      deviation: 0.5 / Math.sqrt(3),
    });
    const draws = uniform.dataSync();
    const samples = new Int32Array(rows * numSamples);
    for (let row = 0; row < rows; row++) {
      for (let n = 0; n < numSamples; n++) {
        let [outcome, rest] = [0, draws[row * numSamples + n]!];
        // The last outcome takes what rounding leaves.
        while (outcome < outcomes - 1 && rest >= values[row * outcomes + outcome]!) {
          rest -= values[row * outcomes + outcome]!;
          outcome++;
        }
        samples[row * numSamples + n] = outcome;
      }
    }
    backend.release(probabilities);
    uniform.dispose();
    const shape = [rows, numSamples];
    return { dataId: backend.write(samples, shape, 'int32'), shape, dtype: 'int32' };
  },
);

// Its own kernel file is that of `random.ts`.
declareVariants('random', combinations({ X: ['float', 'bf16'], NORMAL: [0, 1] }));
