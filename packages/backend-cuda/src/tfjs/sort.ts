/** @file Rows of 64-bit keys sorted on the device (`cuda/sort.cu`), and TopK by it. */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { blocksFor, THREADS } from '../shared/launching.js';
import { registerCudaKernel } from '../shared/register.js';
import { combinations, declareVariants } from '../shared/variants.js';
import { C_TYPE, PLAIN_C_TYPES } from '../storage.js';

/** Keys that are sorted in shared memory; `cuda/sort.cu` has the same number. */
const TILE = 2048;

/** Length of a row that `n` keys are padded to. */
export const paddedLength = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, n)));

/** Sorts `rows` rows of `length` keys at `address` in ascending order; `length` is a power of two. */
export function sortRows(backend: CudaBackend, address: number, rows: number, length: number): void {
  const size = rows * length;
  const tiles = backend.kernel('sort', 'sort_tiles', 'pllll');
  const step = backend.kernel('sort', 'sort_step', 'pllll');
  const withinTiles = (from: number, to: number) =>
    backend.launch(tiles, [Math.min(2 ** 20, Math.ceil(size / TILE))], [THREADS], [address, size, length, from, to]);
  if (length > 1) withinTiles(2, Math.min(length, TILE));
  for (let run = 2 * TILE; run <= length; run *= 2) {
    for (let half = run / 2; half >= TILE; half /= 2) {
      backend.launch(step, [blocksFor(size / 2)], [THREADS], [address, size, length, run, half]);
    }
    withinTiles(run, run);
  }
}

registerCudaKernel<'x', { k: number; sorted: boolean }>(tf.TopK, ({ backend, inputs: { x }, attributes: { k } }) => {
  const physical = backend.physical(x);
  const n = x.shape.at(-1)!;
  const shape = [...x.shape.slice(0, -1), k];
  const values = backend.output(shape, x.dtype, physical);
  const indices = backend.output(shape, 'int32');
  const count = tf.util.sizeFromShape(shape);
  if (count === 0) return [values, indices];
  const rows = count / k;
  const padded = paddedLength(n);
  const defines = { FROM: C_TYPE[physical] };
  const from = backend.address(x);
  backend.scratch(8 * rows * padded, (keys) => {
    const make = backend.kernel('top-k', 'top_k_keys', 'pplll', defines);
    backend.launch(make, [blocksFor(rows * padded)], [THREADS], [from, keys, rows, n, padded]);
    sortRows(backend, keys, rows, padded);
    const take = backend.kernel('top-k', 'top_k_take', 'ppppllll', defines);
    const places = [from, keys, backend.address(values), backend.address(indices)];
    backend.launch(take, [blocksFor(count)], [THREADS], [...places, rows, n, padded, k]);
  });
  return [values, indices];
});

declareVariants('sort');
declareVariants('top-k', combinations({ FROM: PLAIN_C_TYPES }));
