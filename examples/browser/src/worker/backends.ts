/**
 * @file The backends of this page, best first. An entry says whether it can run here and makes it ready; nothing else knows of any by name, so that another one
 * is one entry more.
 */
import { shareWasmMemory } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { PageError } from '../engine/errors.js';
import type { BackendLimits } from '../engine/memory.js';
import type { BackendOption } from '../protocol.js';
import { webgpu as webgpuCapability } from './capabilities.js';

interface PageBackend {
  readonly name: string;
  readonly title: string;
  /** Why it cannot run here, or null. */
  missing(): Promise<string | null>;
  /** Before tfjs starts it. @returns what a visitor should know of it, or null. */
  prepare(): Promise<string | null>;
  /** What it can hold, once tfjs has started it. */
  limits(): Omit<BackendLimits, 'whose'>;
}

const NO_LIMITS = { bytes: Number.POSITIVE_INFINITY, tensorBytes: Number.POSITIVE_INFINITY } as const;
/** WebAssembly of 32 bits has so much, whatever the machine has. */
const WASM_BYTES = 2 ** 32;

const wasm: PageBackend = {
  name: 'wasm',
  title: 'WebAssembly',
  async missing() {
    return typeof WebAssembly === 'object' ? null : 'this browser has no WebAssembly';
  },
  async prepare() {
    const folder = new URL('wasm/', globalThis.location.href).href;
    const response = await fetch(`${folder}tfjs-backend-wasm-simd.wasm`);
    const binary = response.ok ? new Uint8Array(await response.arrayBuffer()) : null;
    const why = binary ? shareWasmMemory({ setWasmPaths, binary }) : `the server answers ${response.status}`;
    if (why === null) return null;
    // tfjs's own module for threads hides its memory from spft's kernels.
    tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
    setWasmPaths(folder);
    return `WebAssembly runs on one thread: ${why}`;
  },
  limits: () => ({ ...NO_LIMITS, bytes: WASM_BYTES }),
};

const webgpu: PageBackend = {
  name: 'webgpu',
  title: 'WebGPU',
  async missing() {
    const { available, detail } = await webgpuCapability();
    return available ? null : detail;
  },
  async prepare() {
    const { startError } = await import('@spft/backend-webgpu');
    whyNotStarted = startError;
    return null;
  },
  limits: () => ({
    ...NO_LIMITS,
    tensorBytes: (tf.backend() as unknown as { readonly largestTensor: number }).largestTensor,
  }),
};

/** What the backend that was asked to start says of why it did not. */
let whyNotStarted: () => Error | null = () => null;

const cpu: PageBackend = {
  name: 'cpu',
  title: 'Plain JavaScript (slow)',
  missing: async () => null,
  prepare: async () => null,
  limits: () => NO_LIMITS,
};

/** WebGPU is for those who choose it: what a browser has as a GPU may be an emulated one. */
const BACKENDS: readonly PageBackend[] = [wasm, webgpu, cpu];

/** What the active backend can hold. */
export function limitsOfBackend(): BackendLimits {
  const { title, limits } = BACKENDS.find(({ name }) => name === tf.getBackend())!;
  return { ...limits(), whose: title };
}

export async function backendOptions(): Promise<BackendOption[]> {
  return Promise.all(BACKENDS.map(async ({ name, title, missing }) => ({ name, title, missing: await missing() })));
}

/**
 * Makes it tfjs's active backend.
 * @returns what a visitor should know of it, the first time.
 * @throws PageError when it cannot run here; the backend's own error where it says why it did not start.
 */
export async function useBackend(name: string): Promise<string | null> {
  const backend = BACKENDS.find((one) => one.name === name);
  if (!backend) {
    throw new PageError(
      `There is no backend '${name}' on this page; it has ${BACKENDS.map((one) => one.name).join(', ')}.`,
    );
  }
  if (tf.getBackend() === name) return null;
  const missing = await backend.missing();
  if (missing) throw new PageError(`${backend.title} cannot run here: ${missing}.`);
  const notice = prepared.has(name) ? null : await backend.prepare();
  prepared.add(name);
  const started = await tf.setBackend(name).catch((error: Error) => error);
  if (started !== true) {
    const own = whyNotStarted();
    if (own) throw own;
    const reason = started instanceof Error ? `: ${started.message}` : '';
    throw new PageError(`${backend.title} did not start${reason}; reload the page, or choose another backend.`);
  }
  await tf.ready();
  return notice;
}

const prepared = new Set<string>();
