import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LlamaForCausalLM } from '@spft/models';
import { fromPretrained } from '@spft/models/node';
import { getPeftModel, type PeftModel } from '@spft/peft';
import { loadPretrained } from '@spft/peft/node';
import { parseSafetensors } from '@spft/safetensors';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import recorded from '../../../models/test/fixtures/embeddings/batch.json' with { type: 'json' };
import { memoryStore } from '../../test/memory-store.js';
import { silent } from '../../test/toy-run.js';
import { Trainer } from './trainer.js';

const fixtures = fileURLToPath(new URL('../../../models/test/fixtures/embeddings', import.meta.url));
const samples = recorded.ids.map((inputIds, n) => ({ inputIds, labels: recorded.labels[n]! }));
const ARGS = {
  perDeviceTrainBatchSize: 2,
  maxSteps: 4,
  learningRate: recorded.rate,
  lrSchedulerType: 'constant',
  maxGradNorm: 0,
  loggingSteps: 1,
} as const;

describe.each(TEST_BACKENDS)('training the embedding and the head on %s', (backend) => {
  it.each([
    ['lora', 'base'],
    ['lora-tied', 'base-tied'],
    ['dora-head', 'base'],
    ['saved', 'base'],
    ['saved-tied', 'base-tied'],
  ])('%s: the losses of four steps are those of PEFT with torch’s AdamW', async (name, base) => {
    await useBackend(backend);
    const golden = parseSafetensors(await readFile(join(fixtures, name, 'golden.safetensors')));
    const model = await fromPretrained(join(fixtures, base));
    const peft = (await loadPretrained(model, join(fixtures, name))) as PeftModel<LlamaForCausalLM>;
    const { state } = await new Trainer({ model: peft, samples, args: ARGS, ...silent }).train();
    const losses = state.logHistory.flatMap((entry) => entry.loss ?? []);
    expectAllClose('losses', losses, await golden.float32('losses'), TOLERANCE.gradient);
    peft.dispose();
    model.dispose();
  });
});

describe('a checkpoint of a run that trains the embedding and the head', () => {
  const CONFIG = { r: 2, targetModules: ['q_proj', 'embed_tokens'], extra: { modules_to_save: ['lm_head'] } };

  async function run(maxSteps: number, checkpoints = memoryStore(), resumeFromCheckpoint = false, config = CONFIG) {
    await useBackend('cpu');
    const model = await fromPretrained(join(fixtures, 'base-tied'));
    const peft = getPeftModel(model, config, { seed: 4 });
    try {
      const args = { ...ARGS, maxSteps, saveSteps: 1 };
      await new Trainer({ model: peft, samples, args, checkpoints, ...silent }).train({ resumeFromCheckpoint });
      return [...peft.variables].map(([name, variable]) => [name, Array.from(variable.dataSync())]);
    } finally {
      peft.dispose();
      model.dispose();
    }
  }

  it('is continued bit for bit, and only by a run that trains the same', async () => {
    const whole = await run(4);
    expect(whole.map(([name]) => name)).toContain('lm_head.weight');
    const store = memoryStore();
    await run(2, store);
    await expect(run(4, store, true, { ...CONFIG, extra: { modules_to_save: [] as string[] } })).rejects.toMatchObject({
      code: 'SPFT_TRAINER',
      reason: 'checkpoint',
    });
    expect(await run(4, store, true)).toEqual(whole);
  });
});
