/** @file Products of two batches of matrices, one of each at a time. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { inScope, multiply, typeOf } from '../../shared/tensors.js';
import type { CudaKernels } from '../contract.js';

type Info = tf.TensorInfo;

/**
 * a[n]·b[n] for each n, with either operand read transposed.
 * @param a [n, m, k]. @param b [n, k, p].
 * @returns [n, m, p], owned by the caller: bf16 where both are, else float.
 */
export function batchedProduct(backend: CudaBackend, a: Info, b: Info, transposeA: boolean, transposeB: boolean): Info {
  const type = typeOf(backend, a, b);
  const batch = a.shape[0]!;
  const [m, k] = transposeA ? [a.shape[2]!, a.shape[1]!] : [a.shape[1]!, a.shape[2]!];
  const n = b.shape[transposeB ? 1 : 2]!;
  return inScope(backend, (scope) => {
    const [left, right] = [a, b].map((info) => scope.address(info, type));
    const d = scope.output([batch, m, n], 'float32', type);
    if (batch * m * n === 0) return d;
    if (k === 0) {
      backend.clear(d);
      return d;
    }
    const strides = { batch, strideA: m * k, strideB: k * n, strideD: m * n };
    const operands = { a: left!, b: right!, d: backend.address(d) };
    multiply(backend, { m, n, k, transposeA, transposeB, type, outputType: type, ...operands, ...strides });
    return d;
  });
}

/** Kernels of the contract. */
export const batchedMatmulKernels = {
  SpftBatchedMatMul: ({ backend, inputs: { a, b }, attributes: { transposeA, transposeB } }) =>
    batchedProduct(backend, a, b, transposeA, transposeB),
} satisfies CudaKernels;
