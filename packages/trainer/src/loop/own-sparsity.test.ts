import { SpftConfig } from '@spft/config';
import { getSpftModel, type TrainingSparsity } from '@spft/estimator';
import { LlamaForCausalLM } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import { beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { sourceOf, TINY, tinyWeights } from '../../../models/test/tiny.js';
import { toyModel, toySamples } from '../../test/toy-model.js';
import { SpftCallback } from './spft-callback.js';
import { Trainer } from './trainer.js';
import type { TrainerOptions } from './trainer-options.js';

/** A toy with sparsity of its own: tokens with a label are dense, steps 2 and 3 are sparse. */
async function trained(options: Partial<TrainerOptions> = {}, own = true) {
  const positions: number[] = [];
  const seeds: number[] = [];
  const sparsity: TrainingSparsity = {
    denseTokens(labels, _, seed) {
      seeds.push(seed);
      return labels.map((label) => (label === -100 ? 0 : 1));
    },
    update({ step, maxSteps }) {
      positions.push(step);
      return step >= 2 && step < maxSteps - 1;
    },
  };
  const toy = toyModel();
  const dense: number[] = [];
  const model = {
    variables: toy.variables,
    ...(own ? { sparsity } : {}),
    loss: ((batch, call) => {
      dense.push(batch.layout.denseTokens / batch.layout.tokens);
      return toy.loss(batch, call);
    }) as typeof toy.loss,
  };
  const notices: string[] = [];
  const notify = (message: string) => void notices.push(message);
  const { callbacks = [], ...rest } = options;
  const args = { maxSteps: 4, perDeviceTrainBatchSize: 4 };
  await new Trainer({ model, samples: toySamples(8), args, notify, callbacks, ...rest }).train();
  toy.dispose();
  return { positions, seeds, dense, notices, sparsity };
}

describe('new Trainer({ model: spft, samples, args })', () => {
  it.each(TEST_BACKENDS)('trains sparsely, as with all that it used to need: %s', async (backend) => {
    await useBackend(backend);
    const train = async (form: 'short' | 'long' | 'adapters alone' | 'dense') => {
      const model = await LlamaForCausalLM.fromWeights(TINY, sourceOf(tinyWeights(TINY)));
      const peft = getPeftModel(model, { r: 2, loraAlpha: 4, targetModules: ['q_proj', 'up_proj'] }, { seed: 3 });
      const config = { mode: 'svd_2', skip_output_tokens: true, start_step: 2, sparsity: { 'layers.1.mlp': 0.5 } };
      const spft = form === 'dense' ? null : await getSpftModel(peft, SpftConfig.fromObject(config));
      const args = { maxSteps: 5, perDeviceTrainBatchSize: 4, learningRate: 0.05, loggingSteps: 1 };
      const { state } = await new Trainer({
        model: form === 'adapters alone' || !spft ? peft : spft,
        samples: toySamples(8),
        args,
        ...(form === 'long' && { denseTokens: spft!.denseTokens, callbacks: [new SpftCallback(spft!)] }),
        notify: () => undefined,
      }).train();
      for (const part of [spft, peft, model]) part?.dispose();
      return state.logHistory.flatMap(({ loss }) => loss ?? []);
    };
    const short = await train('short');
    expect(short).toEqual(await train('long'));
    // The plan is on the base, so that whoever trains the model inside trains sparsely too.
    expect(short).toEqual(await train('adapters alone'));
    const dense = await train('dense');
    const apart = short.map((loss, step) => Math.abs(loss - dense[step]!));
    // Dense up to start_step, in another order of rows.
    expect(Math.max(...apart.slice(0, 2))).toBeLessThan(1e-5);
    expect(Math.min(...apart.slice(2))).toBeGreaterThan(1e-3);
  });
});

describe('Trainer with a model that has sparsity', () => {
  beforeAll(() => useBackend('cpu'));

  it('asks it which tokens are dense and tells it where the run is, without a word', async () => {
    const { positions, seeds, dense, notices } = await trained();
    expect(positions).toEqual([0, 1, 2, 3]);
    expect(new Set(seeds).size).toBe(4);
    expect(dense.every((share) => share > 0 && share < 1)).toBe(true);
    expect(notices).toEqual(['sparsity on from step 3 of 4', 'sparsity off from step 4 of 4']);
  });

  it('does nothing twice where the caller gives the callback and the tokens', async () => {
    const other: number[] = [];
    const callback = new SpftCallback({ update: ({ step }) => other.push(step) });
    const own = await trained({
      callbacks: [callback],
      denseTokens: (labels) => labels.map(() => 0),
    });
    expect(other).toEqual([0, 1, 2, 3]);
    expect(own.positions).toEqual([]);
    expect(own.seeds).toEqual([]);
    expect(own.dense).toEqual([0, 0, 0, 0]);
  });

  it('takes what the caller leaves out from the model', async () => {
    const tokens = await trained({ denseTokens: (labels) => labels.map(() => 0) });
    expect(tokens.positions).toEqual([0, 1, 2, 3]);
    const callback = await trained({ callbacks: [new SpftCallback({ update: () => true })] });
    expect(callback.seeds).toHaveLength(4);
    expect((await trained({}, false)).dense).toEqual([1, 1, 1, 1]);
  });
});
