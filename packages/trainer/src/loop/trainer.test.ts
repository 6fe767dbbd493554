import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { memoryStore } from '../../test/memory-store.js';
import { type ToyModel, toyModel, toySamples, valuesOf } from '../../test/toy-model.js';
import { logged, run, silent } from '../../test/toy-run.js';
import { NonFiniteError, type TrainerError } from '../errors.js';
import type { TrainerCallback } from './callbacks.js';
import { Trainer } from './trainer.js';
import type { TrainerOptions } from './trainer-options.js';

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
    const { collate } = await import('../batch/collate.js');
    const batch = collate(samples);
    const direct = model.loss(batch, { training: false, seed: 0, normalizer: batch.labelCount });
    expectAllClose('eval_loss', [entry.eval_loss!], direct);
    model.dispose();
  });

  it('passes the gradient checkpointing flag and a seed of its own to every micro-batch', async () => {
    const { calls } = await run({
      args: { maxSteps: 4, gradientCheckpointing: true, gradientAccumulationSteps: 2, perDeviceTrainBatchSize: 2 },
    });
    expect(calls.every((call) => call.gradientCheckpointing && call.training)).toBe(true);
    expect(new Set(calls.map((call) => call.seed)).size).toBe(8);
  });

  it('lists everything that is wrong with its arguments', () => {
    const model = toyModel();
    const make = (options: Partial<TrainerOptions>) => () =>
      new Trainer({ model, samples: toySamples(2), ...silent, ...options });
    expect(make({ args: { learningRate: -1, maxSteps: 1.5, optim: 'lamb' as never } })).toThrow(
      'training arguments: max_steps: wanted a whole number, found 1.5; ' +
        'optim: wanted one of adamw_torch, adamw_torch_fused, adamw_hf, adamw, sgd, lion, adafactor, adamw_8bit, adamw_bnb_8bit, paged_adamw_8bit, found "lamb"; learning_rate: wanted at least 0, found -1',
    );
    const misspelt = { learning_rate: 1e-3, maxStep: 3, zzzzzz: 1, loraR: 8 } as object;
    expect(make({ args: misspelt })).toThrow(
      "training arguments: there is no 'learning_rate'; did you mean 'learningRate'?; there is no 'maxStep'; did you mean 'maxSteps'?; there is no 'zzzzzz'",
    );
    expect(make({ args: { maxSteps: '3' as never } })).toThrow('max_steps: wanted a whole number, found "3"');
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
