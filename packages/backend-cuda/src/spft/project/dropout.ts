/** @file Dropout by a counter: the mask of every other backend, bit for bit (sparse-ops, kernels/host/dropout.ts). */
import type { SeedPlace } from '@spft/sparse-ops/backend';
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { inScope, typeOf } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE } from '../../storage.js';
import type { CudaKernels } from '../contract.js';

/** The hash lowbias32 of a seed. */
function spread(seed: number): number {
  let h = seed | 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}

/** x with a share of `rate` of its elements zero and the others times 1/(1 − rate); owned by the caller. */
export function dropout(
  backend: CudaBackend,
  x: tf.TensorInfo,
  rate: number,
  seed: number,
  seedAt?: SeedPlace,
): tf.TensorInfo {
  const X = typeOf(backend, x);
  const size = tf.util.sizeFromShape(x.shape);
  return inScope(backend, (scope) => {
    const from = scope.address(x, X);
    const y = scope.output(x.shape, 'float32', X);
    const to = backend.address(y);
    const place = seedAt && backend.device.recording?.inputs.get(seedAt.values)?.address;
    const at = place === undefined ? 0 : place + 4 * seedAt!.index;
    const before = at === 0 ? spread(seed) : 0;
    const within = at === 0 ? spread(before ^ 0x9e3779b9) : 0;
    const dropBelow = Math.min(2 ** 31 - 1, Math.round(rate * 2 ** 32) - 2 ** 31);
    const kernel = backend.kernel('dropout', 'dropout', 'pppliiifi', { X: C_TYPE[X] });
    const onWholeVectors = from % 16 === 0 && to % 16 === 0 ? 1 : 0;
    const numbers = [size, before, within, dropBelow, 1 / (1 - rate), onWholeVectors];
    backend.launch(kernel, [Math.ceil(size / 2048)], [256], [from, to, at, ...numbers]);
    return y;
  });
}

declareVariants('dropout', combinations({ X: FLOATS }));

/** Kernels of the contract. */
export const dropoutKernels = {
  SpftDropout: ({ backend, inputs: { x }, attributes: { rate, seed, seedAt } }) =>
    dropout(backend, x, rate, seed, seedAt),
} satisfies CudaKernels;
