/** @file The same layer and loss by tfjs's own ops and gradients, a line for each: what the fused functions must equal with all channels. */
import { ropeRows } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { type Batch, EPS, HEADS, type Layer, type Projection } from './layer.js';

const norm = (x: tf.Tensor, weight: tf.Tensor) =>
  tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), 1, true), EPS))), weight);

/** Heads [T, n, d] turned by the angles of their rows. */
function turn(x: tf.Tensor, cos: tf.Tensor, sin: tf.Tensor): tf.Tensor {
  const [T, n] = x.shape as [number, number];
  const [first, second] = tf.split(x, 2, 2) as [tf.Tensor, tf.Tensor];
  const [c, s] = [cos, sin].map((angles) => tf.reshape(angles, [T, 1, -1])) as [tf.Tensor, tf.Tensor];
  const turned = [tf.sub(tf.mul(first, c), tf.mul(second, s)), tf.add(tf.mul(second, c), tf.mul(first, s))];
  return tf.reshape(tf.concat(turned, 2), [T, n, -1]);
}

/** @returns the summed loss of the dense tokens. */
export function plainLoss({ weights, branches, norms, head, tables }: Layer, { x, layout, labels }: Batch): tf.Scalar {
  const project = (h: tf.Tensor, name: Projection) => {
    const { a, b, scaling } = branches[name];
    const low = tf.matMul(h as tf.Tensor2D, a, false, true);
    return tf.add(
      tf.matMul(h as tf.Tensor2D, weights[name], false, true),
      tf.mul(tf.matMul(low, b, false, true), scaling),
    );
  };
  const { tokens: T, tokenOfRow, sequenceStarts } = layout;
  const { cos, sin } = ropeRows(tables, layout.positionOfRow);
  const { heads: N, kvHeads: K, headDim: d } = HEADS;

  // A row sees the rows of its own sequence up to itself.
  const sequenceOf = (token: number) => sequenceStarts.findIndex((start) => start > token);
  const sees = (row: number, other: number) =>
    tokenOfRow[other]! <= tokenOfRow[row]! && sequenceOf(tokenOfRow[other]!) === sequenceOf(tokenOfRow[row]!);
  const mask = Array.from({ length: T * T }, (_, i) => (sees(Math.floor(i / T), i % T) ? 0 : -1e9));

  const h = norm(x, norms[0]);
  const byHead = (name: 'q' | 'k' | 'v', n: number) => tf.reshape(project(h, name), [T, n, d]);
  const each = (t: tf.Tensor, n: number) =>
    tf.transpose(tf.reshape(tf.tile(tf.reshape(t, [T, n, 1, d]), [1, 1, N / n, 1]), [T, N, d]), [1, 0, 2]);
  const [q, k, v] = [
    each(turn(byHead('q', N), cos, sin), N),
    each(turn(byHead('k', K), cos, sin), K),
    each(byHead('v', K), K),
  ];
  const scores = tf.add(tf.mul(tf.matMul(q!, k!, false, true), d ** -0.5), tf.tensor(mask, [1, T, T]));
  const attended = tf.reshape(tf.transpose(tf.matMul(tf.softmax(scores), v!), [1, 0, 2]), [T, N * d]);
  const after = tf.add(x, project(attended, 'o'));

  const h2 = norm(after, norms[1]);
  const gate = project(h2, 'gate');
  const out = tf.add(after, project(tf.mul(tf.mul(gate, tf.sigmoid(gate)), project(h2, 'up')), 'down'));

  const labelled = norm(tf.slice(out, [0, 0], [layout.denseTokens, -1]), norms[1]);
  const logits = tf.matMul(labelled as tf.Tensor2D, head, false, true);
  const oneHot = tf.oneHot(labels, head.shape[0]);
  return tf.neg(tf.sum(tf.mul(tf.log(tf.softmax(logits)), oneHot))) as tf.Scalar;
}
