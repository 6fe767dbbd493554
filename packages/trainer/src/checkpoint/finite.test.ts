import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { memoryStore } from '../../test/memory-store.js';
import { toyModel, toySamples, valuesOf } from '../../test/toy-model.js';
import { logged, run, silent } from '../../test/toy-run.js';
import { Trainer } from '../loop/trainer.js';
import type { TrainerOptions } from '../loop/trainer-options.js';

/** A toy whose loss is finite and whose gradient is not, in one step: the root of 0 has an infinite slope. */
function explodingAt(step: number) {
  const model = toyModel();
  const { loss } = model;
  const bias = model.variables.get('toy.bias')!;
  let calls = 0;
  model.loss = (batch, options) => {
    const fine = loss(batch, options);
    if (!options.training) return fine;
    calls += 1;
    return calls === step ? (tf.add(fine, tf.sum(tf.sqrt(tf.mul(bias, 0)))) as tf.Scalar) : fine;
  };
  return model;
}

describe.each(TEST_BACKENDS)('a gradient that is not finite, without clipping, on %s', (backend) => {
  it.each([
    ['the last step', { args: { maxSteps: 3 } }, 3],
    ['the last step, unread until then', { args: { maxSteps: 3 }, checkEveryStep: false }, 3],
    ['a step before a checkpoint', { args: { maxSteps: 9, saveSteps: 2 }, checkEveryStep: false }, 2],
    ['a step before a log line', { args: { maxSteps: 9, loggingSteps: 2 }, checkEveryStep: false }, 2],
    [
      'a step before an evaluation',
      { args: { maxSteps: 9, evalStrategy: 'steps', evalSteps: 2 }, evalSamples: toySamples(2), checkEveryStep: false },
      2,
    ],
  ] as [string, Partial<TrainerOptions>, number][])('is no success in %s', async (_, options, step) => {
    await useBackend(backend);
    const model = explodingAt(step);
    const checkpoints = memoryStore();
    const before = tf.memory().numTensors;
    const args = { ...options.args, maxGradNorm: 0, perDeviceTrainBatchSize: 4 };
    const trainer = new Trainer({ model, samples: toySamples(20), checkpoints, ...silent, ...options, args });
    await expect(trainer.train()).rejects.toMatchObject({
      reason: 'non-finite',
      place: { what: 'gradient norm', step },
    });
    expect(checkpoints.saved.size).toBe(0);
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });
});

describe('values that are not finite', () => {
  it('end a run whose last update made them of finite gradients', async () => {
    await useBackend('cpu');
    const args = {
      maxSteps: 2,
      optim: 'sgd',
      maxGradNorm: 0,
      learningRate: 1e38,
      lrSchedulerType: 'constant',
    } as const;
    // The second step's loss is read before its update; what the update makes shows in the values alone.
    await expect(run({ args: { ...args, maxSteps: 1, learningRate: 3e38, weightDecay: 3e38 } })).rejects.toThrow(
      /^toy\.lora_A\.weight is (NaN|-?Infinity) after step 1; training stopped, and nothing of it is saved\. Last good checkpoint: none/,
    );
    const checkpoints = memoryStore();
    const saving = { ...args, maxSteps: 1, saveSteps: 1, learningRate: 3e38, weightDecay: 3e38 };
    await expect(run({ args: saving, checkpoints })).rejects.toMatchObject({ place: { step: 1, samples: [] } });
    expect(checkpoints.saved.size).toBe(0);
  });

  it('of an evaluation are no eval_loss, and of an evaluator no metric', async () => {
    await useBackend('cpu');
    const model = toyModel();
    const { loss } = model;
    model.loss = (batch, options) => tf.mul(loss(batch, options), options.training ? 1 : Number.NaN) as tf.Scalar;
    const args = { maxSteps: 2, evalStrategy: 'steps', evalSteps: 1 } as const;
    const options = { samples: toySamples(4), args, ...silent };
    await expect(new Trainer({ ...options, model, evalSamples: toySamples(2) }).train()).rejects.toMatchObject({
      place: { what: 'eval_loss', step: 1 },
    });
    model.dispose();
    const notices: string[] = [];
    const { output } = await run({
      args,
      evaluator: async () => ({ accuracy: Number.NaN, bleu: 0.5 }),
      notify: (message) => void notices.push(message),
    });
    expect(notices).toContain('eval_accuracy is NaN after step 1, and is left out');
    expect([logged(output, 'eval_accuracy'), logged(output, 'eval_bleu')]).toEqual([[], [0.5, 0.5]]);
  });

  it('are refused in a checkpoint, before anything is put into the model', async () => {
    await useBackend('cpu');
    const checkpoints = memoryStore();
    const args = { maxSteps: 2, saveSteps: 1 };
    await run({ args, checkpoints });
    const files = new Map(checkpoints.saved.get('memory/checkpoint-2')!);
    const bytes = files.get('optimizer.safetensors')!.slice();
    new DataView(bytes.buffer).setFloat32(bytes.length - 4, Number.NaN, true);
    checkpoints.saved.set('memory/checkpoint-2', files.set('optimizer.safetensors', bytes));
    const model = toyModel({ start: 3 });
    const before = valuesOf(model);
    const trainer = new Trainer({ model, samples: toySamples(20), args: { maxSteps: 3 }, checkpoints, ...silent });
    await expect(trainer.train({ resumeFromCheckpoint: true })).rejects.toThrow(
      /optimizer\.safetensors: exp_avg\S* holds NaN/,
    );
    expect(valuesOf(model)).toEqual(before);
    model.dispose();
  });
});
