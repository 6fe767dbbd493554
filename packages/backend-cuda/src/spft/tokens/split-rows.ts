/** @file Rows apart, which copies nothing, and together. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { inScope } from '../../shared/tensors.js';
import { unitOf } from '../../shared/units.js';
import { BYTES } from '../../storage.js';
import type { CudaKernels } from '../contract.js';

type Info = tf.TensorInfo;

/** Rows [0, at) and [at, T) of x as views of it, owned by the caller. */
export function splitRows(backend: CudaBackend, x: Info, at: number): [Info, Info] {
  const [rows, n] = x.shape as [number, number];
  return [backend.view(x, [at, n]), backend.view(x, [rows - at, n], at * n)];
}

/** first [D, n] above second [S, n]; owned by the caller. Copies nothing where they lie so already, or one of them is empty. */
export function joinRows(backend: CudaBackend, first: Info, second: Info): Info {
  const [above, n] = first.shape as [number, number];
  const below = second.shape[0]!;
  const shape = [above + below, n];
  const [firstType, secondType] = [backend.physical(first), backend.physical(second)];
  if (below === 0 || n === 0) return backend.share(first, shape);
  if (above === 0) return backend.share(second, shape);
  if (firstType !== secondType) {
    return inScope(backend, (scope) => {
      const both = [first, second].map((info) => scope.temporary(backend.as(info, 'f32')));
      return joinRows(backend, both[0]!, both[1]!);
    });
  }
  const bytes = n * BYTES[firstType];
  const [a, b] = [backend.address(first), backend.address(second)];
  const sameBlock = backend.data.get(first.dataId).block === backend.data.get(second.dataId).block;
  if (sameBlock && a + above * bytes === b) return backend.view(first, shape);
  const y = backend.output(shape, first.dtype, firstType);
  const to = backend.address(y);
  const unit = unitOf(above * bytes, below * bytes, a, b, to);
  const units = (shape[0]! * bytes) / unit;
  const kernel = backend.kernel('gather-rows', 'join_rows', 'pppll', { UNIT: unit });
  const grid = [Math.min(16 * backend.device.info.multiprocessors, Math.ceil(units / 256))] as const;
  backend.launch(kernel, grid, [256], [a, b, to, (above * bytes) / unit, units]);
  return y;
}

/** Kernels of the contract. */
export const splitRowsKernels = {
  SpftSplitRows: ({ backend, inputs: { x }, attributes: { at } }) => splitRows(backend, x, at),
  SpftJoinRows: ({ backend, inputs: { first, second } }) => joinRows(backend, first, second),
} satisfies CudaKernels;
