import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { memoryStore } from '../test/memory-store.js';
import { type ToyModel, type ToyOptions, toyModel, toySamples, valuesOf } from '../test/toy-model.js';
import type { TrainerCallback } from './callbacks.js';
import { NonFiniteError, type TrainerError } from './errors.js';
import { Trainer } from './trainer.js';
import type { TrainerOptions, TrainOutput } from './trainer-options.js';

const silent = { notify: () => undefined };

interface Run {
  readonly values: Record<string, number[]>;
  readonly output: TrainOutput;
  readonly calls: ToyModel['calls'];
}

async function run(
  options: Omit<TrainerOptions, 'model' | 'samples'> & Partial<TrainerOptions>,
  toy: ToyOptions = {},
  resumeFromCheckpoint?: string | boolean,
): Promise<Run> {
  const model = toyModel(toy);
  try {
    const trainer = new Trainer({ model, samples: toySamples(20), ...silent, ...options });
    const output = await trainer.train({ resumeFromCheckpoint });
    return { values: valuesOf(model), output, calls: model.calls };
  } finally {
    model.dispose();
  }
}

/** Aborts at a step, as a user would with ctrl-C. */
function stopAfter(step: number): { signal: AbortSignal; callbacks: TrainerCallback[] } {
  const abort = new AbortController();
  return {
    signal: abort.signal,
    callbacks: [{ onStepEnd: ({ state }) => (state.globalStep === step ? abort.abort() : undefined) }],
  };
}

const logged = (output: TrainOutput, key: string) =>
  output.state.logHistory.filter((entry) => key in entry).map((entry) => entry[key]!);

describe.each(TEST_BACKENDS)('Trainer on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('learns, and logs loss, gradient norm, rate, step and epoch', async () => {
    const { output } = await run({ args: { numTrainEpochs: 8, learningRate: 0.2, loggingSteps: 4 } });
    const losses = logged(output, 'loss');
    expect(output.globalStep).toBe(24);
    expect(losses).toHaveLength(6);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 4);
    expect(output.state.logHistory[0]).toMatchObject({
      step: 4,
      epoch: 4 / 3,
      learning_rate: expect.closeTo(0.2 * (21 / 24), 9),
      grad_norm: expect.any(Number),
      tokens_per_second: expect.any(Number),
    });
    const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
    expect(output.trainLoss).toBeCloseTo(mean, 6);
    expect(output.state.numInputTokensSeen).toBe(8 * toySamples(20).reduce((sum, s) => sum + s.inputIds.length, 0));
    expect(output.stepSeconds).toHaveLength(24);
    expect(output.speed.secondsPerStep).toBeGreaterThan(0);
  });

  it.each(['adamw', 'sgd'] as const)('accumulated micro-batches equal one large batch with %s', async (optim) => {
    const common = { maxSteps: 6, learningRate: 0.02, optim, momentum: 0.9, weightDecay: 0.01, loggingSteps: 1 };
    const large = await run({ args: { ...common, perDeviceTrainBatchSize: 8 } });
    const small = await run({ args: { ...common, perDeviceTrainBatchSize: 2, gradientAccumulationSteps: 4 } });
    for (const [name, values] of Object.entries(large.values)) expectAllClose(name, small.values[name]!, values);
    expectAllClose('losses', logged(small.output, 'loss'), logged(large.output, 'loss'));
    expectAllClose('gradient norms', logged(small.output, 'grad_norm'), logged(large.output, 'grad_norm'));
    expect(small.output.state.epoch).toBe(large.output.state.epoch);
  });

  it.each([
    ['AdamW in the middle of an epoch', { optim: 'adamw' }, 4],
    ['AdamW at the end of an epoch', { optim: 'adamw' }, 5],
    ['SGD with momentum', { optim: 'sgd', momentum: 0.9 }, 7],
  ] as const)('resumed equals uninterrupted, bit for bit: %s', async (_, optimizer, step) => {
    const args = {
      ...optimizer,
      numTrainEpochs: 2,
      perDeviceTrainBatchSize: 2,
      gradientAccumulationSteps: 2,
      learningRate: 0.03,
      lrSchedulerType: 'cosine',
      warmupSteps: 2,
      loggingSteps: 3,
      saveStrategy: 'no',
    } as const;
    const toy = { dropout: 0.2 };
    const checkpoints = memoryStore();
    const whole = await run({ args }, toy);
    const first = await run({ args, checkpoints, ...stopAfter(step) }, toy);
    expect(first.output.globalStep).toBe(step);
    const second = await run({ args, checkpoints }, { ...toy, start: 2 }, true);

    expect(second.values).toStrictEqual(whole.values);
    expect(logged(second.output, 'loss')).toStrictEqual(logged(whole.output, 'loss'));
    expect(logged(second.output, 'learning_rate')).toStrictEqual(logged(whole.output, 'learning_rate'));
    expect(second.output.trainLoss).toBe(whole.output.trainLoss);
    expect([...first.calls, ...second.calls].map((call) => call.seed)).toStrictEqual(
      whole.calls.map((call) => call.seed),
    );
  });

  it('leaves no tensor behind over 50 steps', async () => {
    const model = toyModel({ dropout: 0.1 });
    let afterFirst = 0;
    const counts: TrainerCallback = {
      onStepEnd: ({ state }) => {
        if (state.globalStep === 2) afterFirst = tf.memory().numTensors;
        if (state.globalStep > 2) expect(tf.memory().numTensors).toBe(afterFirst);
      },
    };
    const before = tf.memory().numTensors;
    const args = { maxSteps: 50, gradientAccumulationSteps: 2, perDeviceTrainBatchSize: 2, loggingSteps: 10 };
    const evaluated = { evalStrategy: 'steps', evalSteps: 20 } as const;
    await new Trainer({
      model,
      samples: toySamples(20),
      evalSamples: toySamples(5),
      args: { ...args, ...evaluated },
      // Else losses are kept until they are logged, where reading them waits for a GPU.
      checkEveryStep: true,
      callbacks: [counts],
      checkpoints: memoryStore(),
      ...silent,
    }).train();
    expect(afterFirst).toBeGreaterThan(0);
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });

  it('keeps losses on the device and reads them together where reading is not free', async () => {
    const args = { maxSteps: 7, loggingSteps: 3, learningRate: 0.05 };
    const read = await run({ args });
    const unread = await run({ args, checkEveryStep: false });
    expect(unread.values).toStrictEqual(read.values);
    expect(logged(unread.output, 'loss')).toStrictEqual(logged(read.output, 'loss'));
    expect(unread.output.trainLoss).toBe(read.output.trainLoss);
    expect(unread.output.stepSeconds).toHaveLength(7);
  });
});

