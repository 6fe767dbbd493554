/**
 * @file Makes tfjs know the backend `blas`: its factory, every kernel of tfjs's cpu backend, and ours in the place of some and beside them.
 *
 * Kernels of spft's ops are registered by name, and only ours: those that sparse-ops brings for `cpu` are not taken over.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { BlasBackend } from './backend.js';
import { BlasError } from './errors.js';
import { probeBlas } from './library/probe.js';
import { type BlasKernel, kernelFuncOf } from './shared/call.js';
import { SPFT_KERNELS } from './spft/kernels.js';
import { cast } from './tfjs/cast.js';
import * as elementwise from './tfjs/elementwise.js';
import { batchMatMul, fusedMatMul } from './tfjs/matmul.js';

export const BACKEND_NAME = 'blas';

/** Above tfjs's own backends: whoever imports the package wants it, unless another is set. */
const PRIORITY = 4;

/** tfjs's kernels that are replaced, each given the cpu backend's for what it does not do itself. */
const REPLACED: Readonly<Record<string, (otherwise: tf.KernelFunc) => tf.KernelFunc>> = {
  [tf.BatchMatMul]: batchMatMul,
  [tf._FusedMatMul]: fusedMatMul,
  [tf.Cast]: cast,
  [tf.Add]: elementwise.add,
  [tf.AddN]: elementwise.addN,
  [tf.Sub]: elementwise.subtract,
  [tf.Multiply]: elementwise.multiply,
  [tf.RealDiv]: elementwise.divide,
  [tf.Neg]: elementwise.negate,
  [tf.Square]: elementwise.square,
  [tf.Relu]: elementwise.relu,
  [tf.Sigmoid]: elementwise.sigmoid,
  [tf.Softmax]: elementwise.softmax,
};

function createBackend(): BlasBackend {
  const probe = probeBlas();
  if (!probe.available) throw new BlasError(`backend 'blas' cannot run here: ${probe.reason}; ${probe.hint}`);
  return new BlasBackend(probe);
}

/** Without effect when it is registered already, by this copy of the package or another. Finds no BLAS yet: that is for the factory. */
export function registerBlasBackend(): void {
  if (tf.findBackendFactory(BACKEND_NAME)) return;
  tf.registerBackend(BACKEND_NAME, createBackend, PRIORITY);
  for (const { kernelName, kernelFunc, ...rest } of tf.getKernelsForBackend('cpu')) {
    if (kernelName.startsWith('Spft')) continue;
    const replace = REPLACED[kernelName];
    tf.registerKernel({
      ...rest,
      kernelName,
      backendName: BACKEND_NAME,
      kernelFunc: replace ? replace(kernelFunc) : kernelFunc,
    });
  }
  for (const [kernelName, kernel] of Object.entries(SPFT_KERNELS)) {
    tf.registerKernel({
      kernelName,
      backendName: BACKEND_NAME,
      kernelFunc: kernelFuncOf(kernel as BlasKernel<never>),
    });
  }
}
