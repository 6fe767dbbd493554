/**
 * @file How much of its memory the active backend will need for a frozen tensor, before there is one: for who must know whether a model fits. The backend that
 * stores it says so by what decides how it is stored, as only it knows: 16 bits of a checkpoint stay 16 bits on one, and become float32 on another.
 */
import * as tf from '@tensorflow/tfjs';
import type { StoredType } from '../contract/layers.js';
import { takesStored } from './stored-tensor.js';

/** What a frozen tensor may be made from: a file's elements, or bytes (tfjs's `bool`), in which codes are kept. */
export type FrozenType = StoredType | 'U8';

/** What a backend has whose frozen tensors do not take four bytes for each number, or whose bytes take more than one. */
export interface StoringBackend {
  /** Bytes of memory of a tensor as `SpftStoredTensor` stores it, or, of `U8`, as tfjs's `bool`. */
  frozenBytes(type: FrozenType, shape: readonly number[]): number;
}

/**
 * Bytes of the active backend's memory that a frozen tensor will take.
 * @param dtype of its elements where it comes from, as safetensors calls it; what the backend does not take as it is stored, it gets in float32.
 */
export function frozenBytes(dtype: FrozenType | string | undefined, shape: readonly number[]): number {
  const type: FrozenType = dtype === 'U8' || takesStored(dtype) ? (dtype as FrozenType) : 'F32';
  const backend = tf.backend() as unknown as Partial<StoringBackend>;
  const size = shape.reduce((product, n) => product * n, 1);
  return backend.frozenBytes?.(type, shape) ?? (type === 'U8' ? 1 : 4) * size;
}
