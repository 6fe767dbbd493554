/** @file Work beside what a recorded step launches next: who reads it waits for it, and what it reads stays, in whatever order a GPU does both. */
import { createStepRecorder, type StepInputs } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterEach, expect, it } from 'vitest';
import { cuda, describeCuda } from '../../test/cuda.js';
import { useRecorder } from '../../test/recorder.js';
import { Asides, type Lane } from './asides.js';

const COUNT = 4096;
const inputs = (n: number): StepInputs => ({ x: Float32Array.from({ length: COUNT }, (_, i) => Math.sin(n + i)) });
const beside = <T>(lane: Lane, work: () => T): T => cuda().beside(lane, work);

afterEach(() => {
  delete process.env.SPFT_EMULATOR_ASYNC;
});
const recorder = useRecorder();
const { messages } = recorder;

/** A step that makes all of its tensors from x, by plain functions of numbers. */
interface Case {
  readonly name: string;
  work(x: tf.Tensor1D): tf.Tensor[];
  /** Of one number. */
  expected(x: number): number[];
}

/** What a step does meanwhile, in memory of the same size and no other: that which was given back, if it could be had. */
const OTHERS: readonly [(x: tf.Tensor1D) => tf.Tensor, (x: number) => number][] = [
  [tf.neg, (x) => -x],
  [tf.abs, Math.abs],
  [tf.relu, (x) => Math.max(0, x)],
];

const cases: readonly Case[] = [
  {
    name: 'is waited for by who reads it',
    work(x) {
      const squared = beside(1, () => tf.square(x));
      const twice = tf.mul(x, 2);
      return [tf.add(squared, twice)];
    },
    expected: (x) => [x * x + 2 * x],
  },
  {
    name: 'is waited for at the end of the step',
    work: (x) => [beside(1, () => tf.square(x)), beside(2, () => tf.mul(x, 3))],
    expected: (x) => [x * x, 3 * x],
  },
  {
    name: 'reads what is given back meanwhile',
    work(x) {
      const read = tf.exp(x);
      const squared = beside(1, () => tf.square(read));
      read.dispose();
      return [squared, ...OTHERS.map(([f]) => f(x))];
    },
    expected: (x) => [Math.exp(x) ** 2, ...OTHERS.map(([, f]) => f(x))],
  },
  {
    name: 'gives back what it takes for itself, which nothing else is written to before its end',
    work(x) {
      const made = beside(1, () => tf.tidy(() => tf.square(tf.neg(tf.exp(x)))));
      return [made, ...OTHERS.map(([f]) => f(x))];
    },
    expected: (x) => [Math.exp(x) ** 2, ...OTHERS.map(([, f]) => f(x))],
  },
  {
    name: 'waits for that of another lane, and is in order on its own',
    work(x) {
      const first = beside(1, () => tf.square(x));
      const second = beside(2, () => tf.add(first, 1));
      const third = beside(2, () => tf.mul(second, 2));
      const fourth = beside(1, () => tf.sub(third, first));
      const others = tf.mul(x, 7);
      return [fourth, others];
    },
    expected: (x) => [2 * (x * x + 1) - x * x, 7 * x],
  },
  {
    name: 'may be much, of which much is given back',
    work(x) {
      let sum = tf.mul(x, 0);
      for (let n = 1; n <= 12; n++) {
        const read = tf.add(x, n);
        const made = beside(((n % 3) + 1) as Lane, () => tf.square(read));
        const next = n > 1 ? tf.add(sum, read) : tf.add(sum, made);
        tf.dispose([read, sum]);
        sum = next;
        if (n === 1) made.dispose();
        else {
          const more = tf.add(sum, made);
          tf.dispose([made, sum]);
          sum = more;
        }
      }
      return [sum];
    },
    expected(x) {
      let sum = (x + 1) ** 2;
      for (let n = 2; n <= 12; n++) sum += x + n + (x + n) ** 2;
      return [sum];
    },
  },
];

