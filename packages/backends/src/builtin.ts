/**
 * @file The backends of TensorFlow.js itself, and ours for NVIDIA GPUs and for the system's BLAS. `wasm` and `cpu` come with the install;
 * `tensorflow` and `webgpu` are the user's to install and never downloaded by us.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import type { BackendDescriptor, BackendProbe } from './descriptor.js';
import { findPackage } from './installed.js';

const TENSORFLOW_GPU_PACKAGE = '@tensorflow/tfjs-node-gpu';
const TENSORFLOW_PACKAGES = [TENSORFLOW_GPU_PACKAGE, '@tensorflow/tfjs-node'];
const CUDA_PACKAGE = '@spft/backend-cuda';
const BLAS_PACKAGE = '@spft/backend-blas';
const WASM_PACKAGE = '@tensorflow/tfjs-backend-wasm';
const WASM_BINARY = 'tfjs-backend-wasm-simd.wasm';
const WEBGPU_PACKAGE = '@spft/backend-webgpu';

async function importPackage(name: string): Promise<unknown> {
  return import(pathToFileURL(findPackage(name)!.entry).href);
}

/** The package as seen from here or, installed by the user, from where the program runs. Null where it is not installed. */
async function importCuda(): Promise<typeof import('@spft/backend-cuda') | null> {
  try {
    return await import('@spft/backend-cuda');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    return findPackage(CUDA_PACKAGE)
      ? ((await importPackage(CUDA_PACKAGE)) as typeof import('@spft/backend-cuda'))
      : null;
  }
}

/** NVIDIA GPUs: the fastest by far where there is one. */
export const cuda: BackendDescriptor = {
  name: 'cuda',
  description: 'NVIDIA GPUs: CUDA driver, cuBLASLt and NVRTC, through @spft/backend-cuda',
  priority: 40,
  async probe(): Promise<BackendProbe> {
    try {
      const package_ = await importCuda();
      if (package_ === null) return { available: false, reason: 'not installed', hint: `npm install ${CUDA_PACKAGE}` };
      const probe = package_.probeCuda();
      if (probe.available) return { available: true, detail: package_.describeProbe(probe) };
      // Without a GPU the libraries are no matter.
      const problems = probe.device === null ? probe.problems.slice(0, 1) : probe.problems;
      return {
        available: false,
        reason: problems.map(({ reason }) => reason).join('; '),
        hint: [...new Set(problems.map(({ hint }) => hint))].join('; '),
      };
    } catch (error) {
      return { available: false, reason: `${CUDA_PACKAGE} does not load: ${(error as Error).message}` };
    }
  },
  async prepare() {
    await importCuda();
  },
  async whyNotStarted() {
    return (await importCuda())?.startError()?.message ?? null;
  },
};

/** The package of TensorFlow's that was loaded. */
let tensorflowPackage: string | null = null;

/** What tfjs-node 4.22 calls of Node's and Node 23 took away: without it every op fails. */
function giveBackRemovedFunctions(): void {
  const util = createRequire(import.meta.url)('node:util') as Record<string, unknown>;
  util.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  util.isArray ??= Array.isArray;
}

/** Whether TensorFlow computes on a GPU: what it says once it is loaded, and null before. */
function tensorflowOnGpu(): boolean | null {
  // Its package starts it when it is loaded.
  if (tensorflowPackage === null) return null;
  return (tf.findBackend('tensorflow') as { isUsingGpuDevice?: boolean } | null)?.isUsingGpuDevice ?? false;
}

/**
 * Native TensorFlow: a download of its own and a TensorFlow of 2023. On a processor it is tried after wasm: it has none of the ops' kernels, and a step of
 * the quickstart takes twice as long as there, four times as long as on blas (docs/RESULTS.md).
 */
export const tensorflow: BackendDescriptor = {
  name: 'tensorflow',
  description: "TensorFlow's C library, through @tensorflow/tfjs-node-gpu or, on the processor, @tensorflow/tfjs-node",
  get priority() {
    return (tensorflowOnGpu() ?? findPackage(TENSORFLOW_GPU_PACKAGE) !== null) ? 30 : 5;
  },
  repair: "reinstall it, or build its native part (docs/TENSORFLOW.md of spft's repository)",
  async probe(): Promise<BackendProbe> {
    for (const name of tensorflowPackage ? [tensorflowPackage] : TENSORFLOW_PACKAGES) {
      const found = findPackage(name);
      if (!found) continue;
      const onGpu = tensorflowOnGpu();
      const place = onGpu === null ? '' : onGpu ? ', on a GPU' : ', on the processor';
      return { available: true, detail: `${name} ${found.version}${place}` };
    }
    return {
      available: false,
      reason: 'not installed',
      hint: 'npm install @tensorflow/tfjs-node (or @tensorflow/tfjs-node-gpu)',
    };
  },
  async prepare() {
    giveBackRemovedFunctions();
    // Its notes about instructions of the processor are of no use here; warnings are.
    process.env.TF_CPP_MIN_LOG_LEVEL ??= '1';
    const problems: string[] = [];
    for (const name of TENSORFLOW_PACKAGES.filter((name) => findPackage(name))) {
      try {
        await importPackage(name);
        tensorflowPackage = name;
        return;
      } catch (error) {
        problems.push(`${name}: ${(error as Error).message.split('\n')[0]!.trim()}`);
      }
    }
    throw new Error(problems.join('; '));
  },
};

