/**
 * @file Matrix product of 2-D operands by the form that the active backend runs fastest.
 *
 * On wasm `tf.matMul` is ours wherever our SIMD kernels can run (kernels/simd/products.ts): to it all forms are alike. Where they cannot, it is tfjs's,
 * which hands only plain `A·B` of two matrices to XNNPACK. On two cores of a Xeon (Node 20, one thread), 768×192×768: 15 GFLOP/s plain, 1.1
 * with a transposed operand, 14 with the operand transposed first; batched products run at 1.7. So there a transposed operand is made explicit,
 * and batches are taken apart by the callers that have them. XNNPACK packs B once for each tensor, 6 ns an element, and keeps it while the tensor
 * lives: of two ways to say a product, the one with the small or lasting B is the better.
 */
import * as tf from '@tensorflow/tfjs';
import { hasSimdProducts } from '../kernels/simd/register.js';
import { meetBackend } from './meet-backend.js';
import { transpose2d } from './transpose.js';

/** Whether the active backend runs a product with a transposed operand much slower than a transposition and a plain product. */
export function prefersPlainProducts(): boolean {
  meetBackend();
  return tf.getBackend() === 'wasm' && !hasSimdProducts();
}

/**
 * a·b, with either operand read transposed. No gradient of its own: for use inside ops. Empty operands are allowed.
 * @param a [m, k], or [k, m] when `transposeA`.
 * @param b [k, n], or [n, k] when `transposeB`.
 * @returns [m, n], owned by the caller.
 */
export function matMul2d(a: tf.Tensor2D, b: tf.Tensor2D, transposeA = false, transposeB = false): tf.Tensor2D {
  if (a.size === 0 || b.size === 0) return tf.zeros([a.shape[transposeA ? 1 : 0], b.shape[transposeB ? 0 : 1]]);
  if (!prefersPlainProducts() || !(transposeA || transposeB)) {
    return tf.matMul(a, b, transposeA, transposeB);
  }
  return tf.tidy(() => {
    if (transposeB && !transposeA && isThin(a, b)) return transpose2d(tf.matMul(b, transpose2d(a)));
    return tf.matMul(transposeA ? transpose2d(a) : a, transposeB ? transpose2d(b) : b);
  });
}

/**
 * Whether a·bᵀ is better made as (b·aᵀ)ᵀ: then a and the product are transposed and a packed, instead of b. In generation a is a row for
 * each sequence, and a step of 1 or 32 rows times a weight 512×192 takes 0.13 and 0.5 ms that way instead of 0.8 and 1.2.
 * @param a [m, k].
 * @param b [n, k].
 */
function isThin({ shape: [m, k] }: tf.Tensor2D, { shape: [n] }: tf.Tensor2D): boolean {
  return 3 * m * (k + n) < 2 * n * k;
}

/**
 * thinᵀ·x for thin of few columns. Where plain products are preferred it is made as (xᵀ·thin)ᵀ: to transpose x and pack the thin operand takes
 * 0.8 ms for x 600×768 and 8 columns on wasm, to pack x 2.1.
 * @param thin [T, r].
 * @param x [T, n].
 * @returns [r, n], owned by the caller.
 */
export function thinProduct(thin: tf.Tensor2D, x: tf.Tensor2D): tf.Tensor2D {
  if (!prefersPlainProducts()) return matMul2d(thin, x, true, false);
  return tf.tidy(() => transpose2d(matMul2d(x, thin, true, false)));
}
