/// <reference types="@webgpu/types" />
/**
 * @file What these kernels use of tfjs's WebGPU backend that its types call private: the command encoder and the pass in it, so that our
 * dispatches and tfjs's own go into one stream of commands. tfjs 4.22 is the last version; `checkInternals` says so where another differs.
 */
import { WebGPUError } from '../errors.js';

export interface Internals {
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  dispatchCountInPass: number;
  /** Set by tfjs while `tf.time` runs. */
  activeTimers: unknown;
}

const FIELDS = ['commandEncoder', 'computePassEncoder', 'dispatchCountInPass'] as const;

export const internalsOf = (backend: object): Internals => backend as unknown as Internals;

/** @throws WebGPUError where this version of tfjs's backend has them no more. */
export function checkInternals(backend: object): void {
  const missing = FIELDS.filter((name) => !(name in backend));
  if (missing.length === 0) return;
  throw new WebGPUError(
    'no-device',
    `@tensorflow/tfjs-backend-webgpu lacks ${missing.join(', ')}, which its version 4.22 has; install @tensorflow/tfjs-backend-webgpu@4.22.0`,
  );
}
