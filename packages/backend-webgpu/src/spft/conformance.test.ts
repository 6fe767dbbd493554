/**
 * @file The kernels of spft's ops on `webgpu`, held to the contract of sparse-ops; and again with every matrix that is not trained stored in bf16, whether a
 * kernel reads it so or is given it in float32.
 */
import { float32ToBfloat16 } from '@spft/safetensors';
import { storedTensor } from '@spft/sparse-ops';
import { checkBackend } from '@spft/sparse-ops/backend';
import { describeConformance } from '@spft/sparse-ops/conformance';
import * as tf from '@tensorflow/tfjs';
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

  const bf16 = (x: number) =>
    new Float32Array(Uint32Array.of(float32ToBfloat16(Float32Array.of(x))[0]! << 16).buffer)[0]!;
  let inHalves = 0;
  describeConformance({
    ...{ backend: 'webgpu', it, poison, copy, round: bf16 },
    describe: (name, body) => describe(`${name}, of matrices in bf16`, body),
    tensor(values, { shape, kind }) {
      if (kind !== 'float' || shape.length !== 2 || values.length === 0)
        return tf.tensor(values, [...shape], kind === 'int32' ? 'int32' : 'float32');
      const halves = float32ToBfloat16(values as Float32Array);
      const x = storedTensor(new Uint8Array(halves.buffer), 'BF16', shape);
      expect(webgpu().halves.codeOf(x)).toBe(1);
      inHalves++;
      return x;
    },
  });

  it('were given some', () => {
    expect(inHalves).toBeGreaterThan(100);
  });
});
