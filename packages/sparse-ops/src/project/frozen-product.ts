/**
 * @file x·Wᵀ with a frozen weight, whose transpose may be kept.
 *
 * Where plain products are preferred (matmul.ts), something is transposed, and packed by XNNPACK, for every product. An owner of a frozen
 * weight can ask that its transpose be kept. wasm, 256 → 768 (ms, transposed each time → kept): 1 token 0.27 → 0.06, 150 tokens 5.4 → 3.3;
 * forward and backward of an MLP 256 → 768 → 256 on 600 tokens: dense 65 → 62, with 200 tokens dense and the others at a quarter of the
 * channels 35 → 32. It takes the weight's memory twice more (the transpose, and what XNNPACK packs of it): so it is asked for, within a
 * budget, and given back by whoever asked.
 */
import * as tf from '@tensorflow/tfjs';
import { isInShards } from '../engine/in-shards.js';
import { matMul2d, prefersPlainProducts } from '../engine/matmul.js';
import { noGradient, takesKeptForLeak } from '../engine/tape.js';
import { transpose2d } from '../engine/transpose.js';
import { someStored } from '../forms/stored-matrix.js';

/** Kept transposes together hold at most so many numbers (512 MB); weights asked for beyond that are transposed each time. */
const BUDGET = 2 ** 27;

/** Transposes of the weights that were asked for; null before the first use. */
const transposes = new WeakMap<tf.Tensor, tf.Tensor2D | null>();
let keptNumbers = 0;

/**
 * Asks that products with `weight` keep its transpose from the first one on, on backends that gain by it. The weight's values must not
 * change. A weight of which this process holds a part has none. Call `releaseTransposed` before disposing the weight.
 * @param weight [out, in], frozen.
 */
export function keepTransposed(weight: tf.Tensor2D): void {
  // A matrix in less room than plain numbers take shall not get plain ones beside it.
  if (!someStored([weight]) && !isInShards(weight) && !transposes.has(weight)) transposes.set(weight, null);
}

/** Disposes the transpose of `weight`, if one is kept; it is kept no more. */
export function releaseTransposed(weight: tf.Tensor2D): void {
  const transposed = transposes.get(weight);
  if (transposed) {
    keptNumbers -= transposed.size;
    transposed.dispose();
  }
  transposes.delete(weight);
}

function transposeOf(weight: tf.Tensor2D): tf.Tensor2D | null {
  const transposed = transposes.get(weight);
  if (transposed !== null) return transposed ?? null;
  if (takesKeptForLeak() || keptNumbers + weight.size > BUDGET) return null;
  const made = noGradient(() => tf.keep(transpose2d(weight)));
  keptNumbers += made.size;
  transposes.set(weight, made);
  return made;
}

/**
 * x·weightᵀ, without a gradient of its own: for use inside ops. Take it as a function before the op begins, where a transpose can be kept.
 * @param weight [out, in].
 */
export function frozenProduct(weight: tf.Tensor2D): (x: tf.Tensor2D) => tf.Tensor2D {
  const transposed = prefersPlainProducts() ? transposeOf(weight) : null;
  return (x) => (transposed ? matMul2d(x, transposed) : matMul2d(x, weight, false, true));
}
