/** @file A norm that is made again for the gradient of a branch: not made where the gradient can do without its numbers, and the same numbers where it cannot. */
import { createStepRecorder, projectRows, rmsNormResidual, type StepInputs } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { cuda, describeCuda } from '../../../test/cuda.js';
import { bf16, cudaTensor, expectOp, f32, type OpInput } from '../../../test/ops.js';
import { rmsNorm } from './rms-norm.js';

type M = tf.Tensor2D;
const EPS = 1e-5;

/** Gradients of x, A and B of a projection of x's norm and of the residual beside it. */
function block(x: M, scale: tf.Tensor1D, weight: M, dy: M, dresidual: M, a: M, b: M): tf.Tensor[] {
  const loss = (x: tf.Tensor, a: tf.Tensor, b: tf.Tensor) => {
    const [normed, residual] = rmsNormResidual(x as M, scale, EPS);
    const lora = { a: a as M, b: b as M, scaling: 0.5 };
    const [y] = projectRows(normed, [{ weight, bias: null, keep: null, lora }], x.shape[0]!);
    const float = (t: tf.Tensor) => tf.cast(t, 'float32');
    return tf.add(tf.sum(tf.mul(float(y!), dy)), tf.sum(tf.mul(float(residual), dresidual))) as tf.Scalar;
  };
  return tf.grads(loss as never)([x, a, b]);
}

/** A tensor of cuda: sin(from), sin(from + 1), … */
function waves(input: OpInput, from: number): tf.Tensor {
  const size = input.shape.reduce((product, n) => product * n, 1);
  return cudaTensor(
    Array.from({ length: size }, (_, i) => Math.sin(from + i)),
    input,
    0,
  );
}

describeCuda('a norm that is made again', () => {
  it.each([
    // tokens, channels, outputs, rank; how many norms are made
    [9, 64, 40, 8, 1],
    [130, 264, 136, 32, 1],
    [2, 8208, 16, 8, 1],
    // A rank too large for one pass, and channels that are no multiple of 8.
    [9, 64, 40, 72, 2],
    [9, 44, 40, 8, 2],
  ])('%i tokens of %i channels to %i, rank %i: %i norms', async (T, H, out, rank, norms) => {
    for (const scale of [bf16(H), f32(H)]) {
      const inputs = [bf16(T, H), scale, bf16(out, H), bf16(T, out), bf16(T, H), f32(rank, H), f32(out, rank)];
      await expectOp('block', inputs, block as never);
      let next = 0;
      const made = inputs.map((input) => {
        const tensor = waves(input, next);
        next += tensor.size;
        return tensor;
      });
      const profile = cuda().profile(() => tf.dispose(block(...(made as unknown as Parameters<typeof block>))));
      expect(profile.find(({ name }) => name === 'rms_norm')?.calls).toBe(norms);
      tf.dispose(made);
    }
  });

  it('has the bits of the first where its numbers are wanted, and holds what it is made of until then', () => {
    const [x, scale] = [bf16(5, 64), f32(64)].map(waves) as [tf.Tensor, tf.Tensor];
    const backend = cuda();
    const before = backend.memoryPool.bytes;
    const tensorOf = (info: tf.TensorInfo) => tf.engine().makeTensorFromTensorInfo(info);
    const first = tensorOf(rmsNorm(backend, x, scale, EPS));
    // Of another eps nothing is known.
    const other = rmsNorm(backend, x, scale, 1e-3, true);
    expect(backend.recipeOf(other)).toBeNull();
    const [unread, again] = [rmsNorm(backend, x, scale, EPS, true), tensorOf(rmsNorm(backend, x, scale, EPS, true))];
    expect(backend.recipeOf(unread)).not.toBeNull();
    x.dispose();
    scale.dispose();
    expect(again.dataSync()).toEqual(first.dataSync());
    expect(backend.recipeOf(again)).toBeNull();
    for (const info of [other, unread]) backend.release(info);
    tf.dispose([first, again]);
    expect(backend.memoryPool.bytes).toBe(before - 5 * 64 * 2 - 64 * 4);
  });

  it('is a part of a recorded step whose result it is', () => {
    const steps = createStepRecorder({ notify: (message) => expect.fail(message) })!;
    const scale = tf.tensor1d(Array.from({ length: 64 }, (_, i) => Math.cos(i)));
    const backend = cuda();
    const work = ({ x }: StepInputs) =>
      tf.tidy(() => {
        const inBf16 = tf
          .engine()
          .makeTensorFromTensorInfo(backend.as(tf.reshape(tf.tensor1d(x as Float32Array), [5, 64]), 'bf16'));
        const [first, again] = [false, true].map((again) =>
          tf.engine().makeTensorFromTensorInfo(rmsNorm(backend, inBf16, scale, EPS, again)),
        );
        return [first!, again!];
      });
    for (let n = 0; n < 6; n++) {
      const x = Float32Array.from({ length: 5 * 64 }, (_, i) => Math.sin(n + i));
      const [first, again] = steps.run('norms', { x }, work);
      expect(again!.dataSync()).toEqual(first!.dataSync());
      tf.dispose([first!, again!]);
    }
    expect(steps.counts.replayed).toBeGreaterThan(2);
    steps.dispose();
    scale.dispose();
  });
});
