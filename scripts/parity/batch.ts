/** @file From a golden batch, a padded rectangle, to ours, and logits back. */
import { denseTokens } from '@spft/estimator';
import type { PackedBatch } from '@spft/models';
import { packTokens } from '@spft/sparse-ops';
import type { GoldenFile } from './golden.js';

export interface GoldenBatch {
  readonly packed: PackedBatch;
  /** Place in the [B·S] rectangle of each packed token. */
  readonly places: readonly number[];
  readonly rows: number;
  readonly columns: number;
}

/**
 * Reads `input_ids`, `labels` and `attention_mask` (absent: no padding).
 * @param sparsity `none`: every token dense; `split`: output tokens dense, the original's rectangle of them; `all`: every token sparse.
 */
export function readBatch(file: GoldenFile, sparsity: 'none' | 'split' | 'all'): GoldenBatch {
  const ids = file.get('input_ids');
  const [rows, columns] = ids.shape as [number, number];
  const mask = file.names.includes('attention_mask') ? file.get('attention_mask').data : null;
  const labels = file.get('labels').data;
  const places = Array.from({ length: rows * columns }, (_, place) => place).filter((place) => mask?.[place] !== 0);
  const lengths = Array.from(
    { length: rows },
    (_, row) => places.filter((place) => Math.floor(place / columns) === row).length,
  );
  const packedLabels = Int32Array.from(places, (place) => labels[place]!);
  const dense =
    sparsity === 'none'
      ? new Uint8Array(places.length).fill(1)
      : denseTokens(packedLabels, lengths, {
          skipOutputTokens: sparsity === 'split',
          skipSinkTokens: 0,
          skipRandomTokens: false,
          sparseOutputTokens: 0,
          compat: 'reference',
        });
  const packed = {
    inputIds: Int32Array.from(places, (place) => ids.data[place]!),
    labels: packedLabels,
    layout: packTokens({ lengths, dense: (token) => dense[token] === 1 }),
  };
  return { packed, places, rows, columns };
}

/** Rows of [B, S, V] values that are tokens, [T, V] in packed order: what padding holds means nothing. */
export function realRows({ places, rows, columns }: GoldenBatch, values: ArrayLike<number>): Float32Array {
  const V = values.length / (rows * columns);
  const real = new Float32Array(places.length * V);
  places.forEach((place, token) => {
    for (let v = 0; v < V; v++) real[token * V + v] = values[place * V + v]!;
  });
  return real;
}

/** Tokens of the first `columns` columns of each row that are not padding. */
export function rowsBefore({ places, packed, rows, columns }: GoldenBatch, end: number): number[][] {
  const found: number[][] = Array.from({ length: rows }, () => []);
  places.forEach((place, token) => {
    if (place % columns < end) found[Math.floor(place / columns)]!.push(packed.inputIds[token]!);
  });
  return found;
}
