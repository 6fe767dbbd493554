/** @file What a product with a matrix cannot be faster than: reading it. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from './backend.js';
import { declareVariants } from './shared/variants.js';
import { BYTES } from './storage.js';

/** Reads the bytes of a matrix on the device and nothing else, for benchmarks. @returns how many they are. */
export function readOnly(backend: CudaBackend, weight: tf.TensorInfo): number {
  const { elements, physical } = backend.data.get(weight.dataId);
  const kernel = backend.kernel('read', 'read', 'ppl');
  const units = Math.floor((elements * BYTES[physical]) / 16);
  const blocks = Math.min(2 * backend.device.info.multiprocessors, Math.ceil(units / 512));
  backend.launch(kernel, [blocks], [512], [backend.address(weight), 0, units]);
  return 16 * units;
}

declareVariants('read');
