/**
 * @file A frozen tensor from the bytes of a file: matrices in bf16 and float16 stay so, the others are float32. Neither loses anything. What takes a frozen
 * matrix's place (a merged one) is float32, as 16 bits would round it.
 */
import { writeStored } from '@spft/sparse-ops/internals';
import type * as tf from '@tensorflow/tfjs';
import { type Call, sizeOf } from '../../shared/call.js';

function storedTensor({ backend, attributes: { bytes, stored, shape } }: Call<'SpftStoredTensor'>): tf.TensorInfo {
  if (backend.keepsHalves(stored, shape)) return backend.halves.store(bytes, stored, shape);
  const values = new Float32Array(sizeOf(shape));
  writeStored(bytes, stored, values);
  return backend.makeTensorInfo([...shape], 'float32', values);
}

export const storedTensorKernels = { SpftStoredTensor: storedTensor };
