import { ConfigError, SpftConfig } from '@spft/config';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { fakeHost } from '../test/fake-host.js';
import { buildPredictors } from './predictors.js';
import { getSpftModel } from './spft-model.js';

const config = (keys: Record<string, unknown> = {}) =>
  SpftConfig.fromObject({
    mode: 'svd_3',
    skip_output_tokens: true,
    sparsity: { 'layers.0.mlp': 0, 'layers.1.mlp': 0.5, 'layers.1.self_attn': 0.25, 'layers.2.mlp': 0.9 },
    ...keys,
  });

describe('getSpftModel()', () => {
  beforeAll(() => useBackend('cpu'));

  it('attaches a plan with the sparse layers and an estimator of the mode', async () => {
    const host = fakeHost();
    const { plan } = await getSpftModel(host, config());
    expect(host.plan).toBe(plan);
    expect(plan).toMatchObject({ compat: 'corrected', enabled: true, listener: null, estimator: { mode: 'svd_3' } });
    expect([...plan.layers]).toEqual([
      [1, { mlp: 0.5, selfAttn: 0.25 }],
      [2, { mlp: 0.9, selfAttn: 0 }],
    ]);
  });

  it('finds the host inside wrappers and stays the model for a trainer', async () => {
    const host = fakeHost();
    const variables = new Map([['w', tf.variable(tf.scalar(2))]]);
    const peft = {
      base: host,
      variables,
      loss: (batch: { scale: number }, { normalizer }: { normalizer: number }) =>
        tf.div(tf.mul(variables.get('w')!, batch.scale), normalizer) as tf.Scalar,
    };
    const spft = await getSpftModel(peft, config());
    expect(spft.variables).toBe(variables);
    expect(spft.loss({ scale: 6 }, { normalizer: 3 }).dataSync()[0]).toBe(4);
    expect(spft.model).toBe(peft);
    expect(host.plan).toBe(spft.plan);
  });

  it('switches by the schedule, and off for evaluation', async () => {
    const spft = await getSpftModel(fakeHost(), config({ start_step: 0.1, end_step: 5 }));
    const states = Array.from({ length: 10 }, (_, step) => spft.update({ step, maxSteps: 10 }));
    expect(states).toEqual([false, true, true, true, true, false, false, false, false, false]);
    expect(spft.plan.enabled).toBe(false);
    spft.update({ step: 2, maxSteps: 10 });
    spft.disable();
    expect(spft.plan.enabled).toBe(false);
  });

  it('sums up what is computed, layer by layer', async () => {
    const spft = await getSpftModel(fakeHost(), config());
    expect(spft.summary().map(({ mlp, selfAttn }) => [mlp.kept, mlp.total, selfAttn.kept, selfAttn.total])).toEqual([
      [20, 20, 8, 8],
      [10, 20, 6, 8],
      [1, 20, 8, 8],
    ]);
    expect(spft.summary()[1]).toEqual({
      layer: 1,
      mlp: { sparsity: 0.5, kept: 10, total: 20, density: 0.5 },
      selfAttn: { sparsity: 0.25, kept: 6, total: 8, density: 0.75 },
    });
    const aligned = await getSpftModel(fakeHost(), config(), { channelMultiple: 8 });
    expect(aligned.summary().map(({ mlp, selfAttn }) => [mlp.kept, selfAttn.kept])).toEqual([
      [20, 8],
      [16, 8],
      [8, 8],
    ]);
    const perHead = await getSpftModel(
      fakeHost(),
      config({ qk_per_head: true, sparsity: { 'layers.1.self_attn': 0.7 } }),
    );
    expect(perHead.summary()[1]?.selfAttn.kept).toBe(2);
  });

  it('binds the token policy of the config', async () => {
    const spft = await getSpftModel(fakeHost(), config());
    expect([...spft.denseTokens([-100, 5, -100, 6], [2, 2])]).toEqual([0, 1, 0, 1]);
    const { denseTokens } = await getSpftModel(fakeHost(), config({ skip_output_tokens: false, skip_sink_tokens: 1 }));
    expect([...denseTokens([-100, 5, -100, 6], [2, 2])]).toEqual([1, 0, 1, 0]);
    const tail = await getSpftModel(fakeHost(), config({ skip_tail_tokens: 2 }));
    // Of prompts of 3 and 1 tokens the last two, as an answer would follow.
    expect([...tail.densePromptTokens([3, 1])]).toEqual([0, 1, 1, 1]);
    expect([...spft.densePromptTokens([3, 1])]).toEqual([0, 0, 0, 0]);
  });

  it('takes predictors, or a source that is told what is wanted', async () => {
    const host = fakeHost();
    const layers = new Map([
      [1, { mlp: true, selfAttn: true }],
      [2, { mlp: true, selfAttn: false }],
    ]);
    const predictors = await buildPredictors(host, layers, 3);
    await getSpftModel(host, config(), { predictors });
    let asked: unknown;
    await getSpftModel(host, config(), {
      predictors: async ({ rank, layers: wanted }) => {
        asked = [rank, [...wanted.keys()]];
        return predictors;
      },
    });
    expect(asked).toEqual([3, [1, 2]]);
    await expect(getSpftModel(host, config({ mode: 'svd_2' }), { predictors })).rejects.toThrow(
      'wanted rank 2, found rank 3',
    );
    await expect(getSpftModel(host, config({ sparsity: { 'layers.0.mlp': 0.5 } }), { predictors })).rejects.toThrow(
      'none for model.layers.0.mlp.gate_proj, model.layers.0.mlp.up_proj',
    );
  });

  it('leaves a dense config dense, without predictors', async () => {
    const host = fakeHost();
    await expectNoLeak(async () => {
      const spft = await getSpftModel(host, SpftConfig.fromObject({ mode: 'dense', sparsity: { 'layers.1.mlp': 0 } }));
      expect(spft.plan.layers.size).toBe(0);
      expect(spft.summary().every(({ mlp, selfAttn }) => mlp.density === 1 && selfAttn.density === 1)).toBe(true);
    });
  });

  it('gives everything back: plan and predictors', async () => {
    const host = fakeHost();
    await expectNoLeak(async () => {
      const spft = await getSpftModel(host, config());
      spft.dispose();
      expect(host.plan).toBeNull();
    });
  });

  it('refuses what does not fit, before anything is built', async () => {
    const host = fakeHost();
    const refused = (keys: Record<string, unknown>) =>
      getSpftModel(host, config(keys)).catch((e: unknown) => e as Error);
    await expectNoLeak(async () => {
      const pattern = await refused({ sparsity: { 'layers.3.mlp': 0.5 } });
      expect(pattern).toBeInstanceOf(ConfigError);
      expect(String(pattern)).toContain('matches no layer: the model has 3, layers.0 to layers.2');
      expect(String(await refused({ mode: 'svd8' }))).toContain("mode 'svd8' belongs to no estimator");
      expect(String(await refused({ mode: 'oracle_l2norm' }))).toContain('has no rule for mlp layers');
      expect(String(await refused({ sparse_lora_branch: true }))).toContain(
        'sparse_lora_branch: true is not available',
      );
      expect(host.plan).toBeNull();
    });
    await expect(getSpftModel(host, config(), { channelMultiple: 0 })).rejects.toThrow('channelMultiple must be');
    await expect(getSpftModel({ model: {} } as never, config())).rejects.toThrow('found nothing to attach sparsity to');
  });
});