/** A toy whose loss is not finite from a call on. */
function failing(from: number, value: number): ToyModel {
  const model = toyModel();
  const { loss } = model;
  let calls = 0;
  model.loss = (batch, options) => {
    const fine = loss(batch, options);
    return ++calls >= from ? (tf.mul(fine, value) as tf.Scalar) : fine;
  };
  return model;
}

describe('Trainer', () => {
  beforeAll(() => useBackend('cpu'));

  it.each([true, false])(
    'stops at a NaN loss, naming step, samples and checkpoint (checked every step: %s)',
    async (checkEveryStep) => {
      const model = failing(6, Number.NaN);
      const args = {
        maxSteps: 10,
        saveSteps: 2,
        loggingSteps: 5,
        perDeviceTrainBatchSize: 3,
        gradientAccumulationSteps: 1,
      };
      const checkpoints = memoryStore();
      const trainer = new Trainer({ model, samples: toySamples(9), args, checkpoints, checkEveryStep, ...silent });
      const error = await trainer.train().then(
        () => expect.unreachable('it trained on'),
        (error: TrainerError) => error as NonFiniteError,
      );
      expect(error).toBeInstanceOf(NonFiniteError);
      expect(error).toMatchObject({
        code: 'SPFT_TRAINER',
        place: { what: 'loss', step: 6, lastCheckpoint: 'memory/checkpoint-4' },
      });
      expect(error.place.samples).toHaveLength(3);
      expect(error.message).toContain(
        `the loss is NaN at step 6, batch of samples ${error.place.samples.join(', ')}; training stopped`,
      );
      expect([...checkpoints.saved.keys()]).toStrictEqual(['memory/checkpoint-2', 'memory/checkpoint-4']);
      for (const values of Object.values(valuesOf(model))) {
        if (checkEveryStep) expect(values.every(Number.isFinite)).toBe(true);
      }
      model.dispose();
    },
  );

  it('stops at an infinite loss of one micro-batch and names its samples alone', async () => {
    const model = failing(4, Number.POSITIVE_INFINITY);
    const args = { maxSteps: 3, perDeviceTrainBatchSize: 2, gradientAccumulationSteps: 2 };
    const trainer = new Trainer({ model, samples: toySamples(8), args, ...silent });
    await expect(trainer.train()).rejects.toMatchObject({
      place: { value: Number.POSITIVE_INFINITY, step: 2, samples: { length: 2 }, lastCheckpoint: null },
    });
    model.dispose();
  });

  it('stops at a gradient that is not finite though the loss is, before it reaches the variables', async () => {
    const model = toyModel();
    const { loss } = model;
    const bias = model.variables.get('toy.bias')!;
    // The root of 0 has an infinite slope: the loss is unchanged, its gradient is not a number.
    model.loss = (batch, options) => tf.add(loss(batch, options), tf.sum(tf.sqrt(tf.mul(bias, 0)))) as tf.Scalar;
    const before = valuesOf(model);
    const trainer = new Trainer({ model, samples: toySamples(8), args: { maxSteps: 3 }, ...silent });
    await expect(trainer.train()).rejects.toMatchObject({ place: { what: 'gradient norm', step: 1 } });
    expect(valuesOf(model)).toStrictEqual(before);
    model.dispose();
  });

  it('fires the events in transformers’ order', async () => {
    const events: string[] = [];
    const names = [
      ...['onTrainBegin', 'onEpochBegin', 'onStepBegin', 'onSubstepEnd', 'onPreOptimizerStep', 'onOptimizerStep'],
      ...['onStepEnd', 'onLog', 'onEvaluate', 'onSave', 'onEpochEnd', 'onTrainEnd'],
    ] as (keyof TrainerCallback)[];
    const recorder = Object.fromEntries(names.map((name) => [name, () => void events.push(name.slice(2))]));
    const steps = { perDeviceTrainBatchSize: 2, gradientAccumulationSteps: 2, numTrainEpochs: 1, loggingSteps: 2 };
    await run({
      samples: toySamples(6),
      evalSamples: toySamples(2),
      args: { ...steps, evalStrategy: 'epoch', saveStrategy: 'epoch' },
      checkpoints: memoryStore(),
      callbacks: [recorder],
    });
    expect(events.join(' ')).toBe(
      'TrainBegin EpochBegin StepBegin SubstepEnd PreOptimizerStep OptimizerStep StepEnd ' +
        'StepBegin PreOptimizerStep OptimizerStep StepEnd Log EpochEnd Log Evaluate Save Log TrainEnd',
    );
  });

  it('stops, saves, evaluates and logs when a callback asks for it', async () => {
    const checkpoints = memoryStore();
    const asks: TrainerCallback = {
      onStepEnd: ({ state, control }) => {
        control.shouldLog = state.globalStep === 1;
        control.shouldEvaluate = state.globalStep === 2;
        control.shouldSave = state.globalStep === 3;
        control.shouldTrainingStop = state.globalStep === 4;
      },
    };
    const { output } = await run({
      callbacks: [asks],
      checkpoints,
      evalSamples: toySamples(3),
      args: { maxSteps: 100 },
    });
    expect(output.globalStep).toBe(4);
    expect(output.state.logHistory.map((entry) => [entry.step, 'loss' in entry, 'eval_loss' in entry])).toStrictEqual([
      [1, true, false],
      [2, false, true],
      [4, false, false],
    ]);
    expect([...checkpoints.saved.keys()]).toStrictEqual(['memory/checkpoint-3']);
  });

  it('evaluates without dropout, gradient or sparse tokens, a mean over labelled tokens', async () => {
    const dense: number[] = [];
    const model = toyModel({ dropout: 0.5 });
    const { loss } = model;
    model.loss = (batch, options) => {
      dense.push(batch.layout.denseTokens / batch.layout.tokens);
      return loss(batch, options);
    };
    const args = { perDeviceEvalBatchSize: 2, maxSteps: 1, evalStrategy: 'steps', evalSteps: 1 } as const;
    const evaluator = async () => ({ accuracy: 0.25 });
    const denseTokens = (labels: Int32Array) => labels.map((label) => (label === -100 ? 0 : 1));
    const trainer = new Trainer({
      model,
      samples: toySamples(5),
      evalSamples: toySamples(5),
      args,
      evaluator,
      denseTokens,
      ...silent,
    });
    const { state } = await trainer.train();
    expect(dense[0]).toBeLessThan(1);
    expect(dense.slice(1)).toStrictEqual([1, 1, 1]);
    expect(model.calls.slice(1).every((call) => !call.training)).toBe(true);
    const entry = state.logHistory.find((logs) => 'eval_loss' in logs)!;
    expect(entry.eval_accuracy).toBe(0.25);

    const samples = toySamples(5);
    const { collate } = await import('./collate.js');
    const batch = collate(samples);
    const direct = model.loss(batch, { training: false, seed: 0, normalizer: batch.labelCount });
    expectAllClose('eval_loss', [entry.eval_loss!], direct);
    model.dispose();
  });

  it('keeps best and last checkpoints and returns to the best', async () => {
    const accuracies = [0.1, 0.9, 0.3, 0.2, 0.1];
    const checkpoints = memoryStore();
    const seen: Record<string, number[]>[] = [];
    const args = {
      maxSteps: 5,
      evalStrategy: 'steps',
      evalSteps: 1,
      saveSteps: 1,
      saveTotalLimit: 2,
      learningRate: 0.1,
    } as const;
    const { values, output } = await run({
      args: { ...args, loadBestModelAtEnd: true, metricForBestModel: 'accuracy' },
      checkpoints,
      evaluator: async ({ state, model }) => {
        seen.push(valuesOf(model));
        return { accuracy: accuracies[state.globalStep - 1]! };
      },
    });
    expect(output.state).toMatchObject({
      bestMetric: 0.9,
      bestGlobalStep: 2,
      bestModelCheckpoint: 'memory/checkpoint-2',
    });
    expect([...checkpoints.saved.keys()].sort()).toStrictEqual(['memory/checkpoint-2', 'memory/checkpoint-5']);
    expect(values).toStrictEqual(seen[1]);
    expect(values).not.toStrictEqual(seen[4]);
  });

  it('passes the gradient checkpointing flag and a seed of its own to every micro-batch', async () => {
    const { calls } = await run({
      args: { maxSteps: 4, gradientCheckpointing: true, gradientAccumulationSteps: 2, perDeviceTrainBatchSize: 2 },
    });
    expect(calls.every((call) => call.gradientCheckpointing && call.training)).toBe(true);
    expect(new Set(calls.map((call) => call.seed)).size).toBe(8);
  });

  it('refuses to resume with other data, another optimizer, another model, or nothing to resume from', async () => {
    const checkpoints = memoryStore();
    const args = { maxSteps: 2 };
    await expect(run({ args, checkpoints }, {}, true)).rejects.toThrow(
      'there is no complete checkpoint to continue from',
    );
    await run({ args, checkpoints });
    await expect(run({ args, checkpoints, samples: toySamples(19) }, {}, true)).rejects.toThrow(
      /samples was 20, is 19/,
    );
    await expect(run({ args: { ...args, optim: 'sgd' }, checkpoints }, {}, true)).rejects.toThrow(
      "its optimizer is adamw, this run's sgd",
    );
    await expect(run({ args, checkpoints }, { hidden: 5 }, true)).rejects.toThrow(
      "toy.lora_A.weight is [6,6], this model's [5,5]",
    );
    await expect(run({ args: { maxSteps: 1 }, checkpoints }, {}, true)).rejects.toThrow(
      'it is at step 2, past the 1 steps',
    );
  });

  it('says which settings changed when a run is resumed', async () => {
    const checkpoints = memoryStore();
    await run({ args: { maxSteps: 2 }, checkpoints });
    const notices: string[] = [];
    const args = { maxSteps: 3, learningRate: 1e-3 };
    await run({ args, checkpoints, notify: (message) => notices.push(message) }, {}, true);
    expect(notices.join('\n')).toMatch(/learningRate was 0.00005 in the checkpoint and is 0.001 now/);
  });

  it('adds files of the caller to every checkpoint', async () => {
    const checkpoints = memoryStore();
    await run({
      args: { maxSteps: 1 },
      checkpoints,
      checkpointFiles: async () => ({ 'adapter_config.json': '{"r":4}' }),
    });
    const files = checkpoints.saved.get('memory/checkpoint-1')!;
    expect(new TextDecoder().decode(files.get('adapter_config.json'))).toBe('{"r":4}');
    expect(JSON.parse(new TextDecoder().decode(files.get('trainer_state.json')))).toMatchObject({
      global_step: 1,
      max_steps: 1,
    });
  });

  it('lists everything that is wrong with its arguments', () => {
    const model = toyModel();
    const make = (options: Partial<TrainerOptions>) => () =>
      new Trainer({ model, samples: toySamples(2), ...silent, ...options });
    expect(make({ args: { learningRate: -1, maxSteps: 1.5, optim: 'lion' as never } })).toThrow(
      'training arguments: max_steps: wanted a whole number, found 1.5; ' +
        'optim: wanted one of adamw_torch, adamw_torch_fused, adamw_hf, adamw, sgd, found "lion"; learning_rate: wanted at least 0, found -1',
    );
    expect(make({ args: { evalStrategy: 'steps' } })).toThrow('give evalSamples or an evaluator');
    expect(make({ args: { loadBestModelAtEnd: true } })).toThrow(
      'load_best_model_at_end: needs eval_strategy steps or epoch, found no',
    );
    model.dispose();
  });

  it('refuses a model without trainable variables', async () => {
    const model = { variables: new Map(), loss: () => tf.scalar(0) };
    await expect(new Trainer({ model, samples: toySamples(2), ...silent }).train()).rejects.toThrow(
      'no trainable variable',
    );
  });
});
