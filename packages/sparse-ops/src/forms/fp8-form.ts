/** @file `fp8`: E4M3 with one scale a matrix, a power of two. Of backends whose products run on such codes. */
import * as tf from '@tensorflow/tfjs';
import { hasKernel, runKernel } from '../engine/op.js';
import { type FormDefinition, type StoreAsOptions, StoredFormError } from './form.js';

/** With these a real model's loss is within 1 % of bf16's; tensor cores take as many columns at a time (docs/RESULTS.md). */
const OUTLIERS = 128;
/** Rows of more numbers have no scale of their own. */
const LONGEST_ROW = 2 ** 16;

/** How many outlier channels a matrix of so many inputs has. */
function outliersAmong(inputs: number, { outlierChannels = 0 }: StoreAsOptions): number {
  if (inputs % 16 !== 0) return 0;
  if (outlierChannels !== 'auto') return 2 * outlierChannels <= inputs ? outlierChannels : 0;
  // `cuda` says whether it has scales by row.
  const { scalesRows } = tf.backend() as { scalesRows?: unknown };
  return scalesRows === true && 2 * OUTLIERS <= inputs && inputs <= LONGEST_ROW ? OUTLIERS : 0;
}

export const fp8Form: FormDefinition = {
  require() {
    if (hasKernel('SpftStoreAs')) return;
    throw new StoredFormError(
      `weights in fp8 are products on codes, which the backend '${tf.getBackend()}' does not have; cuda has them, on GPUs of compute capability 8.9 or ` +
        'newer. Choose that backend, or leave base_precision out',
    );
  },
  // One scale a matrix; the transposed codes are kept once they were wanted.
  bytes: ([out, inputs], options) =>
    out * (inputs * (options.keepTransposed ? 2 : 1) + outliersAmong(inputs, options)) + 4,
  store(x, options) {
    const { keepTransposed = false, outlierChannels: asked = 0 } = options;
    const inputs = x.shape[1]!;
    const outlierChannels = asked === 'auto' ? outliersAmong(inputs, options) : asked;
    if (!Number.isInteger(outlierChannels / 16) || outlierChannels < 0 || outlierChannels > 240) {
      throw new StoredFormError(`outlierChannels is ${outlierChannels}, must be a multiple of 16 from 0 to 240`);
    }
    if (2 * outlierChannels > inputs) {
      throw new StoredFormError(
        `outlierChannels is ${outlierChannels}, of ${inputs} input channels: at most half of them can be outliers`,
      );
    }
    return { tensor: runKernel('SpftStoreAs', { x }, { form: 'fp8', keepTransposed, outlierChannels }), kind: null };
  },
};
