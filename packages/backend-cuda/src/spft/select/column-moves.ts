/** @file What moves of columns have in common: elements of any type by their bytes alone, and threads of 16 bytes of columns. */

import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { Kernel } from '../../device/modules.js';
import { rowsToABlock } from '../../shared/tensors.js';
import { combinations, declareVariants } from '../../shared/variants.js';
import { BYTES } from '../../storage.js';

type Info = tf.TensorInfo;

const ELEMENT = { 1: 'u8', 2: 'u16', 4: 'u32' } as const;

/** Bytes of x's elements: all that matters here. */
export const bytesOf = (backend: CudaBackend, x: Info) => BYTES[backend.physical(x)] as 1 | 2 | 4;

export const kernelOf = (backend: CudaBackend, x: Info, entry: string, parameters: string): Kernel =>
  backend.kernel('columns', entry, parameters, { ELEMENT: ELEMENT[bytesOf(backend, x)] });

/** What scatter and mask have in common: threads of 16 bytes of columns, each for a stretch of rows. */
export function overColumns(
  backend: CudaBackend,
  y: Info,
  launch: (count: number, full: 0 | 1, run: Run) => void,
): Info {
  const [rows, total] = y.shape as [number, number];
  const width = 16 / bytesOf(backend, y);
  const across = Math.ceil(total / (128 * width));
  const count = rowsToABlock(backend, rows, Math.max(1, across), 16);
  const full = total % width === 0 && backend.address(y) % 16 === 0 ? 1 : 0;
  if (rows > 0) {
    launch(count, full, (kernel, args) => backend.launch(kernel, [across, Math.ceil(rows / count)], [128], args));
  }
  return y;
}
type Run = (kernel: Kernel, args: readonly number[]) => void;

declareVariants('columns', combinations({ ELEMENT: Object.values(ELEMENT) }));