describeCuda('work beside a step', () => {
  for (const mode of ['', 'late']) {
    it.each(cases)(`$name${mode && ', done as late as may be'}`, ({ work, expected }) => {
      const before = cuda().memoryPool.bytes;
      if (mode) process.env.SPFT_EMULATOR_ASYNC = mode;
      for (let n = 0; n < 5; n++) {
        const made = recorder.steps.run('a', inputs(n), ({ x }) => tf.tidy(() => work(tf.tensor1d(x as Float32Array))));
        const wanted = Array.from(inputs(n).x as Float32Array, expected);
        made.forEach((tensor, place) => {
          const values = tensor.dataSync();
          for (const [i, of] of wanted.entries()) expect(values[i]).toBeCloseTo(of[place]!, 2);
          tensor.dispose();
        });
      }
      // In turn too much that is given back cannot be had again at once; put off again and again it would be all of it.
      expect(cuda().memoryPool.bytes - before).toBeLessThan(12 * 4 * COUNT);
      expect(messages).toEqual([]);
      expect(recorder.steps.counts.replayed).toBeGreaterThan(2);
    });
  }

  it('leaves nothing where it fails, and the step goes on by the host', () => {
    const run = (fails: boolean) =>
      recorder.steps.run('a', inputs(1), ({ x }) =>
        tf.tidy(() => {
          const from = tf.tensor1d(x as Float32Array);
          const made = beside(1, () => tf.square(from));
          const { recording } = cuda().device;
          beside(2, () => {
            tf.mul(made, 2);
            if (fails && recording?.capturing) recording.refuse('it was asked to fail');
          });
          return [tf.add(made, 1)];
        }),
      );
    const before = cuda().memoryPool.bytes;
    for (let n = 0; n < 6; n++) {
      const [made] = run(true);
      expect(made!.dataSync()[5]).toBeCloseTo(Math.sin(6) ** 2 + 1, 4);
      made!.dispose();
    }
    expect(messages).toEqual([expect.stringContaining('it was asked to fail')]);
    expect(recorder.steps.counts.replayed).toBe(0);
    expect([cuda().device.lane, cuda().device.recording]).toEqual([0, null]);
    recorder.steps.dispose();
    recorder.steps = createStepRecorder()!;
    expect(cuda().memoryPool.bytes).toBeLessThanOrEqual(before);
  });
});

describeCuda('memory given back beside work that nobody waits for', () => {
  const MB = 2 ** 20;
  const host = () => {
    const awaited: number[] = [];
    const lanes = { stream: 1, lane: 0, laneStream: (lane: number) => 10 + lane, fork() {}, reuseEvent() {} };
    return {
      awaited,
      ...lanes,
      recordLane: (lane: number) => lane,
      awaitEvent: (event: number) => awaited.push(event),
    };
  };

  it('is held to so many bytes, then the work is waited for', () => {
    const device = host();
    const asides = new Asides(device, true);
    asides.run(1, () => {});
    let [held, most] = [0, 0];
    for (let n = 0; n < 100; n++) {
      held += 16 * MB;
      if (!asides.putOff(16 * MB, () => (held -= 16 * MB))) held -= 16 * MB;
      most = Math.max(most, held);
    }
    expect(most).toBe(256 * MB);
    expect(held).toBe(0);
    expect(device.awaited).toEqual([1]);
  });

  it('is held while the work itself gives it back', () => {
    const device = host();
    const asides = new Asides(device, true);
    let held = 0;
    asides.run(2, () => {
      for (let n = 0; n < 40; n++) {
        held += 16 * MB;
        expect(asides.putOff(16 * MB, () => (held -= 16 * MB))).toBe(true);
      }
      expect(held).toBe(640 * MB);
    });
    expect(device.awaited).toEqual([]);
    asides.joinAll();
    expect(held).toBe(0);
  });
});
