/** @file Sums down columns: stretches of rows first, then these. */

import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { aligned, rowsToABlock, type Scope } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';

type Info = tf.TensorInfo;

/** Runs the kernel that sums stretches of rows, and the one that adds these up where there are several. */
export function columnSums(
  backend: CudaBackend,
  scope: Scope,
  entry: string,
  types: Readonly<Record<string, string>>,
  [rows, n]: readonly [number, number],
  operands: readonly number[],
  root: 0 | 1,
): Info {
  const y = scope.output([n], 'float32', 'f32');
  if (n === 0) return y;
  const across = Math.ceil(n / 64);
  const count = rowsToABlock(backend, rows, across, 128);
  const chunks = Math.max(1, Math.ceil(rows / count));
  const to = backend.address(y);
  const kernel = backend.kernel('column-dots', entry, `${'p'.repeat(operands.length + 1)}iiiii`, types);
  const run = (at: number, rootNow: 0 | 1) => {
    const numbers = [rows, n, count, rootNow, aligned(n, ...operands)];
    backend.launch(kernel, [across, chunks], [8, 32], [...operands, at, ...numbers]);
  };
  if (chunks === 1) run(to, root);
  else {
    backend.scratch(4 * chunks * n, (partial) => {
      run(partial, 0);
      const totals = backend.kernel('column-dots', 'column_totals', 'ppiii', types);
      backend.launch(totals, [Math.ceil(n / 128)], [128], [partial, to, n, chunks, root]);
    });
  }
  return y;
}

declareVariants('column-dots', [
  ...combinations({ TYPE_A: FLOATS, TYPE_B: FLOATS }),
  ...combinations({ X: FLOATS, Y: ['float'] }),
]);
