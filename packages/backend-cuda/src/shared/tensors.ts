/** @file What kernels on matrices share: element types, temporary tensors, accesses of full width, products that may be empty. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import type { MatrixType, Product } from '../device/gemm.js';
import { BYTES, type Physical } from '../storage.js';

/** The tensors that a kernel makes while it runs. */
export class Scope {
  readonly #backend: CudaBackend;
  readonly #temporary: tf.TensorInfo[] = [];
  readonly #results: tf.TensorInfo[] = [];

  constructor(backend: CudaBackend) {
    this.#backend = backend;
  }

  /** Takes over a tensor, which is given back when the kernel is through. */
  temporary(info: tf.TensorInfo): tf.TensorInfo {
    this.#temporary.push(info);
    return info;
  }

  /** Takes over a result, which is given back if the kernel fails. */
  result(info: tf.TensorInfo): tf.TensorInfo {
    this.#results.push(info);
    return info;
  }

  /** A new result. */
  output(...args: Parameters<CudaBackend['output']>): tf.TensorInfo {
    return this.result(this.#backend.output(...args));
  }

  /** Where `info` is as `physical`: itself, or a temporary copy. */
  address(info: tf.TensorInfo, physical: Physical): number {
    if (this.#backend.physical(info) === physical) return this.#backend.address(info);
    return this.#backend.address(this.temporary(this.#backend.as(info, physical)));
  }

  end(failed: boolean): void {
    for (const info of this.#temporary) this.#backend.release(info);
    if (failed) for (const info of this.#results) this.#backend.release(info);
  }
}

/** Runs a kernel: its temporary tensors are released after it, and its results too where it throws (no memory left, say). */
export function inScope<T>(backend: CudaBackend, f: (scope: Scope) => T): T {
  const scope = new Scope(backend);
  let failed = true;
  try {
    const value = f(scope);
    failed = false;
    return value;
  } finally {
    scope.end(failed);
  }
}

/** Element type that a kernel computes in: bf16 where all of its tensors are, else float. */
export function typeOf(backend: CudaBackend, ...infos: readonly tf.TensorInfo[]): MatrixType {
  for (const info of infos) if (backend.physical(info) !== 'bf16') return 'f32';
  return 'bf16';
}

/** 1 where rows of n numbers that begin at these addresses can be accessed eight numbers at a time (octets.cuh), else 0. */
export function allAligned(n: number, addresses: readonly number[]): 0 | 1 {
  if ((n & 7) !== 0) return 0;
  // Of an address, which is beyond 32 bits, the last of these are much faster than its remainder.
  for (const address of addresses) if ((address & 15) !== 0) return 0;
  return 1;
}

export const aligned = (n: number, ...addresses: readonly number[]): 0 | 1 => allAligned(n, addresses);

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
  const known = backend.derivedAddress(info, HALF);
  if (known !== 0) return known;
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
