/** @file Puts this package's backend and kernels in the place of tfjs's under the name `webgpu`. */
import { registerSpftKernels } from '@spft/sparse-ops/backend';
import * as tf from '@tensorflow/tfjs';
import { requestDevice } from './device/adapter.js';
import { SpftWebGPUBackend } from './device/backend.js';
import { SPFT_KERNELS } from './spft/kernels.js';
import { repairTfjsKernels } from './tfjs/repaired.js';

export const BACKEND_NAME = 'webgpu';

/** tfjs's own: above wasm's, where WebGPU is there. */
const PRIORITY = 3;

let problem: Error | null = null;

async function createBackend(): Promise<tf.KernelBackend> {
  try {
    const backend = new SpftWebGPUBackend(await requestDevice());
    problem = null;
    return backend;
  } catch (error) {
    problem = error as Error;
    throw error;
  }
}

/** Why the backend did not start when it was last asked to, as tfjs keeps that to itself; null where it did. */
export const startError = (): Error | null => problem;

/**
 * Registers it. A backend of tfjs's of that name that was started before is ended, and its tensors with it: import this package first.
 * Without effect the second time.
 */
export function registerWebGPUBackend(): void {
  if (tf.findBackendFactory(BACKEND_NAME) === createBackend) return;
  if (tf.findBackendFactory(BACKEND_NAME)) tf.removeBackend(BACKEND_NAME);
  tf.registerBackend(BACKEND_NAME, createBackend, PRIORITY);
  registerSpftKernels<SpftWebGPUBackend>(BACKEND_NAME, SPFT_KERNELS);
  repairTfjsKernels(BACKEND_NAME);
}
