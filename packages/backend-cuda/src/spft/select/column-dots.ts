/** @file Sums down columns: of products, of squares, and means over the tokens of each sequence. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { Block } from '../../device/memory.js';
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

/** Rows of a batch by sequence, on the device: all layers of a step ask for the same. */
interface RowsBySequence {
  readonly sequenceOfRow: Int32Array;
  readonly block: Block;
  /** Where in the block the starts of the sequences and their shares are, in bytes. */
  readonly starts: number;
  readonly shares: number;
}
const latest = new WeakMap<CudaBackend, RowsBySequence>();

function rowsBySequence(backend: CudaBackend, sequenceOfRow: Int32Array, shares: Float32Array): RowsBySequence {
  const known = latest.get(backend);
  if (known?.sequenceOfRow === sequenceOfRow) return known;
  if (known) backend.memoryPool.release(known.block);
  latest.delete(backend);
  const [T, B] = [sequenceOfRow.length, shares.length];
  const starts = new Int32Array(B + 1);
  for (const b of sequenceOfRow) starts[b + 1]!++;
  for (let b = 0; b < B; b++) starts[b + 1]! += starts[b]!;
  const next = starts.slice();
  const all = new Int32Array(T + 2 * B + 1);
  sequenceOfRow.forEach((b, row) => {
    all[next[b]!++] = row;
  });
  all.set(starts, T);
  all.set(new Int32Array(shares.buffer, shares.byteOffset, B), T + B + 1);
  const block = backend.memoryPool.allocate(all.byteLength, 'rows by sequence');
  try {
    backend.uploadTo(block.address, all);
  } catch (error) {
    backend.memoryPool.release(block);
    throw error;
  }
  const made = { sequenceOfRow, block, starts: 4 * T, shares: 4 * (T + B + 1) };
  latest.set(backend, made);
  return made;
}

/**
 * @param x [T, n]. @param sequenceOfRow [T]. @param shares [B], 1/length.
 * @returns the mean row of each sequence [B, n] in float, owned by the caller.
 */
export function sequenceMeans(backend: CudaBackend, x: Info, sequenceOfRow: Int32Array, shares: Float32Array): Info {
  const n = x.shape[1]!;
  const X = typeOf(backend, x);
  return inScope(backend, (scope) => {
    const from = scope.address(x, X);
    const y = scope.output([shares.length, n], 'float32', 'f32');
    const { block, starts, shares: ofShares } = rowsBySequence(backend, sequenceOfRow, shares);
    const kernel = backend.kernel('column-dots', 'sequence_means', 'pppppii', { X: C_TYPE[X], Y: 'float' });
    const lists = [block.address, block.address + starts, block.address + ofShares];
    const grid = [Math.ceil(n / 64), shares.length] as const;
    backend.launch(kernel, grid, [8, 32], [from, ...lists, backend.address(y), n, aligned(n, from)]);
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
  SpftSequenceMeans: ({ backend, inputs: { x }, attributes: { sequenceOfRow, shares } }) =>
    sequenceMeans(backend, x, sequenceOfRow, shares),
} satisfies CudaKernels;
