/** @file The kernels of spft's ops on `webgpu`, held to the contract of sparse-ops. */
import { checkBackend } from '@spft/sparse-ops/backend';
import { describeConformance } from '@spft/sparse-ops/conformance';
import type * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { describeWebGPU, webgpu } from '../../test/webgpu.js';
import { copyOf } from '../shared/copy.js';

/** Memory that was used, lies in the pool, and is given out next for a tensor of its size. */
function poison(bytes: number): void {
  const backend = webgpu();
  const count = Math.ceil(bytes / 4);
  const dataId = backend.write(new Float32Array(count).fill(Number.NaN), [count], 'float32');
  backend.uploadToGPU(dataId);
  backend.disposeData(dataId);
}

describeWebGPU('the kernels of webgpu', () => {
  it('are all of the contract, with those that they need', () => {
    expect(checkBackend('webgpu')).toEqual([]);
  });

  const copy = (info: tf.TensorInfo) => copyOf(webgpu(), info);
  describeConformance({ backend: 'webgpu', describe, it, poison, copy });
});
