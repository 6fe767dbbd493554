/** @file Recorded steps: the numbers of the same steps by the host, for other inputs too; what cannot be recorded, memory, and the bound. */
import { adamwUpdate, createStepRecorder, type StepInputs, type StepRecorder, zeroMoments } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, expect, it } from 'vitest';
import { describeWebGPU, useWebGPU, webgpu } from '../../test/webgpu.js';

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

/** A chain of kernels and products with something allocated and freed between, and one of the inputs as a result. */
function compute({ x, rows }: StepInputs): tf.Tensor[] {
  return tf.tidy(() => {
    const matrix = tf.reshape(tf.tensor1d(x as Float32Array), [-1, 2]) as tf.Tensor2D;
    const products = tf.matMul(tf.tanh(tf.mul(matrix, 3)), tf.transpose(matrix));
    return [tf.sum(products), tf.gather(products, tf.tensor1d(rows as Int32Array, 'int32'))];
  });
}

/** Scalars that are computed, between others that are constants. */
function computeInSteps({ x }: StepInputs): tf.Tensor[] {
  return tf.tidy(() => {
    let sum: tf.Tensor = tf.sum(tf.tensor1d(x as Float32Array));
    for (const factor of [0.5, 3, 0.25, 7]) sum = tf.add(tf.mul(tf.tanh(sum), factor), tf.sum(tf.exp(sum)));
    return [sum];
  });
}

const read = async (tensors: readonly tf.Tensor[]) => {
  const values = await Promise.all(tensors.map(async (tensor) => [...(await tensor.data())]));
  tf.dispose([...tensors]);
  return values;
};

