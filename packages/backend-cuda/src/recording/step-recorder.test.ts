/** @file Steps recorded as graphs: the same bits as by the host, for other inputs too; what cannot be recorded, memory, and the bound. */
import { adamwUpdate, createStepRecorder, type StepInputs, type StepRecorder, zeroMoments } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterEach, expect, it, vi } from 'vitest';
import { cuda, describeCuda, emulated } from '../../test/cuda.js';
import { CudaOutOfMemoryError } from '../index.js';

const messages: string[] = [];
const open: StepRecorder[] = [];

function recorder(graphs?: number): StepRecorder {
  messages.length = 0;
  const made = createStepRecorder({ ...(graphs && { graphs }), notify: (message) => messages.push(message) })!;
  open.push(made);
  return made;
}

afterEach(() => {
  for (const each of open.splice(0)) each.dispose();
});

const inputs = (n: number, size = 6): StepInputs => ({
  x: Float32Array.from({ length: size }, (_, i) => Math.sin(n + i)),
  rows: Int32Array.from([n % 3, 0]),
});

/** A chain of kernels and products with something allocated and freed between. */
function compute({ x, rows }: StepInputs): tf.Tensor[] {
  return tf.tidy(() => {
    const matrix = tf.reshape(tf.tensor1d(x as Float32Array), [-1, 2]) as tf.Tensor2D;
    const products = tf.matMul(tf.tanh(tf.mul(matrix, 3)), tf.transpose(matrix));
    return [tf.sum(products), tf.gather(products, tf.tensor1d(rows as Int32Array, 'int32'))];
  });
}

const read = (tensors: readonly tf.Tensor[]) => {
  const values = tensors.map((tensor) => [...tensor.dataSync()]);
  tf.dispose([...tensors]);
  return values;
};

