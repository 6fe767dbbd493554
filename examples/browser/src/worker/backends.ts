/**
 * @file The backends of this page, best first. An entry says whether it can run here and makes it ready; nothing else knows of any by name, so that another one
 * is one entry more.
 */
import * as tf from '@tensorflow/tfjs';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { PageError } from '../engine/errors.js';
import type { BackendOption } from '../protocol.js';

interface PageBackend {
  readonly name: string;
  readonly title: string;
  /** Why it cannot run here, or null. */
  missing(): Promise<string | null>;
  /** Before tfjs starts it. */
  prepare(): Promise<void>;
}

const wasm: PageBackend = {
  name: 'wasm',
  title: 'WebAssembly',
  async missing() {
    return typeof WebAssembly === 'object' ? null : 'this browser has no WebAssembly';
  },
  async prepare() {
    // tfjs's module for threads has a memory in which spft's own SIMD kernels do not work: with it, a step would be slower and of other bits than in Node.
    tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
    setWasmPaths(new URL('wasm/', globalThis.location.href).href);
  },
};

const cpu: PageBackend = {
  name: 'cpu',
  title: 'Plain JavaScript (slow)',
  missing: async () => null,
  async prepare() {},
};

const BACKENDS: readonly PageBackend[] = [wasm, cpu];

export async function backendOptions(): Promise<BackendOption[]> {
  return Promise.all(BACKENDS.map(async ({ name, title, missing }) => ({ name, title, missing: await missing() })));
}

/** Makes it tfjs's active backend. @throws PageError when it cannot run here. */
export async function useBackend(name: string): Promise<void> {
  const backend = BACKENDS.find((one) => one.name === name);
  if (!backend) {
    throw new PageError(
      `There is no backend '${name}' on this page; it has ${BACKENDS.map((one) => one.name).join(', ')}.`,
    );
  }
  if (tf.getBackend() === name) return;
  const missing = await backend.missing();
  if (missing) throw new PageError(`${backend.title} cannot run here: ${missing}.`);
  await backend.prepare();
  const started = await tf.setBackend(name).catch((error: Error) => error);
  if (started !== true) {
    const reason = started instanceof Error ? `: ${started.message}` : '';
    throw new PageError(`${backend.title} did not start${reason}; reload the page, or choose another backend.`);
  }
  await tf.ready();
}
