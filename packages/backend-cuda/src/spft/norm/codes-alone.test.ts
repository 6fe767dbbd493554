/** @file Norms of which codes are all that is read: numbers are made when somebody wants them, and from then on at once. */
import { createStepRecorder, storeAs } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { expect, it, vi } from 'vitest';
import { bf16Tensor } from '../../../test/compare.js';
import { cuda, describeCuda } from '../../../test/cuda.js';
import { matrix, numbers } from '../../../test/e4m3.js';
import { writtenAlong } from '../../forms/codes-along.js';
import { timesWeight, withActivations } from '../../forms/form.js';
import { rmsNorm } from './rms-norm.js';

const [T, N, OUT] = [7, 144, 32];

describeCuda('a norm whose codes are all that is wanted', () => {
  const made = (outlierChannels = 0) => {
    const plain = matrix(OUT, N, numbers(OUT * N, 0.05));
    const frozen = storeAs(plain, 'fp8', { outlierChannels }) as tf.Tensor2D;
    plain.dispose();
    const [x, weight] = [matrix(T, N), bf16Tensor([...numbers(N)], [N])];
    return { frozen, x, weight, end: () => tf.dispose([frozen, x, weight]) };
  };
  const codesOf = (y: tf.TensorInfo): [Uint8Array, Float32Array] => {
    const { codes, scales } = writtenAlong(cuda(), y)!;
    const read: [Uint8Array, Float32Array] = [new Uint8Array(T * N), new Float32Array(T)];
    cuda().readFrom(codes, read[0]);
    cuda().readFrom(scales, read[1]);
    return read;
  };
  const hasNumbers = (y: tf.TensorInfo) => cuda().data.get(y.dataId).block !== null;

  it('is not written in numbers until they are read, has the same codes and numbers then, and is known next time', () => {
    const backend = cuda();
    const { x, weight, end } = made();
    const before = backend.memoryPool.bytes;
    const first = rmsNorm(backend, x, weight, 1e-5);
    expect(hasNumbers(first)).toBe(false);
    const codes = codesOf(first);
    const late = backend.readSync(first.dataId);
    expect(hasNumbers(first)).toBe(true);
    const second = rmsNorm(backend, x, weight, 1e-5);
    expect(hasNumbers(second)).toBe(true);
    expect(codesOf(second)).toEqual(codes);
    expect(backend.readSync(second.dataId)).toEqual(late);
    for (const y of [first, second]) backend.release(y);
    // What each row is divided by stays with x.
    expect(backend.memoryPool.bytes).toBe(before + 4 * T);
    end();
  });

  it('is not with outlier channels either, once they are chosen by its numbers', () => {
    const backend = cuda();
    const { x, weight, end } = made(16);
    const stride = N + 16;
    const read = (y: tf.TensorInfo) => {
      const codes = new Uint8Array(T * stride);
      backend.readFrom(writtenAlong(backend, y)!.codes, codes);
      return codes;
    };
    const chosen = rmsNorm(backend, x, weight, 1e-5);
    expect(hasNumbers(chosen)).toBe(true);
    const alone = rmsNorm(backend, x, weight, 1e-5);
    expect(hasNumbers(alone)).toBe(false);
    expect(writtenAlong(backend, alone)!.outliers!.count).toBe(16);
    expect(read(alone)).toEqual(read(chosen));
    expect(backend.readSync(alone.dataId)).toEqual(backend.readSync(chosen.dataId));
    for (const y of [chosen, alone]) backend.release(y);
    end();
  });

  it('is the input of a product, in steps that are watched and recorded', () => {
    const backend = cuda();
    const { frozen, x, weight, end } = made();
    const messages: string[] = [];
    const steps = createStepRecorder({ notify: (message) => messages.push(message) })!;
    let wants = false;
    const work = () => {
      const y = rmsNorm(backend, x, weight, 1e-5);
      const product = backend.output([T, OUT], 'float32', 'bf16');
      withActivations(backend, y, 'bf16', (y) => {
        timesWeight(backend, y, frozen, { d: backend.address(product), type: 'bf16' });
      });
      const results = [product];
      if (wants) results.push(backend.as(y, 'f32'));
      else expect(hasNumbers(y)).toBe(false);
      backend.release(y);
      return results.map((info) => tf.engine().makeTensorFromTensorInfo(info));
    };
    const run = (key: string) => {
      const results = steps.run(key, {}, work);
      const values = results.map((tensor) => [...tensor.dataSync()]);
      tf.dispose(results);
      return values;
    };
    const runs = Array.from({ length: 4 }, () => run('codes'));
    for (const values of runs) expect(values).toEqual(runs[0]);
    wants = true;
    const others = Array.from({ length: 5 }, () => run('numbers'));
    for (const values of others) expect(values).toEqual([runs[0]![0], others[0]![1]]);
    const norm = rmsNorm(backend, x, weight, 1e-5);
    expect([...backend.readSync(norm.dataId)]).toEqual(others[0]![1]);
    backend.release(norm);
    // The graph of the first is still good.
    const launches = vi.spyOn(backend, 'launch');
    wants = false;
    expect(run('codes')).toEqual(runs[0]);
    expect(launches).not.toHaveBeenCalled();
    vi.restoreAllMocks();
    expect(messages).toEqual([]);
    expect(steps.counts.live).toBe(2);
    steps.dispose();
    end();
  });
});
