import { SpftConfig } from '@spft/config';
import { getSpftModel } from '@spft/estimator';
import { LlamaForCausalLM } from '@spft/models';
import { getPeftModel, type LoraConfigInput } from '@spft/peft';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { sourceOf, TINY, tinyWeights } from '../../../models/test/tiny.js';
import { memoryStore } from '../../test/memory-store.js';
import { toySamples } from '../../test/toy-model.js';
import { run } from '../../test/toy-run.js';
import { Trainer } from '../loop/trainer.js';
import { IDENTITY } from './identity.js';

const LORA: LoraConfigInput = { r: 2, loraAlpha: 4, targetModules: ['q_proj', 'v_proj'] };
const SPARSITY = { mode: 'svd_2', skip_output_tokens: true, sparsity: { 'layers.0.mlp': 0.5 } };

interface Changed {
  readonly lora?: LoraConfigInput;
  readonly sparsity?: Readonly<Record<string, unknown>> | null;
  /** Name of a frozen weight of which one value is another. */
  readonly otherBase?: string;
  /** Give the trainer the adapters' model, not the sparse one around it. */
  readonly plain?: boolean;
}

describe('a checkpoint', () => {
  beforeAll(() => useBackend('cpu'));
  const store = memoryStore();

  async function train(steps: number, changed: Changed, resumeFromCheckpoint: boolean): Promise<string[]> {
    const weights = tinyWeights(TINY);
    if (changed.otherBase) weights.get(changed.otherBase)!.data[1]! += 0.5;
    const model = await LlamaForCausalLM.fromWeights(TINY, sourceOf(weights));
    const peft = getPeftModel(model, { ...LORA, ...changed.lora });
    const sparsity = changed.sparsity === null ? null : SpftConfig.fromObject({ ...SPARSITY, ...changed.sparsity });
    const spft = sparsity && (await getSpftModel(peft, sparsity));
    const notices: string[] = [];
    try {
      await new Trainer({
        model: changed.plain || !spft ? peft : spft,
        samples: toySamples(4),
        args: { maxSteps: steps, saveSteps: 1, perDeviceTrainBatchSize: 2 },
        checkpoints: store,
        notify: (message) => void notices.push(message),
      }).train({ resumeFromCheckpoint });
    } finally {
      for (const part of [spft, peft, model]) part?.dispose();
    }
    return notices.filter((notice) => !notice.startsWith('maxSteps was'));
  }
  const resumed = (changed: Changed) => {
    for (const location of [...store.saved.keys()])
      if (location !== 'memory/checkpoint-1') store.saved.delete(location);
    return train(2, changed, true);
  };

  it('is continued by the same base, adapter and sparsity alone', async () => {
    await train(1, {}, false);
    const goesOn = ['continuing from memory/checkpoint-1 at step 1 of 2', 'sparsity on from step 2 of 2'];
    expect(await resumed({})).toEqual(goesOn);
    // The plan is on the base: whichever wrapper is trained, it is the same model.
    expect(await resumed({ plain: true })).toEqual(goesOn);
    const refusals: [Changed, string | RegExp][] = [
      [
        { otherBase: 'model.layers.0.mlp.down_proj.weight' },
        /it is of another model: base was [0-9a-f]{16}, is [0-9a-f]{16}\. Give the run what it had/,
      ],
      [{ otherBase: 'model.norm.weight' }, /another model: base\.others was/],
      [{ lora: { loraAlpha: 8 } }, 'adapter.lora_alpha was 4, is 8'],
      [{ lora: { loraDropout: 0.1 } }, 'adapter.lora_dropout was 0, is 0.1'],
      [{ lora: { useRslora: true } }, 'adapter.use_rslora was false, is true'],
      [
        { sparsity: { sparsity: { 'layers.0.mlp': 0.75 } } },
        'sparsity.sparsity was 0.5: layers.0.mlp, is 0.75: layers.0.mlp',
      ],
      [{ sparsity: { start_step: 0.5 } }, 'sparsity.start_step was 0, is 0.5'],
      [{ sparsity: { skip_output_tokens: false } }, 'sparsity.skip_output_tokens was true, is false'],
      [{ sparsity: { mode: 'svd_4' } }, 'sparsity.mode was "svd_2", is "svd_4"'],
      [{ sparsity: null }, 'sparsity.mode was "svd_2", is not given'],
    ];
    for (const [changed, message] of refusals) await expect(resumed(changed)).rejects.toThrow(message);
  });

  it('of a dense run is not continued sparsely', async () => {
    store.saved.clear();
    await train(1, { sparsity: null }, false);
    await expect(resumed({})).rejects.toThrow('sparsity.mode was not given, is "svd_2"');
  });

  it('says what may differ, and goes on: another backend, and what earlier versions did not write down', async () => {
    const checkpoints = memoryStore();
    const args = { maxSteps: 1, saveSteps: 1 };
    const notices: string[] = [];
    const go = async (change: (texts: Record<string, string>) => Record<string, string> | null) => {
      checkpoints.saved.clear();
      await run({ args, checkpoints });
      const files = new Map(checkpoints.saved.get('memory/checkpoint-1')!);
      const changed = change(JSON.parse(new TextDecoder().decode(files.get(IDENTITY))));
      if (changed) files.set(IDENTITY, new TextEncoder().encode(JSON.stringify(changed)));
      else files.delete(IDENTITY);
      checkpoints.saved.set('memory/checkpoint-1', files);
      notices.length = 0;
      const notify = (message: string) => void notices.push(message);
      await run({ args: { ...args, maxSteps: 2 }, checkpoints, notify }, {}, true);
      return notices.filter((notice) => !/continuing|maxSteps/.test(notice));
    };
    expect(await go((texts) => ({ ...texts, backend: 'cuda' }))).toEqual([
      'backend was cuda, is cpu: the run will not be the one that was interrupted, bit for bit',
    ]);
    expect((await go(() => null))[0]).toContain(
      'the checkpoint does not say of which base, adapter and sparsity it is',
    );
    await expect(go((texts) => ({ ...texts, base: 'x' }))).rejects.toThrow('base was x, is not given');
    await expect(go(() => ['x'] as never)).rejects.toThrow('model_identity.json: wanted an object, found ["x"]');
    await expect(go(() => ({ base: 1 }) as never)).rejects.toThrow('model_identity.json wants an object of texts');
  });
});
