/**
 * @file Token partition: packs a batch without padding and puts its dense tokens first.
 *
 * Decided on the host, from the labels, once a batch (DESIGN section 3). The original splits and joins at every module; a permutation
 * made once leaves every token-wise op with two contiguous slices.
 */
import type { PackedLayout } from '../contract/types.js';

export interface TokenPartition {
  /** Tokens of each sequence, in batch order; at least 1 each. */
  readonly lengths: readonly number[];
  /** Whether a token, given by its index in packed order, is computed with all channels. */
  readonly dense: (packedIndex: number) => boolean;
}

/**
 * Lays out a batch: rows [0, D) are its dense tokens, rows [D, T) the sparse ones, each half in packed order.
 * @throws RangeError when a length is not a positive integer.
 */
export function packTokens({ lengths, dense }: TokenPartition): PackedLayout {
  const sequenceStarts = new Int32Array(lengths.length + 1);
  lengths.forEach((length, b) => {
    if (!Number.isInteger(length) || length < 1) {
      throw new RangeError(
        `packTokens: sequence ${b} has length ${length}; every sequence needs a positive whole number of tokens`,
      );
    }
    sequenceStarts[b + 1] = sequenceStarts[b]! + length;
  });
  const tokens = sequenceStarts[lengths.length]!;

  const tokenOfRow = new Int32Array(tokens);
  const sparseTokens: number[] = [];
  let denseTokens = 0;
  for (let token = 0; token < tokens; token++) {
    if (dense(token)) tokenOfRow[denseTokens++] = token;
    else sparseTokens.push(token);
  }
  tokenOfRow.set(sparseTokens, denseTokens);

  const rowOfToken = new Int32Array(tokens);
  for (let row = 0; row < tokens; row++) rowOfToken[tokenOfRow[row]!] = row;
  const positionOfRow = new Int32Array(tokens);
  for (let b = 0; b < lengths.length; b++) {
    const start = sequenceStarts[b]!;
    for (let token = start; token < sequenceStarts[b + 1]!; token++) positionOfRow[rowOfToken[token]!] = token - start;
  }
  return { tokens, denseTokens, sequenceStarts, tokenOfRow, rowOfToken, positionOfRow };
}
