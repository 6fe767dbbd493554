/** @file `fp8`: E4M3 with one scale a matrix, a power of two. Of backends whose products run on such codes. */
import * as tf from '@tensorflow/tfjs';
import { hasKernel, runKernel } from '../engine/op.js';
import { type FormDefinition, StoredFormError } from './form.js';

/** Inputs have so many outlier channels: few have none. */
const outliersAmong = (inputs: number, wanted: number): number =>
  inputs % 16 === 0 && 2 * wanted <= inputs ? wanted : 0;

export const fp8Form: FormDefinition = {
  require() {
    if (hasKernel('SpftStoreAs')) return;
    throw new StoredFormError(
      `weights in fp8 are products on codes, which the backend '${tf.getBackend()}' does not have; cuda has them, on GPUs of compute capability 8.9 or ` +
        'newer. Choose that backend, or leave base_precision out',
    );
  },
  // One scale a matrix; the transposed codes are kept once they were wanted.
  bytes: ([out, inputs], { keepTransposed = false, outlierChannels = 0 }) =>
    out * (inputs * (keepTransposed ? 2 : 1) + outliersAmong(inputs, outlierChannels)) + 4,
  store(x, { keepTransposed = false, outlierChannels = 0 }) {
    if (!Number.isInteger(outlierChannels / 16) || outlierChannels < 0 || outlierChannels > 240) {
      throw new StoredFormError(`outlierChannels is ${outlierChannels}, must be a multiple of 16 from 0 to 240`);
    }
    const inputs = x.shape[1]!;
    if (2 * outlierChannels > inputs) {
      throw new StoredFormError(
        `outlierChannels is ${outlierChannels}, of ${inputs} input channels: at most half of them can be outliers`,
      );
    }
    return { tensor: runKernel('SpftStoreAs', { x }, { form: 'fp8', keepTransposed, outlierChannels }), kind: null };
  },
};
