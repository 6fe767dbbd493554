/**
 * @file tfjs's wasm backend on memory that threads share, so that our kernels run on all cores and nobody copies.
 *
 * tfjs's module for one thread runs on a memory of its own, which no other thread can see; its module for several threads is for browsers alone, and
 * hides its memory from us. But tfjs takes its module from wherever it is told, and the one for one thread is right on a shared memory too: it is
 * given as it is, but for the bit that says so (`withSharedMemory`). tfjs's own kernels stay on one thread; those of the ops share theirs out.
 */
import { assertKnownOptions } from '@spft/safetensors/internals';
import * as tf from '@tensorflow/tfjs';
import { setSimdThreads } from '../module.js';
import { withSharedMemory } from '../shared-memory.js';
import { defaultThreads, whyNoThreads } from './workers.js';

export interface SharedWasmOptions {
  /** Of `@tensorflow/tfjs-backend-wasm`. */
  setWasmPaths(files: Record<string, string>, usePlatformFetch: boolean): void;
  /** That package's `tfjs-backend-wasm-simd.wasm`: read from its `dist` in Node, fetched by a page. */
  readonly binary: Uint8Array;
  /** This one included; as many as the machine has cores by default, in Node what SPFT_THREADS says. */
  readonly threads?: number;
}

const FILES = ['tfjs-backend-wasm.wasm', 'tfjs-backend-wasm-simd.wasm', 'tfjs-backend-wasm-threaded-simd.wasm'];

/**
 * Call it before `tf.setBackend('wasm')`, in a page within a worker.
 * @returns null where the backend will have threads; else why it will not, and everything is as if nothing had been called: tfjs loads what it would have.
 * @throws RangeError when `threads`, or SPFT_THREADS in its place, is no whole number above 0, or `binary` is not such a file.
 */
export function shareWasmMemory(options: SharedWasmOptions): string | null {
  assertKnownOptions('shareWasmMemory', options, { setWasmPaths: true, binary: true, threads: true });
  const { setWasmPaths, binary, threads } = options;
  if (threads !== undefined && !(Number.isSafeInteger(threads) && threads > 0)) {
    throw new RangeError(`shareWasmMemory: threads is ${threads}, must be a whole number of at least 1`);
  }
  const problem = whyNoThreads();
  if (problem !== null) return problem;
  const count = threads ?? defaultThreads();
  if (count === 1) return 'one is what was asked for, or all that this machine gives';
  const shared = withSharedMemory(binary);
  const url = URL.createObjectURL(new Blob([shared], { type: 'application/wasm' }));
  // Else tfjs would take its module for several threads in a page that may share memory, and threads of its own beside ours.
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  setWasmPaths(Object.fromEntries(FILES.map((file) => [file, url])), true);
  setSimdThreads(count);
  return null;
}
