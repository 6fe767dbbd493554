/**
 * @file The head of a language model and its loss in one: Σᵣ −log softmax(x·Wᵀ)[r, label], in chunks of rows.
 *
 * Logits of R rows times V tokens never exist at once, nor their gradient. The weight is frozen, so the gradient of x is all that the
 * backward needs, and it is made in the forward while a chunk's probabilities are at hand, as Liger-Kernel does (arXiv:2410.10989):
 * 2 products a chunk instead of 3 with recomputation, and [R, H] kept, which x would take as well. Off the tape only the loss is made.
 */
import * as tf from '@tensorflow/tfjs';
import { addAll } from '../engine/add-all.js';
import { matMul2d, prefersPlainProducts } from '../engine/matmul.js';
import { runOp } from '../engine/op.js';
import { isRecording, noGradient } from '../engine/tape.js';
import { transpose2d } from '../engine/transpose.js';
import { someStored, unpacked } from '../forms/stored-matrix.js';

/** Logits of one chunk hold at most about so many numbers, unless `chunkRows` says otherwise: 32 MB. */
const CHUNK_NUMBERS = 2 ** 23;

/** Rows whose logits exist at once, of a vocabulary of V tokens, unless `chunkRows` says otherwise. */
export const defaultChunkRows = (V: number): number => Math.max(16, Math.floor(CHUNK_NUMBERS / V));

export interface LinearCrossEntropyOptions {
  /** Rows whose logits exist at once. */
  readonly chunkRows?: number;
}

/**
 * x·Wᵀ [rows, V]. Where only plain products are fast, as (W·xᵀ)ᵀ: of the two operands that could be transposed, and that XNNPACK would pack
 * at 6 ns an element, x is by far the smaller.
 */
function logitsOf(x: tf.Tensor2D, weight: tf.Tensor2D): tf.Tensor2D {
  if (!prefersPlainProducts()) return matMul2d(x, weight, false, true);
  return tf.tidy(() => transpose2d(matMul2d(weight, x, false, true)));
}

/** Loss (scalar) and, if asked for, gradient [rows, H] of one chunk. */
function chunkLoss(x: tf.Tensor2D, weight: tf.Tensor2D, labels: tf.Tensor1D, withGradient: boolean): tf.Tensor[] {
  return tf.tidy(() => {
    const logits = logitsOf(x, weight);
    // Cast rather than asked for as float32, which the wasm backend's OneHot does not heed.
    const oneHot = tf.cast(tf.oneHot(labels, weight.shape[0]!), 'float32') as tf.Tensor2D;
    const p = tf.softmax(logits);
    // log Σ exp(z) is z − log softmax(z) at any place: taken at the largest, whose probability is at least 1/V, nothing underflows.
    const logSum = tf.sub(tf.max(logits, 1), tf.log(tf.max(p, 1)));
    const loss = tf.sub(tf.sum(logSum), tf.sum(tf.mul(logits, oneHot)));
    return withGradient ? [loss, matMul2d(tf.sub(p, oneHot), weight)] : [loss];
  });
}

/** Loss and, if asked for, gradient [R, H] of all rows. */
function allChunks(
  x: tf.Tensor2D,
  weight: tf.Tensor2D,
  labels: tf.Tensor1D,
  chunkRows: number,
  withGradient: boolean,
): tf.Tensor[] {
  const R = x.shape[0];
  if (R === 0) return withGradient ? [tf.scalar(0), tf.zerosLike(x)] : [tf.scalar(0)];
  if (R <= chunkRows) return chunkLoss(x, weight, labels, withGradient);
  const losses: tf.Tensor[] = [];
  const gradients: tf.Tensor[] = [];
  for (let row = 0; row < R; row += chunkRows) {
    const rows = Math.min(chunkRows, R - row);
    const [xs, ls] = [tf.slice(x, [row, 0], [rows, -1]), tf.slice(labels, [row], [rows])];
    const [loss, gradient] = chunkLoss(xs, weight, ls, withGradient);
    losses.push(loss!);
    if (gradient) gradients.push(gradient);
  }
  return withGradient ? [addAll(losses), tf.concat(gradients)] : [addAll(losses)];
}

/**
 * @param x [R, H] rows that have a label.
 * @param weight [V, H], frozen.
 * @param labels int32 [R], each in [0, V): one outside gives a wrong loss, as checking would read it back. On backends that record steps a row
 * whose label is below 0 counts for nothing.
 * @returns the summed loss (scalar), owned by the caller. Differentiable in x.
 * @throws RangeError when the shapes do not fit.
 */
export function linearCrossEntropy(
  x: tf.Tensor2D,
  weight: tf.Tensor2D,
  labels: tf.Tensor1D,
  options: LinearCrossEntropyOptions = {},
): tf.Scalar {
  if (x.rank !== 2 || x.shape[1] !== weight.shape[1] || labels.rank !== 1 || labels.shape[0] !== x.shape[0]) {
    throw new RangeError(
      `linearCrossEntropy: x [${x.shape}] must be [R, H], weight [${weight.shape}] [V, H] and labels [${labels.shape}] [R]`,
    );
  }
  if (labels.dtype !== 'int32') throw new TypeError(`linearCrossEntropy: labels are ${labels.dtype}, must be int32`);
  const chunkRows = options.chunkRows ?? defaultChunkRows(weight.shape[0]);
  if (!(Number.isInteger(chunkRows) && chunkRows > 0)) {
    throw new RangeError(`linearCrossEntropy: chunkRows is ${chunkRows}, must be a positive whole number`);
  }
  const withGradient = isRecording();
  const run = (weight: tf.Tensor2D) =>
    runOp('SpftLinearCrossEntropy', { x, weight, labels }, { chunkRows, withGradient }, () =>
      allChunks(x, weight, labels, chunkRows, withGradient),
    );
  const [loss, dx] = noGradient(() => (someStored([weight]) ? tf.tidy(() => run(unpacked(weight))) : run(weight)));
  if (!dx) return loss as tf.Scalar;
  // What the forward made beside the loss is kept by an op that only hands the loss on: an op has one output and keeps its inputs.
  const op = tf.customGrad((_, save) => {
    (save as tf.GradSaveFunc)([dx]);
    return { value: tf.clone(loss!), gradFunc: (dy: tf.Tensor, [dx]: tf.Tensor[]) => tf.mul(dx!, dy) };
  });
  const value = op(x) as tf.Scalar;
  tf.dispose([loss!, dx]);
  return value;
}