describeCuda('recordSteps()', () => {
  it('gives the bits that the host gives, for other values too, with results that stay', () => {
    const steps = recorder();
    const kept: tf.Tensor[][] = [];
    for (let n = 0; n < 6; n++) kept.push(steps.run('a', inputs(n), compute));
    expect(steps.counts).toEqual({ replayed: 5, plain: 1, recorded: 1, live: 1 });
    kept.forEach((tensors, n) => {
      expect(read(tensors)).toEqual(read(compute(inputs(n))));
    });
    expect(messages).toEqual([]);
  });

  it('gives as many results as are wanted, watched and recorded, and copies no others', () => {
    const steps = recorder();
    const copied = vi.spyOn(cuda(), 'copy');
    for (let n = 0; n < 8; n++) {
      const [wanted, before] = [n % 3, tf.memory().numTensors];
      copied.mockClear();
      const results = steps.run('a', inputs(n), compute, {}, wanted);
      if (n > 1) expect(copied).toHaveBeenCalledTimes(wanted);
      expect(tf.memory().numTensors).toBe(before + wanted);
      expect(read(results)).toEqual(read(compute(inputs(n))).slice(0, wanted));
    }
    copied.mockRestore();
    expect(steps.counts.recorded).toBe(1);
    expect(steps.counts.replayed).toBeGreaterThanOrEqual(6);
  });

  it('takes values of inputs that are on the device, watched and recorded, and refuses those that do not fit', () => {
    const steps = recorder();
    for (let n = 0; n < 5; n++) {
      const { rows } = inputs(n);
      const x = tf.tensor1d(inputs(n).x as Float32Array);
      const given = { x: new Float32Array(6), rows: rows! };
      expect(read(steps.run('a', given, compute, { x }))).toEqual(read(compute(inputs(n))));
      x.dispose();
    }
    expect(steps.counts.recorded).toBe(1);
    expect(steps.counts.plain).toBeGreaterThan(0);
    expect(steps.counts.replayed).toBeGreaterThan(2);
    // Without the tensor the array counts again.
    expect(read(steps.run('a', inputs(7), compute))).toEqual(read(compute(inputs(7))));
    const short = tf.tensor1d([1, 2]);
    expect(() => steps.run('a', inputs(7), compute, { x: short })).toThrow('its tensor float32 of 2');
    expect(() => steps.run('a', inputs(7), compute, { y: short })).toThrow('input y is not one of it');
    short.dispose();
  });

  it('updates variables in place, and notices when one has other memory', () => {
    const train = (run: (n: number, work: (inputs: StepInputs) => tf.Tensor[]) => void) => {
      const variable = tf.variable(tf.tensor1d([1, 2, 3, 4, 5, 6]));
      const [firstMoments, secondMoments] = [zeroMoments([variable]), zeroMoments([variable])];
      for (let n = 0; n < 9; n++) {
        if (n === 5) tf.tidy(() => variable.assign(tf.tensor1d([6, 5, 4, 3, 2, 1])));
        run(n, ({ x }) =>
          tf.tidy(() => {
            const gradient = tf.mul(variable, tf.tensor1d(x as Float32Array));
            adamwUpdate([variable], [gradient], { firstMoments, secondMoments }, { learningRate: 0.1, step: 3 });
            return [tf.sum(gradient)];
          }),
        );
      }
      const values = [...variable.dataSync()];
      tf.dispose([variable, ...firstMoments, ...secondMoments]);
      return values;
    };
    const steps = recorder();
    const recorded = train((n, work) => tf.dispose(steps.run('train', inputs(n), work)));
    expect(steps.counts).toMatchObject({ plain: 3, recorded: 2, replayed: 6 });
    expect(recorded).toEqual(train((n, work) => tf.dispose(work(inputs(n)))));
  });

  it('does what cannot be recorded by the host, and says why once', () => {
    const cases: [RegExp, (n: number) => (inputs: StepInputs) => tf.Tensor[]][] = [
      [
        /depends on something that is no input of it: .* was called with \d and then with \d/,
        (n) =>
          ({ x }) =>
            tf.tidy(() => [tf.mul(tf.tensor1d(x as Float32Array), n + 1)]),
      ],
      [
        /array of 6 numbers came from the host/,
        () =>
          ({ x }) =>
            tf.tidy(() => [tf.exp(tf.tensor1d(x!.slice()))]),
      ],
      [
        /read by the host/,
        () =>
          ({ x }) =>
            tf.tidy(() => [
              tf.mul(tf.tensor1d(x as Float32Array), tf.sum(tf.tensor1d(x as Float32Array)).dataSync()[0]!),
            ]),
      ],
    ];
    for (const [message, work] of cases) {
      const steps = recorder();
      for (let n = 0; n < 6; n++) {
        expect(read(steps.run('a', inputs(n), work(n)))).toEqual(read(work(n)(inputs(n))));
      }
      expect(steps.counts).toMatchObject({ replayed: 0, plain: 6, live: 0 });
      expect(messages).toHaveLength(1);
      expect(messages[0]).toMatch(message);
      steps.dispose();
    }
  });

  it('records nothing while it is profiled', () => {
    const steps = recorder();
    cuda().profile(() => {
      for (let n = 0; n < 4; n++) expect(read(steps.run('a', inputs(n), compute))).toEqual(read(compute(inputs(n))));
    });
    expect(steps.counts).toMatchObject({ replayed: 0, plain: 4 });
    expect(messages).toEqual([expect.stringContaining('they are profiled')]);
  });

  it('throws what a step throws, in any run of it, and all is as before', () => {
    const steps = recorder();
    let broken = false;
    const work = (given: StepInputs) => {
      const results = compute(given);
      if (!broken) return results;
      tf.dispose(results);
      throw new RangeError('no');
    };
    const before = tf.memory();
    for (const when of [0, 1]) {
      for (let n = 0; n < when; n++) tf.dispose(steps.run(`key ${when}`, inputs(n), work));
      broken = true;
      expect(() => steps.run(`key ${when}`, inputs(9), work)).toThrow('no');
      broken = false;
      for (let n = 0; n < 4; n++)
        expect(read(steps.run(`key ${when}`, inputs(n), work))).toEqual(read(compute(inputs(n))));
    }
    steps.dispose();
    expect(tf.memory()).toEqual(before);
  });

  it('keeps no more recordings than it may, and no memory after its end', () => {
    const before = tf.memory();
    const steps = recorder(2);
    let highest = 0;
    for (let n = 0; n < 40; n++) {
      const size = 2 * (3 + (n % 3));
      expect(read(steps.run(`${size}`, inputs(n, size), compute))).toEqual(read(compute(inputs(n, size))));
      expect(steps.counts.live).toBeLessThanOrEqual(2);
      if (n === 12) highest = cuda().memoryPool.bytes;
    }
    expect(cuda().memoryPool.bytes).toBeLessThanOrEqual(highest);
    for (let n = 0; n < 9; n++) tf.dispose(steps.run('6', inputs(n), compute));
    const replayed = steps.counts.replayed;
    expect(replayed).toBeGreaterThan(6);
    steps.dispose();
    expect(tf.memory()).toEqual(before);
  });

  it('holds no more after 2,000 steps than after ten, updates of a variable and other work between', {
    timeout: 120_000,
  }, () => {
    const variable = tf.variable(tf.tensor1d([1, 2, 3, 4, 5, 6]));
    const [firstMoments, secondMoments] = [zeroMoments([variable]), zeroMoments([variable])];
    const steps = recorder();
    const held = () => [tf.memory().numTensors, cuda().memoryPool.bytes, cuda().numDataIds()];
    let after: number[] = [];
    for (let n = 0; n < 2000; n++) {
      const results = steps.run('a', inputs(n), ({ x }) =>
        tf.tidy(() => {
          const gradient = tf.mul(variable, tf.tensor1d(x as Float32Array));
          adamwUpdate([variable], [gradient], { firstMoments, secondMoments }, { learningRate: 1e-3, step: 3 });
          return [tf.sum(gradient)];
        }),
      );
      if (n % 100 === 0) tf.tidy(() => tf.matMul(tf.ones([30, 30]), tf.ones([30, 30])).dataSync());
      tf.dispose(results);
      if (n === 10) after = held();
    }
    expect(held()).toEqual(after);
    expect(steps.counts).toMatchObject({ recorded: 1, live: 1 });
    expect(steps.counts.replayed).toBeGreaterThan(1990);
    tf.dispose([variable, ...firstMoments, ...secondMoments]);
  });

  it.skipIf(!emulated)('runs out of memory with the same error as outside, and goes on', () => {
    const steps = recorder();
    const big = ({ x }: StepInputs) =>
      tf.tidy(() => [tf.sum(tf.mul(tf.fill([2 ** 20], 2), tf.sum(tf.tensor1d(x as Float32Array))))]);
    for (let n = 0; n < 4; n++) tf.dispose(steps.run('a', inputs(n), big));
    expect(steps.counts.replayed).toBe(3);
    const before = tf.memory();
    process.env.SPFT_EMULATOR_FAIL = 'cuMemAllocAsync:1+:2';
    try {
      expect(() => steps.run('a', inputs(3), big)).toThrow(CudaOutOfMemoryError);
      expect(() => steps.run('b', inputs(3), big)).toThrow(CudaOutOfMemoryError);
    } finally {
      delete process.env.SPFT_EMULATOR_FAIL;
    }
    expect(tf.memory()).toEqual(before);
    expect(read(steps.run('a', inputs(4), big))).toEqual(read(big(inputs(4))));
  });

  it('refuses inputs of another shape under the same key', () => {
    const steps = recorder();
    tf.dispose(steps.run('a', inputs(0), compute));
    expect(() => steps.run('a', inputs(0, 8), compute)).toThrow(
      /input x was Float32Array of 6, and is Float32Array of 8/,
    );
  });
});
