import { type Collective, HostTensors, localCollectives } from '@spft/distributed';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { memoryStore } from '../../test/memory-store.js';
import { type ToyModel, type ToyOptions, toyModel, toySamples, valuesOf } from '../../test/toy-model.js';
import { logged, type Run, run, silent } from '../../test/toy-run.js';
import type { NonFiniteError } from '../errors.js';
import type { TrainerContext } from './callbacks.js';
import type { Ranks } from './ranks.js';
import { Trainer } from './trainer.js';
import type { TrainerOptions } from './trainer-options.js';

type Options = Partial<Omit<TrainerOptions, 'model' | 'ranks'>>;

const ranksOf = (host: Collective): Ranks => ({
  rank: host.rank,
  size: host.size,
  host,
  tensors: new HostTensors(host),
});

/** The same run on every rank of a process. @param of what one of them has instead. */
async function together(
  size: number,
  options: Options,
  {
    toy,
    resume,
    of = () => ({}),
  }: { toy?: ToyOptions; resume?: string | boolean; of?: (rank: number) => Options } = {},
): Promise<Run[]> {
  const hosts = localCollectives(size);
  return Promise.all(hosts.map((host) => run({ ...options, ...of(host.rank), ranks: ranksOf(host) }, toy, resume)));
}

const ARGS = {
  maxSteps: 9,
  perDeviceTrainBatchSize: 3,
  gradientAccumulationSteps: 1,
  learningRate: 0.05,
  loggingSteps: 2,
  lrSchedulerType: 'cosine',
  maxGradNorm: 0.3,
  weightDecay: 0.01,
  saveStrategy: 'no',
  seed: 5,
} as const;

