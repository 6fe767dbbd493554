/**
 * @file Mean over the tokens of each sequence of a packed batch: what the MLP predictor scores. As a product with a matrix of shares: on
 * wasm 0.3 ms for 12 sequences of 50 tokens and 256 channels, where a loop takes 0.8.
 */
import * as tf from '@tensorflow/tfjs';
import type { PackedLayout } from '../contract/types.js';
import { matMul2d, thinProduct } from '../engine/matmul.js';
import { runOp } from '../engine/op.js';
import { checkMatrix } from '../select/selection.js';

interface RowShares {
  readonly sequenceOfRow: Int32Array;
  readonly shares: Float32Array;
}

/** Every layer of a step asks for those of the same layout. */
const known = new WeakMap<PackedLayout, RowShares>();

/** Sequence of each row, and each sequence's share 1/length (0 for one without tokens). The same arrays each time. */
export function rowShares(layout: PackedLayout): RowShares {
  const made = known.get(layout) ?? makeRowShares(layout);
  known.set(layout, made);
  return made;
}

function makeRowShares({ sequenceStarts, rowOfToken, tokens }: PackedLayout): RowShares {
  const B = sequenceStarts.length - 1;
  const sequenceOfRow = new Int32Array(tokens);
  const shares = new Float32Array(B);
  for (let b = 0; b < B; b++) {
    const [start, end] = [sequenceStarts[b]!, sequenceStarts[b + 1]!];
    if (end > start) shares[b] = 1 / (end - start);
    for (let token = start; token < end; token++) sequenceOfRow[rowOfToken[token]!] = b;
  }
  return { sequenceOfRow, shares };
}

/** [T, B] with each sequence's share where a row is of it. */
function averagingMatrix({ sequenceOfRow, shares }: RowShares): tf.Tensor2D {
  const B = shares.length;
  const values = new Float32Array(sequenceOfRow.length * B);
  sequenceOfRow.forEach((b, row) => {
    values[row * B + b] = shares[b]!;
  });
  return tf.tensor2d(values, [sequenceOfRow.length, B]);
}

/**
 * @param x [T, n] in the layout's row order.
 * @returns [B, n], owned by the caller; zeros for a sequence without tokens. Differentiable in x.
 * @throws RangeError when x has not a row for each token.
 */
export function sequenceMeans(x: tf.Tensor2D, layout: PackedLayout): tf.Tensor2D {
  checkMatrix('sequenceMeans', 'x', x);
  if (x.shape[0] !== layout.tokens) {
    throw new RangeError(
      `sequenceMeans: x [${x.shape}] must have a row for each of the layout's ${layout.tokens} tokens`,
    );
  }
  const { rowOfToken, sequenceStarts } = layout;
  const rows = rowShares(layout);
  const op = tf.customGrad((x) => ({
    value: runOp('SpftSequenceMeans', { x: x as tf.Tensor }, { ...rows, rowOfToken, sequenceStarts }, () =>
      thinProduct(averagingMatrix(rows), x as tf.Tensor2D),
    ),
    gradFunc: (dy: tf.Tensor) => tf.tidy(() => matMul2d(averagingMatrix(rows), dy as tf.Tensor2D)),
  }));
  return op(x) as tf.Tensor2D;
}
