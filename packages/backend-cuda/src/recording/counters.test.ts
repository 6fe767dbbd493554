/** @file Counters of a recorded step's products: cleared at once, each its own, and the nodes that cleared them taken out. */
import type { StepInputs } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { cuda, describeCuda, emulated } from '../../test/cuda.js';
import { useRecorder } from '../../test/recorder.js';
import { Counters } from './counters.js';

describe('Counters', () => {
  it('has room for each product that wants little, side by side', () => {
    const watched = new Counters();
    for (const bytes of [16, 300, 0, 2 ** 20, 256]) expect(watched.take(bytes)).toBe(0);
    expect(watched.used).toBe(1024);
    const captured = new Counters(4096, watched.used);
    expect([16, 300, 0, 2 ** 20, 256].map((bytes) => captured.take(bytes))).toEqual([4096, 4352, 0, 0, 4864]);
    // More than were watched share one, as without.
    expect(captured.take(16)).toBe(0);
    expect(captured.used).toBe(1024);
  });
});

describeCuda('products of a recorded step', () => {
  const inputs = (n: number): StepInputs => ({ x: Float32Array.from({ length: 64 }, (_, i) => Math.sin(n + i)) });
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });
  const recorder = useRecorder();
  const { messages } = recorder;

  /** Five products; on the emulator each finds that its counter is zero, or the launch fails. */
  const work = ({ x }: StepInputs): tf.Tensor[] =>
    tf.tidy(() => {
      const matrix = tf.reshape(tf.tensor1d(x as Float32Array), [8, 8]) as tf.Tensor2D;
      const beside = cuda().beside(1, () => tf.matMul(matrix, matrix, true));
      let product = tf.matMul(matrix, matrix);
      for (let n = 0; n < 3; n++) product = tf.tanh(tf.matMul(product, matrix, false, n === 1));
      return [tf.add(product, beside), tf.sum(product)];
    });
  const values = (tensors: tf.Tensor[]) => {
    const read = tensors.map((tensor) => [...tensor.dataSync()]);
    tf.dispose(tensors);
    return read;
  };
  const expectTheHostsBits = () => {
    for (let n = 0; n < 6; n++)
      expect(values(recorder.steps.run('a', inputs(n), work))).toEqual(values(work(inputs(n))));
    expect(recorder.steps.counts.recorded).toBe(1);
    expect(recorder.steps.counts.replayed).toBeGreaterThan(3);
    expect(messages).toEqual([]);
  };

  it.each(['', '1', 'late', 'early'])('are the bits of the host, SPFT_EMULATOR_ASYNC="%s"', (order) => {
    vi.stubEnv('SPFT_EMULATOR_ASYNC', order);
    const destroyed = vi.spyOn(cuda().device.driver, 'cuGraphDestroyNode');
    expectTheHostsBits();
    // Whether a product so small has a counter is cuBLASLt's own business.
    if (emulated) expect(destroyed).toHaveBeenCalledTimes(5);
  });

  it.runIf(emulated)('keep the nodes whose neighbours the driver does not tell', () => {
    vi.stubEnv('SPFT_EMULATOR_FAIL', 'cuGraphNodeGetDependentNodes:1+:917');
    const destroyed = vi.spyOn(cuda().device.driver, 'cuGraphDestroyNode');
    expectTheHostsBits();
    expect(destroyed).not.toHaveBeenCalled();
  });

  it.runIf(emulated)('leave a step to the host where a graph was left half changed', () => {
    vi.stubEnv('SPFT_EMULATOR_FAIL', 'cuGraphAddDependencies:1+:1');
    for (let n = 0; n < 6; n++)
      expect(values(recorder.steps.run('a', inputs(n), work))).toEqual(values(work(inputs(n))));
    expect(recorder.steps.counts).toMatchObject({ plain: 6, replayed: 0, recorded: 0 });
    expect(messages).toEqual([expect.stringContaining('cuGraphAddDependencies')]);
  });

  it('give back the memory of their counters with the graph', () => {
    const before = cuda().memoryPool.bytes;
    for (let n = 0; n < 4; n++) tf.dispose(recorder.steps.run('a', inputs(n), work));
    recorder.steps.dispose();
    expect(cuda().memoryPool.bytes).toBe(before);
  });
});
