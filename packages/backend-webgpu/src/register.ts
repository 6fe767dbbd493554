/** @file Puts this package's backend and kernels in the place of tfjs's under the name `webgpu`. */
import { registerSpftKernels } from '@spft/sparse-ops/backend';
import * as tf from '@tensorflow/tfjs';
import { requestDevice } from './device/adapter.js';
import { BATCH, SpftWebGPUBackend } from './device/backend.js';
import { SPFT_KERNELS } from './spft/kernels.js';
import { noteStart } from './start-error.js';
import { repairTfjsKernels } from './tfjs/repaired.js';

export const BACKEND_NAME = 'webgpu';

/** tfjs's own: above wasm's, where WebGPU is there. */
const PRIORITY = 3;

async function createBackend(): Promise<tf.KernelBackend> {
  try {
    const backend = new SpftWebGPUBackend(await requestDevice());
    // tfjs's own kernels count ours too, and would submit every few of them.
    tf.env().set('WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE', BATCH);
    noteStart(null);
    return backend;
  } catch (error) {
    noteStart(error as Error);
    throw error;
  }
}

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
