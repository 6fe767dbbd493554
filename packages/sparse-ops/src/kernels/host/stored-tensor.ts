/** @file A file's bytes as a tensor, written where it lies: beside it and the bytes no array of floats is needed, which for 16 bits would be twice the file's room. */
import { writeStored } from '../../forms/stored-values.js';
import type { HostKernel } from './host-kernel.js';

export const storedTensorOnHost: HostKernel<'SpftStoredTensor'> = {
  // On `cpu` an array of floats is the tensor.
  backends: ['wasm'],
  outputs: (_, { shape }) => ({ shape, dtype: 'float32' }),
  run: (_, [y], { bytes, stored }) => writeStored(bytes, stored, y as Float32Array),
};
