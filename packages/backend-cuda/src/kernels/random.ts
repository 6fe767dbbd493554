/**
 * @file Random tensors made on the device (`cuda/random.cu`): weights of a billion parameters in milliseconds, without passing the host.
 * tfjs's own random ops draw on the host. Also Multinomial, which tfjs asks its backend for.
 */
import * as tf from '@tensorflow/tfjs';
import { BACKEND_NAME, type CudaBackend } from '../backend.js';
import { C_TYPE } from '../storage.js';
import { blocksFor, THREADS } from './launching.js';
import { registerCudaKernel } from './register.js';
import { softmax } from './softmax.js';
import { combinations, declareVariants } from './variants.js';

export interface RandomOptions {
  /** The same seed gives the same numbers on every GPU. Default 0. */
  readonly seed?: number;
  /** Default `normal`. */
  readonly distribution?: 'uniform' | 'normal';
  /** Mean of normal numbers, middle of uniform ones. Default 0. */
  readonly mean?: number;
  /** Standard deviation of normal numbers; uniform ones are at most that far from the mean. Default 1. */
  readonly deviation?: number;
  /** Type on the device. Default `f32`. */
  readonly physical?: 'f32' | 'bf16';
}

/**
 * A float32 tensor of random numbers on the active backend, which must be `cuda`. Owned by the caller, as any tensor of tfjs.
 * @throws TypeError on another backend.
 */
export function randomTensor(shape: readonly number[], options: RandomOptions = {}): tf.Tensor {
  if (tf.getBackend() !== BACKEND_NAME) {
    throw new TypeError(`randomTensor: backend ${BACKEND_NAME} must be active; it is ${tf.getBackend()}`);
  }
  const backend = tf.backend() as CudaBackend;
  return tf.engine().makeTensorFromTensorInfo(random(backend, shape, options));
}

/** The same as a kernel's result. Owned by the caller. */
export function random(backend: CudaBackend, shape: readonly number[], options: RandomOptions = {}): tf.TensorInfo {
  const { seed = 0, distribution = 'normal', mean = 0, deviation = 1, physical = 'f32' } = options;
  const result = backend.output(shape, 'float32', physical);
  const size = tf.util.sizeFromShape([...shape]);
  const normal = distribution === 'normal';
  const defines = { TO: C_TYPE[physical], ...(normal ? { NORMAL: 1 } : {}) };
  const kernel = backend.kernel('random', 'random_fill', 'pliiff', defines);
  const [low, high] = [seed | 0, Math.floor(seed / 2 ** 32) | 0];
  const [a, b] = normal ? [mean, deviation] : [mean - deviation, 2 * deviation];
  const blocks = blocksFor(Math.ceil(size / 4));
  backend.launch(kernel, [blocks], [THREADS], [backend.address(result), size, low, high, a, b]);
  return result;
}

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
    const uniform = random(backend, [rows, numSamples], { seed, distribution: 'uniform', mean: 0.5, deviation: 0.5 });
    const draws = backend.readSync(uniform.dataId) as Float32Array;
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
    backend.release(uniform);
    const shape = [rows, numSamples];
    return { dataId: backend.write(samples, shape, 'int32'), shape, dtype: 'int32' };
  },
);

const TO = ['float', 'bf16'];
declareVariants('random', [...combinations({ TO }), ...combinations({ TO, NORMAL: [1] })]);