/** What is used of `@spft/backend-blas`. */
interface BlasPackage {
  probeBlas(): { available: true; detail: string } | { available: false; reason: string; hint: string };
}

/** The package where it is installed beside this one, or where the program runs; null when it is not. */
async function importBlas(): Promise<BlasPackage | null> {
  const found = findPackage(BLAS_PACKAGE);
  // A name that is no literal: this package does not depend on that one, and a bundle for a browser should not look for it.
  const name: string = found ? pathToFileURL(found.entry).href : BLAS_PACKAGE;
  try {
    return (await import(/* @vite-ignore */ name)) as BlasPackage;
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_MODULE_NOT_FOUND' && !found) return null;
    throw error;
  }
}

/** The system's BLAS. Importing its package registers it with tfjs. */
export const blas: BackendDescriptor = {
  name: 'blas',
  description: "the system's BLAS (OpenBLAS, MKL, BLIS, Accelerate) on all cores, through @spft/backend-blas",
  priority: 20,
  async probe(): Promise<BackendProbe> {
    try {
      const found = await importBlas();
      if (!found) return { available: false, reason: 'not installed', hint: `npm install ${BLAS_PACKAGE}` };
      const probe = found.probeBlas();
      return probe.available
        ? { available: true, detail: probe.detail }
        : { available: false, reason: probe.reason, hint: probe.hint };
    } catch (error) {
      return { available: false, reason: `${BLAS_PACKAGE} cannot be loaded: ${(error as Error).message}` };
    }
  },
  async prepare() {
    await importBlas();
  },
};

/** The embedded default: tfjs's WebAssembly backend, whose products the ops replace by their own (`@spft/sparse-ops`, kernels/simd). */
export const wasm: BackendDescriptor = {
  name: 'wasm',
  description: 'WebAssembly with SIMD, comes with the install',
  priority: 10,
  async probe(): Promise<BackendProbe> {
    const found = findPackage(WASM_PACKAGE);
    if (!found)
      return { available: false, reason: `${WASM_PACKAGE} is not installed`, hint: `npm install ${WASM_PACKAGE}` };
    if (!existsSync(`${dirname(found.entry)}/${WASM_BINARY}`)) {
      return {
        available: false,
        reason: `${WASM_PACKAGE} ${found.version} lacks ${WASM_BINARY}`,
        hint: 'reinstall it',
      };
    }
    return { available: true, detail: `${WASM_PACKAGE} ${found.version}${wasmThreads()}` };
  },
  async prepare() {
    const { setWasmPaths } = (await import(
      '@tensorflow/tfjs-backend-wasm'
    )) as typeof import('@tensorflow/tfjs-backend-wasm');
    const folder = dirname(findPackage(WASM_PACKAGE)!.entry);
    setWasmPaths(`${folder}/`);
    const ops = await importOps();
    if (ops === null) return;
    const binary = readFileSync(`${folder}/${WASM_BINARY}`);
    const reason = ops.shareWasmMemory({ setWasmPaths, binary });
    const { simdThreads } = await import('@spft/sparse-ops/internals');
    wasmThreads = () => {
      const started = tf.findBackend('wasm') as object | null;
      return reason === null ? `, ${started ? `${simdThreads(started)} ` : ''}threads` : `, one thread (${reason})`;
    };
  },
};

/** What is said of threads once it is known. */
let wasmThreads = (): string => '';

/** The ops, which bring the kernels that work on several threads; null where they are not installed. */
async function importOps(): Promise<typeof import('@spft/sparse-ops') | null> {
  try {
    return await import('@spft/sparse-ops');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    return null;
  }
}

/** Plain JavaScript: slow, exact, everywhere. */
export const cpu: BackendDescriptor = {
  name: 'cpu',
  description: 'plain JavaScript, comes with the install; slow',
  priority: 0,
  async probe(): Promise<BackendProbe> {
    return { available: true, detail: 'plain JavaScript' };
  },
  async prepare() {},
};

/** What is used of `@spft/backend-webgpu/node`. */
interface WebGPUPackage {
  probeWebGPU(): BackendProbe;
  provideWebGPU(): Promise<void>;
  startError(): Error | null;
}

/** Null where the package is not installed. */
async function importWebGPU(): Promise<WebGPUPackage | null> {
  return findPackage(`${WEBGPU_PACKAGE}/node`) && ((await importPackage(`${WEBGPU_PACKAGE}/node`)) as WebGPUPackage);
}

/** In a browser, or in Node with the `webgpu` package providing `navigator.gpu`. By name only: a GPU there may be an emulated one. */
export const webgpu: BackendDescriptor = {
  name: 'webgpu',
  description: `any GPU: WebGPU through ${WEBGPU_PACKAGE}, in Node by the package webgpu`,
  priority: null,
  repair: 'WebGPU in Node wants a Vulkan driver on Linux',
  async probe(): Promise<BackendProbe> {
    try {
      const found = await importWebGPU();
      if (!found) return { available: false, reason: 'not installed', hint: `npm install ${WEBGPU_PACKAGE} webgpu` };
      return found.probeWebGPU();
    } catch (error) {
      return { available: false, reason: `${WEBGPU_PACKAGE} does not load: ${(error as Error).message}` };
    }
  },
  async prepare() {
    await (await importWebGPU())!.provideWebGPU();
    await importPackage(WEBGPU_PACKAGE);
  },
  async whyNotStarted() {
    return (await importWebGPU())?.startError()?.message ?? null;
  },
};
