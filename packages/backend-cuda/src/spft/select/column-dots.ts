/** @file Sums down columns: of products, of squares, and means over the tokens of each sequence. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { aligned, inScope, rowsToABlock, type Scope, typeOf } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE } from '../../storage.js';
import type { CudaKernels } from '../contract.js';

type Info = tf.TensorInfo;

/** Runs the kernel that sums stretches of rows, and the one that adds these up where there are several. */
function columnSums(
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

/** Σₜ a[t, c]·b[t, c]: [n] in float, owned by the caller. */
export function columnDots(backend: CudaBackend, a: Info, b: Info): Info {
  return inScope(backend, (scope) => {
    const [A, B] = [a, b].map((info) => typeOf(backend, info)) as ['f32', 'f32'];
    const operands = [scope.address(a, A), scope.address(b, B)];
    const types = { TYPE_A: C_TYPE[A], TYPE_B: C_TYPE[B] };
    return columnSums(backend, scope, 'column_dots', types, a.shape as [number, number], operands, 0);
  });
}

/** √Σₜ x[t, c]²: [n] in float, owned by the caller. */
export function columnNorms(backend: CudaBackend, x: Info): Info {
  return inScope(backend, (scope) => {
    const A = typeOf(backend, x);
    const operand = scope.address(x, A);
    const types = { TYPE_A: C_TYPE[A], TYPE_B: C_TYPE[A] };
    return columnSums(backend, scope, 'column_squares', types, x.shape as [number, number], [operand], 1);
  });
}

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

declareVariants('column-dots', [
  ...combinations({ TYPE_A: FLOATS, TYPE_B: FLOATS }),
  ...combinations({ X: FLOATS, Y: ['float'] }),
]);

/** Kernels of the contract. */
export const columnDotsKernels = {
  SpftColumnDots: ({ backend, inputs: { a, b } }) => columnDots(backend, a, b),
  SpftColumnNorms: ({ backend, inputs: { x } }) => columnNorms(backend, x),
  SpftSequenceMeans: ({ backend, inputs: { x }, attributes }) => sequenceMeans(backend, x, attributes),
} satisfies CudaKernels;
