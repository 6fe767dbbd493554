/** @file What kernels on matrices share: element types, temporary tensors, accesses of full width, products that may be empty. */
import type * as tf from '@tensorflow/tfjs';
import { type CudaBackend, matrixType } from '../backend.js';
import type { MatrixType, Product } from '../device/gemm.js';
import { BYTES } from '../storage.js';

/** Takes a tensor that a kernel needs for a while, and gives it back when the kernel is through. */
export type Temporary = (info: tf.TensorInfo) => tf.TensorInfo;

/** Runs `f`; tensors that it passes to its argument are released after it, also when it throws. */
export function withTemporaries<T>(backend: CudaBackend, f: (temporary: Temporary) => T): T {
  const taken: tf.TensorInfo[] = [];
  try {
    return f((info) => {
      taken.push(info);
      return info;
    });
  } finally {
    for (const info of taken) backend.release(info);
  }
}

/** Element type that a kernel computes in: bf16 where all of its tensors are, else float. */
export const typeOf = (backend: CudaBackend, ...infos: readonly tf.TensorInfo[]): MatrixType =>
  matrixType(infos.every((info) => backend.physical(info) === 'bf16') ? 'bf16' : 'f32');

/** 1 where rows of n numbers that begin at these addresses can be accessed eight numbers at a time (octets.cuh), else 0. */
export const aligned = (n: number, ...addresses: readonly number[]): 0 | 1 =>
  n % 8 === 0 && addresses.every((address) => address % 16 === 0) ? 1 : 0;

/** A product whose inner dimension may be 0. */
export function multiply(backend: CudaBackend, product: Product): void {
  const { m, n, k, c, d, beta = 0, outputType } = product;
  if (k > 0) {
    backend.multiply(product);
    return;
  }
  if (beta !== 0 && beta !== 1) throw new TypeError('internal: no empty product is scaled');
  const bytes = m * n * BYTES[outputType];
  if (bytes === 0) return;
  if (beta === 0) backend.device.call('cuMemsetD8Async', d, 0, bytes, backend.device.stream);
  else if (c !== undefined && c !== d) backend.copy(c, d, bytes);
}

/**
 * Address of a trained matrix in bf16. Made when first wanted and kept with it: forward and backward use it, and the optimizer writes it
 * together with the matrix (optimizer.ts).
 */
export function halfOf(backend: CudaBackend, info: tf.TensorInfo): number {
  if (backend.physical(info) === 'bf16') return backend.address(info);
  const size = info.shape.reduce((product, n) => product * n, 1);
  return backend.derived(info, HALF, size * BYTES.bf16, (address) => {
    const kernel = backend.kernel('cast', 'cast_elements', 'ppl', { FROM: 'float', TO: 'bf16' });
    backend.launch(kernel, [Math.min(8192, Math.ceil(size / 1024))], [256], [backend.address(info), address, size]);
  });
}

/** What `halfOf` keeps is called so. */
export const HALF = 'bf16';

/** Blocks of rows by columns so that a GPU has about eight for each multiprocessor: rows for each of them. */
export function rowsToABlock(backend: CudaBackend, rows: number, blocksAcross: number, least: number): number {
  const wanted = Math.max(1, Math.floor((8 * backend.device.info.multiprocessors) / blocksAcross));
  return Math.max(least, Math.ceil(rows / wanted));
}
