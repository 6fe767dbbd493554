/** @file Norms of columns. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { inScope, typeOf } from '../../shared/tensors.js';
import { C_TYPE } from '../../storage.js';
import type { CudaKernels } from '../contract.js';
import { columnSums } from '../engine/column-sums.js';

type Info = tf.TensorInfo;

/** √Σₜ x[t, c]²: [n] in float, owned by the caller. */
export function columnNorms(backend: CudaBackend, x: Info): Info {
  return inScope(backend, (scope) => {
    const A = typeOf(backend, x);
    const operand = scope.address(x, A);
    const types = { TYPE_A: C_TYPE[A], TYPE_B: C_TYPE[A] };
    return columnSums(backend, scope, 'column_squares', types, x.shape as [number, number], [operand], 1);
  });
}

/** Kernels of the contract. */
export const columnNormsKernels = {
  SpftColumnNorms: ({ backend, inputs: { x } }) => columnNorms(backend, x),
} satisfies CudaKernels;
