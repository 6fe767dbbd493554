/** @file Tensors of random numbers that are made on the GPU: weights of a model of billions of parameters in milliseconds. */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from './backend.js';
import { refuseUnknownOptions } from './known-options.js';
import { C_TYPE } from './storage.js';

export interface RandomOptions {
  readonly seed: number;
  readonly distribution: 'normal' | 'uniform';
  /** Standard deviation; default 1. */
  readonly deviation?: number;
  /** Default 0. */
  readonly mean?: number;
  /** How it is stored; default f32. */
  readonly physical?: 'f32' | 'bf16';
}

const NAMES = { seed: true, distribution: true, deviation: true, mean: true, physical: true } as const;

/** @returns owned by the caller; the same numbers for the same seed on every GPU. @throws TypeError unless `cuda` is the active backend. */
export function randomTensor<T extends tf.Tensor>(shape: readonly number[], options: RandomOptions): T {
  refuseUnknownOptions('randomTensor', options, NAMES);
  const { seed, distribution, deviation = 1, mean = 0, physical = 'f32' } = options;
  if (tf.getBackend() !== 'cuda')
    throw new TypeError(`randomTensor: the active backend is '${tf.getBackend()}', not cuda`);
  const backend = tf.backend() as CudaBackend;
  const info = backend.output(shape, 'float32', physical);
  const size = tf.util.sizeFromShape([...shape]);
  const isNormal = distribution === 'normal';
  const defines = { X: C_TYPE[physical], NORMAL: isNormal ? 1 : 0 };
  const kernel = backend.kernel('random', 'random_numbers', 'pliff', defines);
  // A uniform number in [-1, 1) has the deviation 1/√3.
  const scale = isNormal ? deviation : deviation * Math.sqrt(3);
  const args = [backend.address(info), size, seed | 0, mean, scale];
  backend.launch(kernel, [Math.min(16384, Math.ceil(size / 1024))], [256], args);
  return tf.engine().makeTensorFromTensorInfo(info) as T;
}
