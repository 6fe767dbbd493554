/**
 * @file Which rows of a layer's input the scores are taken from: the mean token of each sequence (the original's), every token, or a fixed
 * number a sequence, which chooses as well as every token does at a fraction of the cost (docs/ACCURACY.md).
 *
 * Of all tokens, or of the sparse ones alone. The kept channels serve sparse tokens only, and what labelled tokens have a say in would carry
 * labels into the context.
 */
import { gatherRows, type PackedLayout, sequenceMeans, splitRows } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';

export interface ScoreRows {
  /** `mean` of each sequence, `all` tokens, or so many of each sequence, evenly spaced. */
  readonly tokens: 'mean' | 'all' | number;
  /** Sparse tokens alone. */
  readonly contextOnly: boolean;
}

/** Every layer of a step asks for those of the same layout. */
const known = new WeakMap<PackedLayout, Map<string, Int32Array>>();
const contexts = new WeakMap<PackedLayout, PackedLayout>();

/**
 * @param x [T, H] in the layout's row order.
 * @returns [n, H], owned by the caller; may be x itself.
 */
export function scoreRows(x: tf.Tensor2D, layout: PackedLayout, { tokens, contextOnly }: ScoreRows): tf.Tensor2D {
  if (typeof tokens === 'number') {
    return gatherRows(x, tf.tensor1d(layout.scoreRows ?? spacedRows(layout, tokens, contextOnly), 'int32'));
  }
  const part = scoredPart(x, layout, contextOnly);
  return tokens === 'all' ? part.x : sequenceMeans(part.x, part.layout);
}

/**
 * The rows that have a say, with their layout as far as means need one.
 * @param x [T, H] in the layout's row order.
 * @returns x itself, or its sparse rows [T − D, H], owned by the caller.
 */
export function scoredPart(
  x: tf.Tensor2D,
  layout: PackedLayout,
  contextOnly: boolean,
): { readonly x: tf.Tensor2D; readonly layout: PackedLayout } {
  const { denseTokens, tokens } = layout;
  if (!contextOnly || denseTokens === 0 || denseTokens === tokens) return { x, layout };
  // Not tf.slice: where memory can be shared, rows are split without a copy, and tfjs's slice on wasm copies all of its input first.
  const [dense, sparse] = splitRows(x, denseTokens);
  dense.dispose();
  return { x: sparse, layout: contextOf(layout) };
}

/** Rows of up to `count` tokens of each sequence, evenly spaced, its first among them. The same array each time. */
export function spacedRows(layout: PackedLayout, count: number, contextOnly: boolean): Int32Array {
  const ofLayout = known.get(layout) ?? new Map<string, Int32Array>();
  known.set(layout, ofLayout);
  const key = `${count} ${contextOnly}`;
  const made = ofLayout.get(key);
  if (made) return made;
  const rows: number[] = [];
  eachSequence(layout, contextOnly, (ofSequence) => {
    const n = Math.min(count, ofSequence.length);
    for (let i = 0; i < n; i++) rows.push(ofSequence[Math.floor((i * ofSequence.length) / n)]!);
  });
  const result = Int32Array.from(rows);
  ofLayout.set(key, result);
  return result;
}

/** The same as so many entries for each sequence, −1 where it has fewer tokens: of one length for all batches of as many sequences. */
export function spacedRowsOfEach(layout: PackedLayout, count: number, contextOnly: boolean): Int32Array {
  const rows = new Int32Array(count * (layout.sequenceStarts.length - 1)).fill(-1);
  // Sums over rows do not ask where the gaps are.
  rows.set(spacedRows(layout, count, contextOnly));
  return rows;
}

function eachSequence(layout: PackedLayout, contextOnly: boolean, visit: (rows: number[]) => void): void {
  const { sequenceStarts, rowOfToken, denseTokens } = layout;
  for (let b = 0; b + 1 < sequenceStarts.length; b++) {
    const rows: number[] = [];
    for (let token = sequenceStarts[b]!; token < sequenceStarts[b + 1]!; token++) {
      const row = rowOfToken[token]!;
      if (!contextOnly || row >= denseTokens) rows.push(row);
    }
    visit(rows);
  }
}

/** Sparse rows by sequence: those of sequence b are rows[starts[b]] up to, and without, rows[starts[b + 1]], counted from the first sparse one. */
export function contextRows(layout: PackedLayout): NonNullable<PackedLayout['context']> {
  const starts = [0];
  const rows: number[] = [];
  eachSequence(layout, true, (ofSequence) => {
    for (const row of ofSequence) rows.push(row - layout.denseTokens);
    starts.push(rows.length);
  });
  return { starts: Int32Array.from(starts), rows: Int32Array.from(rows) };
}

/** The sparse rows of a layout as a layout of their own, as far as means need one. */
function contextOf(layout: PackedLayout): PackedLayout {
  const made = contexts.get(layout);
  if (made) return made;
  const { starts, rows } = layout.context ?? contextRows(layout);
  const result = {
    ...layout,
    ...{ tokens: layout.tokens - layout.denseTokens, denseTokens: 0, sequenceStarts: starts, rowOfToken: rows },
  };
  contexts.set(layout, result);
  return result;
}
