/** @file `fp8`: E4M3 with one scale a matrix, a power of two. Of backends whose products run on such codes. */
import * as tf from '@tensorflow/tfjs';
import { hasKernel, runKernel } from '../engine/op.js';
import { type FormDefinition, StoredFormError } from './form.js';

export const fp8Form: FormDefinition = {
  require() {
    if (hasKernel('SpftStoreAs')) return;
    throw new StoredFormError(
      `weights in fp8 are products on codes, which the backend '${tf.getBackend()}' does not have; cuda has them, on GPUs of compute capability 8.9 or ` +
        'newer. Choose that backend, or leave base_precision out',
    );
  },
  // One scale a matrix; the transposed codes are kept once they were wanted.
  bytes: ([out, inputs], { keepTransposed = false }) => out * inputs * (keepTransposed ? 2 : 1) + 4,
  store: (x, { keepTransposed = false }) => ({
    tensor: runKernel('SpftStoreAs', { x }, { form: 'fp8', keepTransposed }),
    kind: null,
  }),
};
