/** @file Sparsity in the model: what a plan changes and what it must not. */
import type { SparsityPlan } from '@spft/estimator';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import {
  ALL_PROJECTIONS,
  attachAdapters,
  BATCH,
  fixedEstimator,
  lossAndGradients,
  plan,
  tinyBatch,
  tinyModel,
} from '../test/tiny.js';
import type { LlamaForCausalLM } from './llama.js';
import type { PackedBatch } from './types.js';

const ATTENTION = ['q_proj', 'k_proj', 'v_proj', 'o_proj'];

function run(model: LlamaForCausalLM, sparsity: SparsityPlan | null, batch: PackedBatch, checkpointing = false) {
  model.setSparsity(sparsity);
  const result = lossAndGradients(model, batch, { gradientCheckpointing: checkpointing });
  const logits = model.logits(batch, { training: true, seed: 3 });
  model.setSparsity(null);
  return { ...result, logits };
}

type Result = ReturnType<typeof run>;

function expectSame(actual: Result, expected: Result): void {
  expectAllClose('logits', actual.logits, expected.logits);
  expectAllClose('loss', actual.loss, expected.loss);
  for (const [name, gradient] of expected.gradients) {
    expectAllClose(name, actual.gradients.get(name)!, gradient, TOLERANCE.gradient);
  }
}

function expectExactly(actual: Result, expected: Result): void {
  expect(actual.loss).toEqual(expected.loss);
  expect(actual.gradients).toEqual(expected.gradients);
  expect(actual.logits.dataSync()).toEqual(expected.logits.dataSync());
}

