/** @file Means over the tokens of each sequence. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { aligned, inScope, typeOf } from '../../shared/tensors.js';
import { C_TYPE } from '../../storage.js';
import type { CudaKernels } from '../contract.js';

type Info = tf.TensorInfo;

/** Where a batch's rows lie by sequence: those of sequence b are rowOfToken[sequenceStarts[b]] up to, and without, rowOfToken[sequenceStarts[b + 1]]. */
interface RowsBySequence {
  readonly rowOfToken: Int32Array;
  readonly sequenceStarts: Int32Array;
}

/**
 * @param x [T, n].
 * @returns the mean row of each sequence [B, n] in float, owned by the caller; zeros for one without tokens.
 */
export function sequenceMeans(backend: CudaBackend, x: Info, { rowOfToken, sequenceStarts }: RowsBySequence): Info {
  const [n, B] = [x.shape[1]!, sequenceStarts.length - 1];
  const X = typeOf(backend, x);
  return inScope(backend, (scope) => {
    const from = scope.address(x, X);
    const y = scope.output([B, n], 'float32', 'f32');
    const kernel = backend.kernel('column-dots', 'sequence_means', 'ppppii', { X: C_TYPE[X], Y: 'float' });
    const lists = [backend.constant(rowOfToken), backend.constant(sequenceStarts)];
    backend.launch(kernel, [Math.ceil(n / 64), B], [8, 32], [from, ...lists, backend.address(y), n, aligned(n, from)]);
    return y;
  });
}

/** Kernels of the contract. */
export const sequenceMeansKernels = {
  SpftSequenceMeans: ({ backend, inputs: { x }, attributes }) => sequenceMeans(backend, x, attributes),
} satisfies CudaKernels;
