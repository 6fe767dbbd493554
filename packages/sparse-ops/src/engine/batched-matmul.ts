/**
 * @file Product of two batches of matrices.
 *
 * Where our SIMD kernels cannot run, tfjs's wasm backend multiplies single plain matrices with XNNPACK and everything else with a loop a tenth as
 * fast (matmul.ts), so there a batch is taken apart; other backends get it whole.
 */
import * as tf from '@tensorflow/tfjs';
import { batchedMatMulOnWasm } from '../kernels/host/batched-matmul.js';
import { registerWasmKernel } from '../kernels/host/wasm-heap.js';
import { matMul2d, prefersPlainProducts } from './matmul.js';
import { runOp } from './op.js';

registerWasmKernel('SpftBatchedMatMul', batchedMatMulOnWasm);

/** The product without a gradient of its own: for use inside ops. */
export function batchedProduct(a: tf.Tensor3D, b: tf.Tensor3D, transposeA = false, transposeB = false): tf.Tensor3D {
  return runOp('SpftBatchedMatMul', { a, b }, { transposeA, transposeB }, () => {
    if (!prefersPlainProducts() || a.shape[0] === 0) return tf.matMul(a, b, transposeA, transposeB);
    const [as, bs] = [tf.unstack(a) as tf.Tensor2D[], tf.unstack(b) as tf.Tensor2D[]];
    return tf.stack(as.map((one, n) => matMul2d(one, bs[n]!, transposeA, transposeB))) as tf.Tensor3D;
  });
}

/**
 * a[n]·b[n] for each n, with either operand read transposed.
 * @param a [n, m, k], or [n, k, m] when `transposeA`.
 * @param b [n, k, p], or [n, p, k] when `transposeB`.
 * @returns [n, m, p], owned by the caller. Differentiable in both.
 * @throws RangeError when the shapes do not fit.
 */
export function batchedMatMul(a: tf.Tensor3D, b: tf.Tensor3D, transposeA = false, transposeB = false): tf.Tensor3D {
  const fits =
    a.rank === 3 &&
    b.rank === 3 &&
    a.shape[0] === b.shape[0] &&
    a.shape[transposeA ? 1 : 2] === b.shape[transposeB ? 2 : 1];
  if (!fits) {
    throw new RangeError(
      `batchedMatMul: a [${a.shape}]${transposeA ? ' transposed' : ''} and b [${b.shape}]${transposeB ? ' transposed' : ''} ` +
        'must be [n, m, k] and [n, k, p]',
    );
  }
  const op = tf.customGrad((...args) => {
    const [a, b, save] = args as unknown as [tf.Tensor3D, tf.Tensor3D, tf.GradSaveFunc];
    const value = batchedProduct(a, b, transposeA, transposeB);
    save([a, b]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [a, b] = saved as [tf.Tensor3D, tf.Tensor3D];
      const g = dy as tf.Tensor3D;
      return [
        transposeA ? batchedProduct(b, g, transposeB, true) : batchedProduct(g, b, false, !transposeB),
        transposeB ? batchedProduct(g, a, true, transposeA) : batchedProduct(a, g, !transposeA, false),
      ];
    };
    return { value, gradFunc };
  });
  return op(a, b) as tf.Tensor3D;
}