describe.each(TEST_BACKENDS)('sparsity on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([
    ['is switched off', { ...plan(fixedEstimator('gather')), enabled: false }],
    ['drops nothing', plan(fixedEstimator('gather'), 'corrected', new Map([[1, { mlp: 0, selfAttn: 0 }]]))],
    ['names no layer', plan(fixedEstimator('mask'), 'corrected', new Map())],
  ])('computes exactly what dense LoRA does where a plan %s', async (_, sparsity) => {
    const model = await tinyModel();
    attachAdapters(model, ALL_PROJECTIONS);
    expectExactly(run(model, sparsity, tinyBatch(BATCH)), run(model, null, tinyBatch(BATCH)));
  });

  it('computes exactly what dense LoRA does for a batch without sparse rows, asking for no selection', async () => {
    const model = await tinyModel();
    attachAdapters(model, ALL_PROJECTIONS);
    const dense = tinyBatch([
      [0, 5],
      [0, 3],
    ]);
    const told: unknown[] = [];
    const sparsity = { ...plan(fixedEstimator('gather')), listener: (event: unknown) => told.push(event) };
    expectExactly(run(model, sparsity, dense), run(model, null, dense));
    expect(told).toEqual([]);
  });

  it('agrees with dense where a selection keeps every channel', async () => {
    const model = await tinyModel();
    attachAdapters(model, ALL_PROJECTIONS);
    const all = plan(fixedEstimator('gather'), 'corrected', new Map([[1, { mlp: 1e-17, selfAttn: 1e-17 }]]));
    expectSame(run(model, all, tinyBatch(BATCH)), run(model, null, tinyBatch(BATCH)));
  });

  // Masking zeroes the LoRA terms of dropped channels as well, so the two ways agree where q, k, v, gate and up have no adapter.
  it.each([
    ['with dense answers', true],
    ['with every token sparse', false],
  ])('gives the same whether channels are gathered or masked, %s', async (_, split) => {
    const model = await tinyModel({ attentionBias: true, mlpBias: true });
    attachAdapters(model, ['o_proj', 'down_proj']);
    const batch = tinyBatch(BATCH, split);
    const gathered = run(model, plan(fixedEstimator('gather')), batch);
    expectSame(gathered, run(model, plan(fixedEstimator('mask')), batch));
    expect(() => expectSame(gathered, run(model, null, batch))).toThrow('differ');
  });

  it.each(['gather', 'mask'] as const)(
    'gives an estimator that %ss the dense activations if it needs them',
    async (applies) => {
      const model = await tinyModel();
      attachAdapters(model, ALL_PROJECTIONS);
      const batch = tinyBatch(BATCH);
      expectSame(
        run(model, plan(fixedEstimator(applies, 'activations')), batch),
        run(model, plan(fixedEstimator(applies)), batch),
      );
    },
  );

  it('keeps the LoRA terms of dropped MLP channels where gate or up have adapters', async () => {
    const model = await tinyModel();
    attachAdapters(model, ['gate_proj', 'up_proj']);
    const batch = tinyBatch(BATCH);
    const adapted = run(model, plan(fixedEstimator('gather')), batch);
    // Adapters that add nothing leave the kept channels alone, at full width as at kept width.
    for (const variable of model.variables.values()) variable.assign(tf.zerosLike(variable));
    const idle = run(model, plan(fixedEstimator('gather')), batch).logits;
    for (const name of model.linears.keys()) model.setAdapter(name, null);
    model.setSparsity(plan(fixedEstimator('gather')));
    expectAllClose('logits', idle, model.logits(batch));
    expect(() => expectAllClose('logits', adapted.logits, idle)).toThrow('differ');
  });

  it('cuts the gradient as reference does where the key says so, with the channel maps that are right', async () => {
    // As many kv heads as heads, so that the two compats choose the same channels.
    const model = await tinyModel({ numKeyValueHeads: 4 });
    attachAdapters(model, ALL_PROJECTIONS);
    const batch = tinyBatch(BATCH);
    const sparsity = plan(fixedEstimator('gather'));
    const cut = run(model, { ...sparsity, gradient: 'cut' }, batch);
    expectSame(cut, run(model, { ...sparsity, compat: 'reference' }, batch));
    expect(() => expectSame(cut, run(model, sparsity, batch))).toThrow('differ');
  });

  it('lets gradients straight through: the value of the kept channels, the gradient of all', async () => {
    const model = await tinyModel({ numHiddenLayers: 2 });
    // The adapter below the sparse layer is reached through its o alone: attention of one token is v, the same for every channel.
    attachAdapters(model, ['o_proj']);
    const layers = new Map([[1, { mlp: 0.5, selfAttn: 0 }]]);
    const batch = tinyBatch(BATCH);
    const exact = run(model, plan(fixedEstimator('gather'), 'corrected', layers), batch);
    const through = run(
      model,
      { ...plan(fixedEstimator('gather'), 'corrected', layers), gradient: 'straight_through' },
      batch,
    );
    expectAllClose('logits', through.logits, exact.logits);
    // All channels of gate and up are taken, but a dropped channel's activation is zero on both sides of the product.
    for (const [name, gradient] of exact.gradients) {
      expectAllClose(name, through.gradients.get(name)!, gradient, TOLERANCE.gradient);
    }
    attachAdapters(model, ALL_PROJECTIONS);
    const both = new Map([[1, { mlp: 0.5, selfAttn: 0.5 }]]);
    const sparse = run(model, plan(fixedEstimator('gather'), 'corrected', both), batch);
    const straight = run(
      model,
      { ...plan(fixedEstimator('gather'), 'corrected', both), gradient: 'straight_through' },
      batch,
    );
    expectAllClose('logits', straight.logits, sparse.logits);
    expect(() => expectSame(straight, sparse)).toThrow('differ');
    await expectNoLeak(() => {
      const { gradients } = lossAndGradients(model, batch);
      expect(gradients.size).toBeGreaterThan(0);
    });
  });

  it.each(['corrected', 'reference'] as const)(
    'has the gradients of finite differences exactly if %s is corrected',
    async (compat) => {
      const model = await tinyModel({ numHiddenLayers: 2 });
      attachAdapters(model, ALL_PROJECTIONS);
      const layers = new Map([[1, { mlp: 0.5, selfAttn: 0.5 }]]);
      model.setSparsity(plan(fixedEstimator('gather'), compat, layers));
      const batch = tinyBatch([[4, 2]]);
      const { gradients } = lossAndGradients(model, batch);
      const compare = () => {
        for (const part of ['self_attn.q_proj', 'self_attn.v_proj', 'mlp.down_proj']) {
          const name = `model.layers.0.${part}.lora_B.weight`;
          const variable = model.variables.get(name)!;
          const values = variable.dataSync().slice() as Float32Array;
          const at = (moved: Float32Array) => {
            variable.assign(tf.tensor(moved, variable.shape));
            return model.loss(batch, { training: true, seed: 3, normalizer: 8 }).dataSync()[0]!;
          };
          const numeric = values.map((value, i) => {
            const [up, down] = [values.slice(), values.slice()];
            [up[i], down[i]] = [value + 1e-2, value - 1e-2];
            return (at(up) - at(down)) / 2e-2;
          });
          at(values);
          expectAllClose(name, gradients.get(name)!, numeric, { relative: 3e-2, absolute: 3e-3 });
        }
      };
      if (compat === 'corrected') compare();
      else expect(compare).toThrow('differ');
    },
  );

  it('computes the same forward under both semantics for the same channels, with other gradients', async () => {
    const model = await tinyModel();
    attachAdapters(model, ATTENTION);
    const batch = tinyBatch(BATCH);
    const corrected = run(model, plan(fixedEstimator('gather')), batch);
    const reference = run(model, plan(fixedEstimator('gather'), 'reference'), batch);
    expect(reference.loss).toEqual(corrected.loss);
    expect(() => expectSame(reference, corrected)).toThrow('differ');
    const last = 'model.layers.2.self_attn.o_proj.lora_B.weight';
    expectAllClose(last, reference.gradients.get(last)!, corrected.gradients.get(last)!, TOLERANCE.gradient);
  });

  it.each(['corrected', 'reference'] as const)('recomputes its layers to the same bits, %s', async (compat) => {
    const model = await tinyModel();
    attachAdapters(model, ALL_PROJECTIONS, 0.2);
    const sparsity = plan(fixedEstimator('gather', 'activations'), compat);
    const batch = tinyBatch(BATCH);
    expectExactly(run(model, sparsity, batch, true), run(model, sparsity, batch));
  });

  it('tells its listener of each selection once a forward, recomputed or not', async () => {
    const model = await tinyModel();
    attachAdapters(model, ATTENTION);
    const told: string[] = [];
    const listener: SparsityPlan['listener'] = ({ layer, module, part, selection }) =>
      told.push(`${layer} ${module} ${part} ${selection.kept}/${selection.total}`);
    model.setSparsity({ ...plan(fixedEstimator('gather')), listener });
    lossAndGradients(model, tinyBatch(BATCH), { gradientCheckpointing: true });
    expect(told).toEqual([
      '1 self_attn q 8/16',
      '1 self_attn k 4/8',
      '1 self_attn v 4/8',
      '1 self_attn o 8/16',
      '1 mlp mlp 12/24',
      '2 mlp mlp 6/24',
    ]);
    told.length = 0;
    model.setSparsity({ ...plan(fixedEstimator('mask')), listener });
    model.logits(tinyBatch(BATCH));
    expect(told.map((line) => line.split(' ')[2])).toEqual(['q', 'k', 'v', 'mlp', 'mlp']);
  });

  it.each(['gather', 'mask'] as const)('leaves nothing behind where it %ss', async (applies) => {
    const model = await tinyModel();
    const batch = tinyBatch(BATCH);
    model.setSparsity(plan(fixedEstimator(applies)));
    attachAdapters(model, ATTENTION);
    await expectNoLeak(() => model.logits(batch), 1);
    await expectNoLeak(() => lossAndGradients(model, batch));
    await expectNoLeak(() => lossAndGradients(model, batch, { gradientCheckpointing: true }));
    attachAdapters(model, ALL_PROJECTIONS);
    await expectNoLeak(() => lossAndGradients(model, batch));
  });
});
