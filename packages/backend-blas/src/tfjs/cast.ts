/**
 * @file Cast to wider numbers as numbers of their own. tfjs's cpu backend lets a tensor of the new dtype share the values of the old, integers
 * that are called float32, which neither BLAS nor SIMD kernels can read.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { BlasBackend } from '../backend.js';

/** @param otherwise the cpu backend's kernel. */
export const cast =
  (otherwise: tf.KernelFunc): tf.KernelFunc =>
  (given) => {
    const x = given.inputs.x as tf.TensorInfo;
    const { dtype } = given.attrs as unknown as { dtype: tf.DataType };
    const backend = given.backend as BlasBackend;
    const widened =
      (dtype === 'float32' && (x.dtype === 'int32' || x.dtype === 'bool')) || (dtype === 'int32' && x.dtype === 'bool');
    if (!widened) return otherwise(given);
    const values = backend.data.get(x.dataId).values as Int32Array | Uint8Array;
    return backend.makeTensorInfo(
      x.shape,
      dtype,
      dtype === 'float32' ? Float32Array.from(values) : Int32Array.from(values),
    );
  };
