/**
 * @file A batch in a layout that other batches fit too, so that a step can be recorded once for all of them.
 *
 * Padding rows stand behind the dense rows and behind the sparse ones, and in packed order behind all tokens, as sequences of their own: no real
 * token attends to them. Whoever fills the rows sees to it that they are zeros and have no label; then every sum over rows stays what it is.
 */
import type { PackedLayout } from '../contract/types.js';

/** A layout's sizes: what a recorded step is made for. */
export interface LayoutShape {
  readonly denseRows: number;
  readonly sparseRows: number;
  readonly sequences: number;
  /** Tokens of a sequence, at most. */
  readonly longest: number;
}

/** Sequences that so many padding rows need. */
export const paddingSequences = (rows: number, longest: number): number => Math.ceil(rows / longest);

/** Tokens of a layout's longest sequence. */
export function longestSequence({ sequenceStarts }: Pick<PackedLayout, 'sequenceStarts'>): number {
  let longest = 0;
  for (let b = 0; b + 1 < sequenceStarts.length; b++) {
    longest = Math.max(longest, sequenceStarts[b + 1]! - sequenceStarts[b]!);
  }
  return longest;
}

/** Whether a batch fits a shape. */
export function fitsShape(layout: PackedLayout, { denseRows, sparseRows, sequences, longest }: LayoutShape): boolean {
  const { tokens, denseTokens, sequenceStarts } = layout;
  const padding = denseRows + sparseRows - tokens;
  return (
    denseTokens <= denseRows &&
    tokens - denseTokens <= sparseRows &&
    longestSequence(layout) <= longest &&
    sequenceStarts.length - 1 + paddingSequences(padding, longest) <= sequences
  );
}

/**
 * The layout with rows and sequences added. Rows [0, D) stay, sparse ones move behind the dense padding; sequences that are left over have no tokens.
 * @throws RangeError when it does not fit.
 */
export function padLayout(layout: PackedLayout, shape: LayoutShape): PackedLayout {
  const { denseRows, sparseRows, sequences, longest } = shape;
  const { tokens, denseTokens, sequenceStarts, rowOfToken, positionOfRow } = layout;
  if (!fitsShape(layout, shape)) {
    throw new RangeError(
      `padLayout: ${denseTokens} dense and ${tokens - denseTokens} sparse tokens in ${sequenceStarts.length - 1} sequences of up to ` +
        `${longestSequence(layout)} do not fit ${denseRows}, ${sparseRows}, ${sequences} and ${longest}`,
    );
  }
  const total = denseRows + sparseRows;
  const moved = denseRows - denseTokens;
  const rowOf = new Int32Array(total);
  const positions = new Int32Array(total);
  for (let token = 0; token < tokens; token++) {
    const row = rowOfToken[token]!;
    rowOf[token] = row < denseTokens ? row : row + moved;
    positions[rowOf[token]!] = positionOfRow[row]!;
  }
  let token = tokens;
  for (let row = denseTokens; row < denseRows; row++) rowOf[token++] = row;
  for (let row = denseRows + tokens - denseTokens; row < total; row++) rowOf[token++] = row;
  const starts = new Int32Array(sequences + 1).fill(total);
  starts.set(sequenceStarts);
  for (let b = sequenceStarts.length, at = tokens; at < total; b++) {
    const end = Math.min(total, at + longest);
    starts[b] = end;
    for (let t = at; t < end; t++) positions[rowOf[t]!] = t - at;
    at = end;
  }
  const tokenOf = new Int32Array(total);
  rowOf.forEach((row, t) => {
    tokenOf[row] = t;
  });
  return {
    tokens: total,
    denseTokens: denseRows,
    sequenceStarts: starts,
    tokenOfRow: tokenOf,
    rowOfToken: rowOf,
    positionOfRow: positions,
    longest,
  };
}
