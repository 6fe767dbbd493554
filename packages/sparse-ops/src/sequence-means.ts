/** @file Mean over the tokens of each sequence of a packed batch: what the MLP predictor scores. */
import * as tf from '@tensorflow/tfjs';
import { registerHostKernel } from './kernels/host/host-kernel.js';
import { sequenceMeansOnHost } from './kernels/host/reductions.js';
import { matMul2d } from './matmul.js';
import { runOp } from './op.js';
import { checkMatrix } from './selection.js';
import type { PackedLayout } from './types.js';

/** Input x [T, n]; attributes sequenceOfRow (Int32Array [T]), shares (Float32Array [B], 1/length); output [B, n]. */
export const SEQUENCE_MEANS = 'SpftSequenceMeans';
registerHostKernel({ kernelName: SEQUENCE_MEANS, ...sequenceMeansOnHost });

/** Sequence of each row, and each sequence's share 1/length (0 for one without tokens). */
function rowShares({ sequenceStarts, rowOfToken, tokens }: PackedLayout) {
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

/** [B, T] with each sequence's share where a row is of it. */
function averagingMatrix({ sequenceOfRow, shares }: ReturnType<typeof rowShares>): tf.Tensor2D {
  const T = sequenceOfRow.length;
  const values = new Float32Array(shares.length * T);
  sequenceOfRow.forEach((b, row) => {
    values[b * T + row] = shares[b]!;
  });
  return tf.tensor2d(values, [shares.length, T]);
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
  const rows = rowShares(layout);
  const op = tf.customGrad((x) => ({
    value: runOp(SEQUENCE_MEANS, { x: x as tf.Tensor }, rows, () => matMul2d(averagingMatrix(rows), x as tf.Tensor2D)),
    gradFunc: (dy: tf.Tensor) => tf.tidy(() => matMul2d(averagingMatrix(rows), dy as tf.Tensor2D, true, false)),
  }));
  return op(x) as tf.Tensor2D;
}
