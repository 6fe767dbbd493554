/** @file Kept columns next to each other, transposed, back in their places, or masked; and the transpose of a matrix. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { Kernel } from '../../device/modules.js';
import { rowsToABlock } from '../../shared/tensors.js';
import { combinations, declareVariants } from '../../shared/variants.js';
import { BYTES } from '../../storage.js';
import type { CudaKernels } from '../contract.js';

type Info = tf.TensorInfo;

const ELEMENT = { 1: 'u8', 2: 'u16', 4: 'u32' } as const;

/** Bytes of x's elements: all that matters here. */
const bytesOf = (backend: CudaBackend, x: Info) => BYTES[backend.physical(x)] as 1 | 2 | 4;

const kernelOf = (backend: CudaBackend, x: Info, entry: string, parameters: string): Kernel =>
  backend.kernel('columns', entry, parameters, { ELEMENT: ELEMENT[bytesOf(backend, x)] });

/**
 * @param x [T, n]. @param indices int32 [kept].
 * @returns x[:, indices] [T, kept], owned by the caller.
 */
export function gatherColumns(backend: CudaBackend, x: Info, indices: Info): Info {
  const [rows, n] = x.shape as [number, number];
  const kept = indices.shape[0]!;
  const y = backend.output([rows, kept], x.dtype, backend.physical(x));
  const to = backend.address(y);
  const paired = kept % 2 === 0 && to % (2 * bytesOf(backend, x)) === 0 ? 1 : 0;
  const kernel = kernelOf(backend, x, 'gather_columns', 'pppiiii');
  // Neighbouring threads have neighbouring pairs of columns; blocks of a width that leaves the fewest of them idle, and threads for more rows.
  const blocks = (width: number) => Math.ceil(kept / (2 * width));
  const across = [128, 64, 32].reduce((best, width) => (blocks(width) * width < blocks(best) * best ? width : best));
  const down = 128 / across;
  const grid = [blocks(across), Math.min(65535, Math.ceil(rows / (8 * down)))] as const;
  const numbers = [rows, n, kept, paired];
  backend.launch(kernel, grid, [across, down], [backend.address(x), backend.address(indices), to, ...numbers]);
  return y;
}

/** x[:, indices]ᵀ [kept, T], or xᵀ without indices; owned by the caller. */
export function transposed(backend: CudaBackend, x: Info, indices?: Info): Info {
  const [rows, n] = x.shape as [number, number];
  const kept = indices ? indices.shape[0]! : n;
  const y = backend.output([kept, rows], x.dtype, backend.physical(x));
  const kernel = kernelOf(backend, x, 'transpose', 'pppiii');
  const addresses = [backend.address(x), indices ? backend.address(indices) : 0, backend.address(y)];
  backend.launch(kernel, [Math.ceil(kept / 32), Math.ceil(rows / 32)], [32, 8], [...addresses, rows, n, kept]);
  return y;
}

/** What scatter and mask have in common: threads of 16 bytes of columns, each for a stretch of rows. */
function overColumns(backend: CudaBackend, y: Info, launch: (count: number, full: 0 | 1, run: Run) => void): Info {
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

/** x [T, kept] in the columns `indices` of y [T, total], which is of x's type, and zeros in the others. @returns y. */
export function scatterColumns(backend: CudaBackend, x: Info, indices: Info, y: Info): Info {
  const [rows, kept] = x.shape as [number, number];
  const total = y.shape[1]!;
  return overColumns(backend, y, (count, full, run) => {
    const addresses = [backend.address(x), backend.address(indices), backend.address(y)];
    run(kernelOf(backend, x, 'scatter_columns', 'pppiiiii'), [...addresses, rows, kept, total, count, full]);
  });
}

/** x [T, n] with zeros in all columns but `indices` from row `fromRow` on; owned by the caller. */
export function maskColumns(backend: CudaBackend, x: Info, indices: Info, fromRow: number): Info {
  const [rows, total] = x.shape as [number, number];
  if (fromRow >= rows) return backend.share(x);
  const y = backend.output([rows, total], x.dtype, backend.physical(x));
  return overColumns(backend, y, (count, full, run) => {
    const addresses = [backend.address(x), backend.address(indices), backend.address(y)];
    const fullWidth = full === 1 && addresses[0]! % 16 === 0 ? 1 : 0;
    const numbers = [rows, indices.shape[0]!, total, fromRow, count, fullWidth];
    run(kernelOf(backend, x, 'mask_columns', 'pppiiiiii'), [...addresses, ...numbers]);
  });
}

declareVariants('columns', combinations({ ELEMENT: Object.values(ELEMENT) }));

/** Kernels of the contract. */
export const columnsKernels = {
  SpftGatherColumns: ({ backend, inputs: { x, indices } }) => gatherColumns(backend, x, indices),
  SpftGatherColumnsTransposed: ({ backend, inputs: { x, indices } }) => transposed(backend, x, indices),
  SpftScatterColumns: ({ backend, inputs: { x, indices }, attributes: { total } }) =>
    scatterColumns(backend, x, indices, backend.output([x.shape[0]!, total], x.dtype, backend.physical(x))),
  SpftMaskColumns: ({ backend, inputs: { x, indices }, attributes: { fromRow } }) =>
    maskColumns(backend, x, indices, fromRow),
  SpftTranspose2d: ({ backend, inputs: { x } }) => transposed(backend, x),
} satisfies CudaKernels;
