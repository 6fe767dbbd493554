import { parseSafetensors, serializeSafetensors } from '@spft/safetensors';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { memoryStore } from '../../test/memory-store.js';
import { toySamples, valuesOf } from '../../test/toy-model.js';
import { logged, run } from '../../test/toy-run.js';
import type { TrainerCallback } from '../loop/callbacks.js';

/** Aborts at a step, as a user would with ctrl-C. */
function stopAfter(step: number): { signal: AbortSignal; callbacks: TrainerCallback[] } {
  const abort = new AbortController();
  return {
    signal: abort.signal,
    callbacks: [{ onStepEnd: ({ state }) => (state.globalStep === step ? abort.abort() : undefined) }],
  };
}

describe.each(TEST_BACKENDS)('Trainer with checkpoints on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([
    ['AdamW in the middle of an epoch', { optim: 'adamw' }, 4],
    ['AdamW at the end of an epoch', { optim: 'adamw' }, 5],
    ['AdamW with moments in 8 bits', { optim: 'adamw_8bit' }, 4],
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
    // A matrix of 4096 numbers, from which on moments have 8 bits.
    const toy = { dropout: 0.2, hidden: optimizer.optim === 'adamw_8bit' ? 64 : 6 };
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
});

describe('Trainer with checkpoints', () => {
  beforeAll(() => useBackend('cpu'));

  it('saves moments in 8 bits as bytes, and refuses those of another rank', async () => {
    const args = { optim: 'adamw_8bit', maxSteps: 1, saveStrategy: 'steps', saveSteps: 1 } as const;
    const checkpoints = memoryStore();
    await run({ args, checkpoints }, { hidden: 64 });
    const files = checkpoints.saved.get('memory/checkpoint-1')!;
    const name = 'optimizer.safetensors';
    const saved = await parseSafetensors(files.get(name)!);
    expect(saved.entry('state1.toy.lora_A.weight')).toMatchObject({ dtype: 'U8', shape: [4096] });
    expect(saved.entry('absmax2.toy.lora_A.weight')).toMatchObject({ dtype: 'F32', shape: [16] });
    expect(saved.metadata.optimizer).toBe('adamw_8bit');
    expect(new Set(await saved.bytes('state1.toy.lora_A.weight')).size).toBeGreaterThan(100);
    const tensors = Object.fromEntries(
      await Promise.all(
        saved.names.map(async (one) => [one, { ...saved.entry(one), data: await saved.bytes(one) }] as const),
      ),
    );
    const shorter = { dtype: 'U8' as const, shape: [4000], data: new Uint8Array(4000) };
    const changed = serializeSafetensors({ ...tensors, 'state1.toy.lora_A.weight': shorter }, saved.metadata);
    (files as Map<string, Uint8Array>).set(name, changed);
    await expect(run({ args: { ...args, maxSteps: 2 }, checkpoints }, { hidden: 64 }, true)).rejects.toThrow(
      'state1.toy.lora_A.weight is U8 [4000], wanted U8 [4096]',
    );
  });

  it('gives up a long step when it is stopped between its micro-batches, and resumes to the same end', async () => {
    const args = { maxSteps: 5, perDeviceTrainBatchSize: 2, gradientAccumulationSteps: 3, loggingSteps: 1 };
    const whole = await run({ args });
    for (const [step, checkEveryStep] of [
      [0, true],
      [2, true],
      [2, false],
    ] as const) {
      const checkpoints = memoryStore();
      const abort = new AbortController();
      // From a turn of the event loop, as a signal comes: the micro-batches themselves leave none.
      const stop: TrainerCallback = {
        onStepBegin: ({ state }) => void (state.globalStep === step && setImmediate(() => abort.abort())),
      };
      const before = tf.memory().numTensors;
      const first = await run({ args, checkpoints, checkEveryStep, signal: abort.signal, callbacks: [stop] });
      expect(tf.memory().numTensors).toBe(before);
      expect(first.output.globalStep).toBe(step);
      expect(first.calls).toHaveLength(step * 3 + 1);
      expect([...checkpoints.saved.keys()]).toEqual([`memory/checkpoint-${step}`]);
      const second = await run({ args, checkpoints }, { start: 2 }, true);
      expect(second.values).toStrictEqual(whole.values);
      expect(logged(second.output, 'loss')).toStrictEqual(logged(whole.output, 'loss'));
    }
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

  it.each(['rng_state.json', 'training_args.json', 'trainer_state.json', 'model_identity.json'])(
    'refuses what no run has written in %s by its own error',
    async (name) => {
      const checkpoints = memoryStore();
      await run({ args: { maxSteps: 2 }, checkpoints });
      const files = checkpoints.saved.get('memory/checkpoint-2')!;
      const value = JSON.parse(new TextDecoder().decode(files.get(name)));
      let deep: unknown = 1;
      for (let level = 0; level < 20_000; level++) deep = [deep];
      const wrong = [null, 7, 'x', [], deep, Object.fromEntries(Object.keys(value).map((key) => [key, deep]))];
      for (const json of wrong) {
        // JSON.stringify cannot go so deep.
        const text = json === deep ? `${'['.repeat(20_000)}${']'.repeat(20_000)}` : stringify(json, deep);
        const broken = new Map(files).set(name, new TextEncoder().encode(text));
        checkpoints.saved.set('memory/checkpoint-2', broken);
        const resumed = run({ args: { maxSteps: 3 }, checkpoints }, {}, true);
        // Other training keys are said, and the run goes on; what is no keys at all is refused.
        if (name === 'training_args.json' && json !== null && typeof json === 'object' && !Array.isArray(json))
          await resumed;
        else await expect(resumed).rejects.toMatchObject({ code: 'SPFT_TRAINER', reason: 'checkpoint' });
        checkpoints.saved.delete('memory/checkpoint-3');
      }
    },
  );

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
});

/** JSON with a value that is too deep for JSON.stringify in place of each `deep`. */
function stringify(json: unknown, deep: unknown): string {
  const text = JSON.stringify(json, (_, value) => (value === deep ? 'DEEP' : value));
  return text.replaceAll('"DEEP"', `${'['.repeat(20_000)}${']'.repeat(20_000)}`);
}