describe('ranks of a Trainer', () => {
  beforeAll(() => useBackend('cpu'));

  // Twenty samples are seven batches of three, so the last step of an epoch has work for one rank alone.
  it.each([2, 3])('%i of them are one process with so many times the accumulation, bit for bit', async (size) => {
    const toy = { dropout: 0.3 };
    const alone = await run({ args: { ...ARGS, gradientAccumulationSteps: size } }, toy);
    const ranks = await together(size, { args: ARGS }, { toy });
    for (const rank of ranks) {
      expect(rank.values).toStrictEqual(alone.values);
      for (const key of ['loss', 'grad_norm', 'learning_rate', 'epoch', 'train_loss']) {
        expect(logged(rank.output, key), key).toStrictEqual(logged(alone.output, key));
      }
      expect(rank.output.state.numInputTokensSeen).toBe(alone.output.state.numInputTokensSeen);
    }
    const calls = ranks.map(({ calls }) => calls.length);
    expect(calls.reduce((sum, n) => sum + n, 0)).toBe(alone.calls.length);
    expect(Math.max(...calls)).toBeLessThan(alone.calls.length);
  });

  it('accumulate besides: the same up to the order of sums', async () => {
    const alone = await run({ args: { ...ARGS, gradientAccumulationSteps: 6 } });
    const ranks = await together(3, { args: { ...ARGS, gradientAccumulationSteps: 2 } });
    const losses = logged(alone.output, 'loss');
    expect(ranks[1]!.values).toStrictEqual(ranks[0]!.values);
    logged(ranks[0]!.output, 'loss').forEach((loss, n) => {
      expect(Math.abs(loss / losses[n]! - 1)).toBeLessThan(1e-6);
    });
    for (const [name, values] of Object.entries(alone.values)) {
      values.forEach((value, n) => {
        expect(Math.abs(ranks[0]!.values[name]![n]! - value)).toBeLessThan(1e-6);
      });
    }
  });

  it('have the same eval_loss as one process, bit for bit, with uneven shards', async () => {
    const args = { ...ARGS, evalStrategy: 'steps', evalSteps: 3, perDeviceEvalBatchSize: 2 } as const;
    const evalSamples = toySamples(13);
    const alone = await run({ args: { ...args, gradientAccumulationSteps: 3 }, evalSamples });
    const ranks = await together(3, { args, evalSamples });
    for (const { output } of ranks) {
      expect(logged(output, 'eval_loss')).toStrictEqual(logged(alone.output, 'eval_loss'));
      expect(output.state.bestMetric).toBe(alone.output.state.bestMetric);
    }
  });

  it('go on from a checkpoint of other numbers of ranks: two, then three, then one', async () => {
    const args = { ...ARGS, saveStrategy: 'steps', saveSteps: 3 } as const;
    const toy = { dropout: 0.2 };
    const whole = await run({ args: { ...args, gradientAccumulationSteps: 6 } }, toy);
    const checkpoints = memoryStore();
    const until = (steps: number) => ({
      onStepEnd: ({
        state,
        control,
      }: Parameters<NonNullable<import('./callbacks.js').TrainerCallback['onStepEnd']>>[0]) => {
        if (state.globalStep === steps) control.shouldTrainingStop = true;
      },
    });
    await together(
      2,
      { args: { ...args, gradientAccumulationSteps: 3 }, checkpoints },
      {
        toy,
        of: () => ({ callbacks: [until(3)] }),
      },
    );
    expect([...checkpoints.saved.keys()]).toEqual(['memory/checkpoint-3']);
    // Two micro-batches to each of three ranks; then all to one.
    await together(
      3,
      { args: { ...args, gradientAccumulationSteps: 2 }, checkpoints },
      {
        toy,
        resume: true,
        of: (rank) => ({ callbacks: [until(6)], ...(rank > 0 ? { checkpoints: unreadable() } : {}) }),
      },
    );
    expect([...checkpoints.saved.keys()]).toEqual(['memory/checkpoint-3', 'memory/checkpoint-6']);
    const last = await run(
      { args: { ...args, gradientAccumulationSteps: 1 }, microBatches: 6, checkpoints },
      toy,
      'auto',
    );
    logged(last.output, 'loss').forEach((loss, n) => {
      expect(Math.abs(loss / logged(whole.output, 'loss')[n]! - 1)).toBeLessThan(1e-6);
    });
    for (const [name, values] of Object.entries(whole.values)) {
      values.forEach((value, n) => {
        expect(Math.abs(last.values[name]![n]! - value)).toBeLessThan(1e-6);
      });
    }
  });

  it('stop after the same step when one of them is told to, with a checkpoint of rank 0 alone', async () => {
    for (const checkEveryStep of [true, false]) {
      const stores = [memoryStore(), memoryStore()];
      const stop = new AbortController();
      const ranks = await together(
        2,
        { args: { ...ARGS, saveStrategy: 'steps', saveSteps: 100 }, checkEveryStep },
        {
          of: (rank) => ({
            checkpoints: stores[rank],
            ...(rank === 1
              ? {
                  signal: stop.signal,
                  callbacks: [
                    { onStepBegin: ({ state }: TrainerContext) => state.globalStep === 2 && stop.abort('SIGTERM') },
                  ] as never,
                }
              : {}),
          }),
        },
      );
      const step = checkEveryStep ? 3 : 4;
      expect(ranks.map(({ output }) => [output.globalStep, output.interrupted])).toEqual([
        [step, true],
        [step, true],
      ]);
      expect(stores.map(({ saved }) => [...saved.keys()])).toEqual([[`memory/checkpoint-${step}`], []]);
      expect(ranks[1]!.values).toStrictEqual(ranks[0]!.values);
    }
  });

  it('all hear of a loss that is NaN on one of them, by step and samples', async () => {
    const hosts = localCollectives(2);
    const models: ToyModel[] = [];
    const ends = await Promise.allSettled(
      hosts.map((host) => {
        const model = toyModel();
        models.push(model);
        const { loss } = model;
        let calls = 0;
        if (host.rank === 1) {
          model.loss = (...given) => {
            const fine = loss(...given);
            return ++calls >= 3 ? (tf.mul(fine, Number.NaN) as tf.Scalar) : fine;
          };
        }
        return new Trainer({ model, samples: toySamples(20), args: ARGS, ...silent, ranks: ranksOf(host) }).train();
      }),
    );
    const places = ends.map((end) => ((end as PromiseRejectedResult).reason as NonFiniteError).place);
    expect(places[0]).toMatchObject({ what: 'loss', step: 3, samples: { length: 3 } });
    expect(places[1]).toEqual(places[0]);
    for (const model of models) {
      expect(Object.values(valuesOf(model)).flat().every(Number.isFinite)).toBe(true);
      model.dispose();
    }
  });

  it('are refused where the data have no batch for each, and told of idle ones', async () => {
    await expect(together(8, { args: ARGS })).rejects.toThrow(
      '8 ranks, but 20 samples are only 7 batches of 3: some ranks would never have one; start at most 7 ranks',
    );
    const notes: string[] = [];
    await together(3, { args: ARGS, microBatches: 2, notify: (note) => notes.push(note) });
    expect(notes[0]).toBe(
      'a step has 2 micro-batches for 3 ranks, of which 1 have none: more accumulation, or fewer ranks, would use all',
    );
  });

  it('leave nothing behind', async () => {
    const before = tf.memory().numTensors;
    await together(3, { args: { ...ARGS, gradientAccumulationSteps: 2 } });
    expect(tf.memory().numTensors).toBe(before);
  });
});

/** What a rank has whose file system is not that of rank 0. */
function unreadable() {
  const store = memoryStore();
  return {
    ...store,
    read: () => Promise.reject(new Error('not on this host')),
    list: () => Promise.reject(new Error('not on this host')),
    write: () => Promise.reject(new Error('not on this host')),
  };
}
