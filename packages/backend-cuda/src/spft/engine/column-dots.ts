/** @file Sums of products down columns. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { inScope, typeOf } from '../../shared/tensors.js';
import { C_TYPE } from '../../storage.js';
import type { CudaKernels } from '../contract.js';
import { columnSums } from './column-sums.js';

type Info = tf.TensorInfo;

/** Σₜ a[t, c]·b[t, c]: [n] in float, owned by the caller. */
export function columnDots(backend: CudaBackend, a: Info, b: Info): Info {
  return inScope(backend, (scope) => {
    const [A, B] = [a, b].map((info) => typeOf(backend, info)) as ['f32', 'f32'];
    const operands = [scope.address(a, A), scope.address(b, B)];
    const types = { TYPE_A: C_TYPE[A], TYPE_B: C_TYPE[B] };
    return columnSums(backend, scope, 'column_dots', types, a.shape as [number, number], operands, 0);
  });
}

/** Kernels of the contract. */
export const columnDotsKernels = {
  SpftColumnDots: ({ backend, inputs: { a, b } }) => columnDots(backend, a, b),
} satisfies CudaKernels;
