import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SpftConfig } from '@spft/config';
import { getSpftModel } from '@spft/estimator';
import { fromPretrained } from '@spft/models/node';
import { getPeftModel, type LoraConfigInput } from '@spft/peft';
import { loadPretrained } from '@spft/peft/node';
import { openSafetensors } from '@spft/safetensors/node';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { memoryStore } from '../../test/memory-store.js';
import { valuesOf } from '../../test/toy-model.js';
import type { Sample } from '../batch/samples.js';
import { SparsityStatistics } from '../record/sparsity-statistics.js';
import { SpftCallback } from './spft-callback.js';
import { Trainer } from './trainer.js';
import type { TrainerOptions } from './trainer-options.js';

const shared = process.env.SPFT_SHARED ?? fileURLToPath(new URL('../../../../../shared', import.meta.url));
const golden = join(shared, 'golden', 'seed0');
const silent = { notify: () => undefined };

/** The golden batch, without its padding. */
async function goldenSamples(model: string): Promise<Sample[]> {
  const file = await openSafetensors(join(golden, model, 'dense.safetensors'));
  const [ids, mask, labels] = await Promise.all(
    ['input_ids', 'attention_mask', 'labels'].map((name) => file.int32(name)),
  );
  const [rows, columns] = file.entry('input_ids').shape as [number, number];
  await file.close();
  return Array.from({ length: rows }, (_, row) => {
    const real = Array.from({ length: columns }, (_, column) => row * columns + column).filter((at) => mask![at] === 1);
    return { inputIds: real.map((at) => ids![at]!), labels: real.map((at) => labels![at]!) };
  });
}

describe.skipIf(!existsSync(golden))('Trainer on golden models (skipped where ../shared is absent)', () => {
  describe.each(TEST_BACKENDS)('on %s', (backend) => {
    beforeAll(() => useBackend(backend));

    it.each(['lora', 'dora'])('takes the three AdamW steps of PyTorch and PEFT: %s', async (method) => {
      const model = await fromPretrained(join(golden, 'gqa', 'model'));
      const peft = await loadPretrained(model, join(golden, 'gqa', method, 'adapter'));
      const samples = await goldenSamples('gqa');
      const args = {
        maxSteps: 3,
        perDeviceTrainBatchSize: samples.length,
        learningRate: 0.01,
        lrSchedulerType: 'constant',
        weightDecay: 0.01,
        loggingSteps: 1,
      } as const;
      const { state } = await new Trainer({ model: peft, samples, args, ...silent }).train();
      const expected = await openSafetensors(join(golden, 'gqa', method, 'golden.safetensors'));
      const logged = (key: string) => state.logHistory.filter((entry) => key in entry).map((entry) => entry[key]!);
      expectAllClose('losses', logged('loss'), await expected.float32('adamw.losses'), TOLERANCE.output);
      expectAllClose(
        'gradient norms',
        logged('grad_norm'),
        await expected.float32('adamw.grad_norms'),
        TOLERANCE.gradient,
      );
      const names = expected.names.filter((name) => name.startsWith('adamw.param.'));
      expect(names).toHaveLength(peft.variables.size);
      for (const [name, variable] of peft.variables) {
        expectAllClose(name, variable, await expected.float32(`adamw.param.${name}`), TOLERANCE.gradient);
      }
      await expected.close();
      peft.dispose();
      model.dispose();
    });

    it('resumes a SparseLoRA run with dropout and a sparsity schedule bit for bit, and maps what was kept', async () => {
      const samples = await goldenSamples('gqa');
      const lora: LoraConfigInput = { r: 4, loraAlpha: 8, loraDropout: 0.1, targetModules: ['q_proj', 'v_proj'] };
      const config = SpftConfig.fromObject({
        mode: 'svd_4',
        start_step: 0.3,
        end_step: 5,
        skip_output_tokens: true,
        sparsity: { 'layers.1.mlp': 0.5, 'layers.1.self_attn': 0.5 },
      });
      const train = async (options: Partial<TrainerOptions>, resumeFromCheckpoint = false) => {
        const model = await fromPretrained(join(golden, 'gqa', 'model'));
        const peft = getPeftModel(model, lora, { seed: 7 });
        const spft = await getSpftModel(peft, config);
        const statistics = new SparsityStatistics(spft.plan, { layerCount: model.layerCount, every: 1 });
        const args = {
          maxSteps: 6,
          perDeviceTrainBatchSize: 2,
          learningRate: 0.02,
          loggingSteps: 1,
          gradientCheckpointing: true,
        };
        const { callbacks = [], ...rest } = options;
        const { state } = await new Trainer({
          model: spft,
          samples,
          args,
          denseTokens: spft.denseTokens,
          callbacks: [new SpftCallback(spft), statistics, ...callbacks],
          ...silent,
          ...rest,
        }).train({ resumeFromCheckpoint });
        const result = {
          values: valuesOf(spft),
          losses: state.logHistory.map((entry) => entry.loss),
          map: statistics.map(),
        };
        for (const part of [spft, peft, model]) part.dispose();
        return result;
      };
      const before = tf.memory().numTensors;
      const whole = await train({});
      expect(tf.memory().numTensors).toBe(before);
      const checkpoints = memoryStore();
      const abort = new AbortController();
      const stop = {
        onStepEnd: ({ state }: { state: { globalStep: number } }) =>
          state.globalStep === 3 ? abort.abort() : undefined,
      };
      await train({ checkpoints, signal: abort.signal, callbacks: [stop] });
      const resumed = await train({ checkpoints }, true);
      expect(resumed.values).toStrictEqual(whole.values);
      expect(resumed.losses).toStrictEqual(whole.losses);

      // Of the steps 0 to 5 those from 0.3 · 6 on and before 5.
      expect(whole.map.steps).toBe(3);
      const { parts } = whole.map.layers[1]!;
      expect(Object.keys(parts).sort()).toStrictEqual(['k', 'mlp', 'o', 'q', 'v']);
      for (const part of Object.values(parts)) expect(part.density).toBeCloseTo(0.5, 6);
      expect(whole.map.layers[0]!.parts).toStrictEqual({});
    });
  });
});