describeWebGPU('recordSteps()', () => {
  beforeAll(useWebGPU);

  it('gives the numbers that the host gives, for other inputs too, with results that stay', async () => {
    const steps = recorder();
    const kept: tf.Tensor[][] = [];
    for (let n = 0; n < 6; n++) kept.push(steps.run('a', inputs(n), compute));
    expect(messages).toEqual([]);
    expect(steps.counts).toEqual({ replayed: 5, plain: 1, recorded: 1, live: 1 });
    for (const [n, tensors] of kept.entries()) expect(await read(tensors)).toEqual(await read(compute(inputs(n))));
  });

  it('gives as many results as are wanted, watched and recorded', async () => {
    const steps = recorder();
    for (let n = 0; n < 6; n++) {
      const [wanted, before] = [n % 3, tf.memory().numTensors];
      const results = steps.run('a', inputs(n), compute, {}, wanted);
      expect(tf.memory().numTensors).toBe(before + wanted);
      expect(await read(results)).toEqual((await read(compute(inputs(n)))).slice(0, wanted));
    }
    expect(steps.counts).toMatchObject({ recorded: 1, replayed: 5 });
  });

  it('takes values of inputs that are on the device, watched and recorded, and refuses those that do not fit', async () => {
    const steps = recorder();
    for (let n = 0; n < 4; n++) {
      const { rows } = inputs(n);
      const x = tf.tensor1d(inputs(n).x as Float32Array);
      const given = { x: new Float32Array(6), rows: rows! };
      expect(await read(steps.run('a', given, compute, { x }))).toEqual(await read(compute(inputs(n))));
      x.dispose();
    }
    expect(steps.counts).toMatchObject({ recorded: 1, plain: 1, replayed: 3 });
    // Without the tensor the array counts again.
    expect(await read(steps.run('a', inputs(7), compute))).toEqual(await read(compute(inputs(7))));
    const short = tf.tensor1d([1, 2]);
    expect(() => steps.run('a', inputs(7), compute, { x: short })).toThrow('its tensor float32 of 2');
    expect(() => steps.run('a', inputs(7), compute, { y: short })).toThrow('input y is not one of it');
    expect(() => steps.run('a', inputs(7, 8), compute)).toThrow(
      'input x was Float32Array of 6, and is Float32Array of 8',
    );
    short.dispose();
  });

  it('updates variables in place, and notices when one has another buffer', async () => {
    const train = async (run: (n: number, work: (inputs: StepInputs) => tf.Tensor[]) => void) => {
      const variable = tf.variable(tf.tensor1d([1, 2, 3, 4, 5, 6]));
      const [firstMoments, secondMoments] = [zeroMoments([variable]), zeroMoments([variable])];
      for (let n = 0; n < 9; n++) {
        if (n === 5) tf.tidy(() => variable.assign(tf.tensor1d([6, 5, 4, 3, 2, 1])));
        run(n, ({ x, numbers }) =>
          tf.tidy(() => {
            const gradient = tf.mul(variable, tf.tensor1d(x as Float32Array));
            const options = { learningRate: 0.1, step: 3, numbers: numbers as Float32Array };
            adamwUpdate([variable], [gradient], { firstMoments, secondMoments }, options);
            return [tf.sum(gradient)];
          }),
        );
      }
      const values = [...(await variable.data())];
      tf.dispose([variable, ...firstMoments, ...secondMoments]);
      return values;
    };
    // What differs from step to step: 1 − learningRate · weightDecay, stepSize, rootCorrection.
    const given = (n: number) => ({ ...inputs(n), numbers: Float32Array.of(1, 0.1 * (n + 1), 0.5) });
    const steps = recorder();
    const recorded = await train((n, work) => tf.dispose(steps.run('train', given(n), work)));
    expect(messages).toEqual([]);
    expect(steps.counts).toMatchObject({ plain: 2, recorded: 2, replayed: 7 });
    const plain = recorder();
    // A key of its own for each step: none is recorded.
    const byHost = await train((n, work) => tf.dispose(plain.run(`${n}`, given(n), work)));
    expect(plain.counts).toMatchObject({ plain: 9, replayed: 0 });
    expect(recorded).toEqual(byHost);
  });

  it('does what cannot be recorded by the host, and says why once', async () => {
    const cases: [RegExp, (n: number) => (inputs: StepInputs) => tf.Tensor[]][] = [
      [
        /depends on something that is no input of it: it launched the number \d, and then the number \d/,
        (n) =>
          ({ x }) =>
            tf.tidy(() => [tf.mul(tf.tensor1d(x as Float32Array), n + 1)]),
      ],
      [
        /an array of 6 numbers came from the host/,
        () =>
          ({ x }) =>
            tf.tidy(() => [tf.exp(tf.tensor1d(x!.slice()))]),
      ],
      [
        /its input x is not read on the device/,
        () =>
          ({ x, rows }) =>
            tf.tidy(() => [tf.mul(tf.tensor1d(rows as Int32Array, 'int32'), Math.round(10 * x!.length))]),
      ],
      [
        /one of its results was there before it/,
        () =>
          ({ x }) => [tf.tensor1d(x as Float32Array)],
      ],
    ];
    for (const [reason, work] of cases) {
      const steps = recorder();
      for (let n = 0; n < 4; n++) {
        const expected = await read(work(n)(inputs(n)));
        // Small numbers of the host are computed there outside of a step.
        const found = await read(steps.run('a', inputs(n), work(n)));
        for (const [i, value] of found.flat().entries()) expect(value).toBeCloseTo(expected.flat()[i]!, 5);
      }
      expect(messages).toHaveLength(1);
      expect(messages[0]).toMatch(reason);
      expect(steps.counts).toMatchObject({ plain: 4, replayed: 0, live: 0 });
    }
  });

  it('throws what the step throws, watched and captured, and goes on', async () => {
    const steps = recorder();
    const failing = () => {
      throw new Error('no step');
    };
    expect(() => steps.run('a', inputs(0), failing)).toThrow('no step');
    tf.dispose(steps.run('a', inputs(0), compute));
    expect(() => steps.run('a', inputs(0), failing)).toThrow('no step');
    expect(await read(steps.run('a', inputs(2), compute))).toEqual(await read(compute(inputs(2))));
  });

  it('keeps recordings apart that are done in turn: constants of one are no memory of another', async () => {
    const steps = recorder(32);
    for (let n = 0; n < 6; n++) {
      for (const size of [6, 8, 2]) {
        const found = await read(steps.run(`${size}`, inputs(n, size), computeInSteps));
        expect(found).toEqual(await read(steps.run(`${size} ${n}`, inputs(n, size), computeInSteps)));
      }
    }
    expect(messages).toEqual([]);
    expect(steps.counts).toMatchObject({ replayed: 15, recorded: 3 });
  });

  it('holds no memory beyond what it recorded, shares it among recordings, and gives it back', async () => {
    const before = [webgpu().numDataIds(), webgpu().memory().numBytesInGPU];
    const steps = recorder(2);
    const held: number[] = [];
    for (let round = 0; round < 4; round++) {
      // Three shapes, two kept: each is recorded anew after the other two.
      for (const size of [6, 8, 10]) {
        for (let n = 0; n < 3; n++) tf.dispose(steps.run(`${size}`, inputs(n, size), compute));
      }
      webgpu().flush();
      held.push(webgpu().memory().numBytesInGPU);
    }
    expect(steps.counts).toMatchObject({ live: 2, recorded: 12 });
    expect(new Set(held.slice(1)).size).toBe(1);
    steps.dispose();
    webgpu().flush();
    expect([webgpu().numDataIds(), webgpu().memory().numBytesInGPU]).toEqual(before);
  });

  it('is switched off where it is', () => {
    webgpu().records = false;
    expect(createStepRecorder()).toBeNull();
    webgpu().records = true;
    expect(() => createStepRecorder({ graphs: 0 })).toThrow('graphs is 0');
  });
});
