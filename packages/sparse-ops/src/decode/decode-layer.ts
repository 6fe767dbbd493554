/**
 * @file One token of each of B sequences through a whole decoder layer, with the keys and values of the tokens before it at hand: a step of generation.
 *
 * It is one op because at one row a layer is all launches and reads of weights: a backend that has it as a kernel reads each weight once, and writes keys
 * and values where they stay, so that nothing of the step depends on how long the sequences are and it can be recorded.
 */
import * as tf from '@tensorflow/tfjs';
import { rope } from '../attention/rope.js';
import type { HeadLayout } from '../contract/types.js';
import { runOp } from '../engine/op.js';
import { noGradient } from '../engine/tape.js';
import { someStored } from '../forms/stored-matrix.js';
import type { FrozenWeight, MlpWeights } from '../mlp/gated-mlp.js';
import { swiglu } from '../mlp/swiglu.js';
import { rmsNorm } from '../norm/rms-norm.js';
import { weightsOf } from '../project/frozen-layer.js';
import { linear } from '../project/linear.js';

/** What a decoder layer is made of, frozen. */
export interface DecoderWeights {
  /** [H]. */
  readonly inputNorm: tf.Tensor1D;
  readonly attention: Readonly<Record<'q' | 'k' | 'v' | 'o', FrozenWeight>>;
  /** [H]. */
  readonly postAttentionNorm: tf.Tensor1D;
  readonly mlp: MlpWeights;
  /** Of both norms. */
  readonly eps: number;
}

/** Keys, turned already, and values of a layer: of each of B sequences C tokens have room, the first ones being there. */
export interface KeysAndValues {
  /** [B, C, K·d]. */
  readonly keys: tf.Variable<tf.Rank.R3>;
  /** [B, C, K·d]. */
  readonly values: tf.Variable<tf.Rank.R3>;
}

/** Where the tokens are. */
export interface TokenPlaces {
  /** int32 [B], each below C: not checked, as that would read them back. */
  readonly positions: tf.Tensor1D;
  /** [B, d/2] of the positions. */
  readonly cos: tf.Tensor2D;
  readonly sin: tf.Tensor2D;
}

/**
 * Updates `cache` by the tokens' own keys and values. Not differentiable.
 * @param x [B, H].
 * @returns [B, H], what the layer gives, residuals included; owned by the caller.
 * @throws RangeError when the shapes do not fit.
 */
export function decodeLayer(
  x: tf.Tensor2D,
  weights: DecoderWeights,
  cache: KeysAndValues,
  places: TokenPlaces,
  heads: HeadLayout,
): tf.Tensor2D {
  check(x, cache, places, heads);
  const { inputNorm, postAttentionNorm, attention, mlp, eps } = weights;
  const { cos, sin, positions } = places;
  return tf.tidy(() => {
    const { keys, values } = cache;
    const composed = () => compose(x, weights, cache, places, heads);
    const { gate, up, down } = mlp;
    const isStored = someStored(weightsOf([...Object.values(attention), gate, up, down]));
    const [y, newKeys, newValues] = noGradient(() =>
      isStored
        ? composed()
        : runOp(
            'SpftDecodeLayer',
            { x, inputNorm, postAttentionNorm, cos, sin, positions, keys, values },
            { attention, mlp, heads, eps },
            composed,
          ),
    ) as [tf.Tensor2D, tf.Tensor3D, tf.Tensor3D];
    keys.assign(newKeys);
    values.assign(newValues);
    return y;
  });
}

function check(x: tf.Tensor2D, { keys, values }: KeysAndValues, places: TokenPlaces, heads: HeadLayout): void {
  const { kvHeads, headDim } = heads;
  const B = x.shape[0];
  const wanted: readonly (readonly [string, tf.Tensor, readonly number[]])[] = [
    ['keys', keys, [B, keys.shape[1]!, kvHeads * headDim]],
    ['values', values, [B, keys.shape[1]!, kvHeads * headDim]],
    ['cos', places.cos, [B, headDim / 2]],
    ['sin', places.sin, [B, headDim / 2]],
    ['positions', places.positions, [B]],
  ];
  for (const [name, tensor, shape] of wanted) {
    if (!tf.util.arraysEqual(tensor.shape, [...shape]))
      throw new RangeError(`decodeLayer: ${name} is [${tensor.shape}], must be [${shape}] for ${B} sequences`);
  }
}

function compose(
  x: tf.Tensor2D,
  { inputNorm, postAttentionNorm, attention, mlp, eps }: DecoderWeights,
  cache: KeysAndValues,
  { cos, sin, positions }: TokenPlaces,
  { heads: N, kvHeads: K, headDim: d }: HeadLayout,
): tf.Tensor[] {
  const [B, C] = [x.shape[0], cache.keys.shape[1]!];
  const times = (input: tf.Tensor2D, { weight, bias }: FrozenWeight) => linear(input, weight, bias);
  const normed = rmsNorm(x, inputNorm, eps);
  const q = rope(times(normed, attention.q), cos, sin, d);
  const k = rope(times(normed, attention.k), cos, sin, d);
  const places = tf.reshape(tf.range(0, C, 1, 'int32'), [1, C]);
  const own = tf.reshape(tf.cast(tf.equal(places, tf.reshape(positions, [B, 1])), 'float32'), [B, C, 1]);
  const add = (old: tf.Tensor, fresh: tf.Tensor2D) =>
    tf.add(tf.mul(old, tf.sub(1, own)), tf.mul(own, tf.reshape(fresh, [B, 1, K * d])));
  const keys = add(cache.keys, k);
  const values = add(cache.values, times(normed, attention.v));
  const later = tf.cast(tf.greater(places, tf.reshape(positions, [B, 1])), 'float32');
  const mask = tf.reshape(tf.tile(tf.reshape(tf.mul(later, -1e30), [B, 1, C]), [1, K, 1]), [B * K, 1, C]);
  const byHead = (of: tf.Tensor) =>
    tf.reshape(tf.transpose(tf.reshape(of, [B, C, K, d]), [0, 2, 1, 3]), [B * K, C, d]) as tf.Tensor3D;
  const grouped = tf.reshape(tf.mul(q, 1 / Math.sqrt(d)), [B * K, N / K, d]) as tf.Tensor3D;
  const p = tf.softmax(tf.add(tf.matMul(grouped, byHead(keys), false, true), mask)) as tf.Tensor3D;
  const mixed = tf.reshape(tf.matMul(p, byHead(values)), [B, N * d]) as tf.Tensor2D;
  const attended = tf.add(x, times(mixed, attention.o)) as tf.Tensor2D;
  const h = rmsNorm(attended, postAttentionNorm, eps);
  const y = tf.add(attended, times(swiglu(times(h, mlp.gate), times(h, mlp.up)), mlp.down));
  return [y, keys, values];
}
