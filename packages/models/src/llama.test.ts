import { noGradient, packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import {
  ALL_PROJECTIONS,
  attachAdapters,
  BATCH,
  lossAndGradients,
  sourceOf,
  TINY,
  tinyBatch,
  tinyModel,
  tinyWeights,
} from '../test/tiny.js';
import { UnlabelledBatchError } from './labelled-rows.js';
import { LlamaForCausalLM } from './llama.js';
import { IGNORE_INDEX, type PackedBatch } from './types.js';

/** Sequence b of a batch, as a batch of its own. */
function alone({ inputIds, labels, layout }: PackedBatch, b: number): PackedBatch {
  const [start, end] = [layout.sequenceStarts[b]!, layout.sequenceStarts[b + 1]!];
  return {
    inputIds: inputIds.slice(start, end),
    labels: labels.slice(start, end),
    layout: packTokens({ lengths: [end - start], dense: () => true }),
  };
}

describe.each(TEST_BACKENDS)('LlamaForCausalLM on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('computes each sequence of a packed batch as if it were alone, in whatever order its rows lie', async () => {
    const model = await tinyModel();
    const batch = tinyBatch(BATCH);
    const packed = model.logits(batch);
    expect(packed.shape).toEqual([25, TINY.vocabSize]);
    const single = tf.concat([0, 1, 2].map((b) => model.logits(alone(batch, b))));
    expectAllClose('logits', packed, single);
  });

  it('lets no token see a later one', async () => {
    const model = await tinyModel();
    const batch = tinyBatch([[8, 2]]);
    const changed = { ...batch, inputIds: batch.inputIds.slice() };
    changed.inputIds[6] = (changed.inputIds[6]! + 7) % TINY.vocabSize;
    const [a, b] = [model.logits(batch), model.logits(changed)];
    expectAllClose('before', a.slice([0, 0], [6, -1]), b.slice([0, 0], [6, -1]));
    expect(() => expectAllClose('after', a.slice([6, 0], [4, -1]), b.slice([6, 0], [4, -1]))).toThrow('differ');
  });

  it('has the loss of its logits at the labelled tokens, divided by the normalizer', async () => {
    const model = await tinyModel();
    const batch = tinyBatch(BATCH);
    const logits = (await model.logits(batch).array()) as number[][];
    let sum = 0;
    for (let b = 0; b < 3; b++) {
      for (let t = batch.layout.sequenceStarts[b]!; t + 1 < batch.layout.sequenceStarts[b + 1]!; t++) {
        const label = batch.labels[t + 1]!;
        if (label === IGNORE_INDEX) continue;
        const row = logits[t]!;
        sum += Math.log(row.reduce((total, z) => total + Math.exp(z), 0)) - row[label]!;
      }
    }
    expectAllClose('loss', model.loss(batch, { training: false, seed: 0, normalizer: 5 }), [sum / 5]);
  });

  it('has the gradients of finite differences in its adapters', async () => {
    const model = await tinyModel({ numHiddenLayers: 2 });
    attachAdapters(model, ALL_PROJECTIONS);
    const batch = tinyBatch([[3, 2]]);
    const { gradients } = lossAndGradients(model, batch);
    expect(gradients.size).toBe(2 * 7 * 2);
    const loss = () => model.loss(batch, { training: true, seed: 3, normalizer: 8 }).dataSync()[0]!;
    for (const [name, variable] of model.variables) {
      const values = variable.dataSync().slice() as Float32Array;
      const numeric = [0, values.length - 1].map((i) => {
        const at = (value: number) => {
          const moved = values.slice();
          moved[i] = value;
          variable.assign(tf.tensor(moved, variable.shape));
          return loss();
        };
        return (at(values[i]! + 2e-2) - at(values[i]! - 2e-2)) / 4e-2;
      });
      variable.assign(tf.tensor(values, variable.shape));
      const analytic = gradients.get(name)!;
      expectAllClose(name, [analytic[0]!, analytic.at(-1)!], numeric, { relative: 3e-2, absolute: 2e-3 });
    }
  });

  it('adds biases where the config has them', async () => {
    const config = { ...TINY, attentionBias: true, mlpBias: true };
    const weights = tinyWeights(config);
    const model = await LlamaForCausalLM.fromWeights(config, sourceOf(weights));
    const batch = tinyBatch(BATCH);
    const withBias = model.logits(batch);
    for (const [name, { data }] of weights) if (name.endsWith('.bias')) data.fill(0);
    const without = (await LlamaForCausalLM.fromWeights(config, sourceOf(weights))).logits(batch);
    expect(() => expectAllClose('logits', withBias, without)).toThrow('differ');
    const plain = await LlamaForCausalLM.fromWeights(
      TINY,
      sourceOf(new Map([...weights].filter(([name]) => !name.endsWith('.bias')))),
    );
    expectAllClose('logits', plain.logits(batch), without);
  });

  it('uses its embedding as the head where they are tied', async () => {
    const weights = tinyWeights({ ...TINY, tieWordEmbeddings: true });
    const tied = await LlamaForCausalLM.fromWeights({ ...TINY, tieWordEmbeddings: true }, sourceOf(weights));
    const copied = new Map(weights).set('lm_head.weight', weights.get('model.embed_tokens.weight')!);
    const untied = await LlamaForCausalLM.fromWeights(TINY, sourceOf(copied));
    expectAllClose('logits', tied.logits(tinyBatch(BATCH)), untied.logits(tinyBatch(BATCH)));
    expect([...tied.tensors.keys()]).not.toContain('lm_head.weight');
    expect([...untied.tensors.keys()].sort()).toEqual([...copied.keys()].sort());
  });

  it.each([0, 0.25])(
    'gives the same with gradient checkpointing, bit for bit, dropout %d included',
    async (dropout) => {
      const model = await tinyModel();
      attachAdapters(model, ALL_PROJECTIONS, dropout);
      const batch = tinyBatch(BATCH);
      const plain = lossAndGradients(model, batch);
      const recomputed = lossAndGradients(model, batch, { gradientCheckpointing: true });
      expect(recomputed).toEqual(plain);
      expect(lossAndGradients(model, batch, { seed: 4 }).loss[0] === plain.loss[0]).toBe(dropout === 0);
    },
  );

  it('accumulates micro-batches to the gradient of one large batch', async () => {
    const model = await tinyModel();
    attachAdapters(model, ['q_proj', 'down_proj']);
    const batch = tinyBatch(BATCH);
    const whole = lossAndGradients(model, batch).gradients;
    const parts = [0, 1, 2].map((b) => lossAndGradients(model, alone(batch, b)).gradients);
    for (const [name, gradient] of whole) {
      const sum = gradient.map((_, i) => parts.reduce((total, part) => total + part.get(name)![i]!, 0));
      expectAllClose(name, sum, gradient, TOLERANCE.gradient);
    }
  });

  it('leaves nothing behind, whether a step is recorded, checkpointed or neither', async () => {
    const batch = tinyBatch(BATCH);
    const model = await tinyModel();
    attachAdapters(model, ALL_PROJECTIONS, 0.1);
    await expectNoLeak(() => model.logits(batch), 1);
    await expectNoLeak(() => model.loss(batch, { training: false, seed: 0, normalizer: 1 }), 1);
    await expectNoLeak(() => noGradient(() => model.loss(batch, { training: false, seed: 0, normalizer: 1 })), 1);
    await expectNoLeak(() => lossAndGradients(model, batch));
    await expectNoLeak(() => lossAndGradients(model, batch, { gradientCheckpointing: true }));
    await expectNoLeak(async () => (await tinyModel()).dispose());
  });

  it('takes a merged weight as its own', async () => {
    const model = await tinyModel();
    attachAdapters(model, ALL_PROJECTIONS);
    const batch = tinyBatch(BATCH);
    const adapted = model.logits(batch);
    for (const [name, { adapter }] of model.linears) {
      model.replaceWeight(name, adapter!.mergedWeight());
      model.setAdapter(name, null);
    }
    expect(model.variables.size).toBe(0);
    expectAllClose('logits', model.logits(batch), adapted);
  });
});

describe('LlamaForCausalLM', () => {
  beforeAll(() => useBackend('cpu'));

  it('names its trainable variables as PEFT does, in model order', async () => {
    const model = await tinyModel({ numHiddenLayers: 2 });
    attachAdapters(model, ['v_proj', 'q_proj']);
    expect([...model.variables.keys()]).toEqual([
      'model.layers.0.self_attn.q_proj.lora_A.weight',
      'model.layers.0.self_attn.q_proj.lora_B.weight',
      'model.layers.0.self_attn.v_proj.lora_A.weight',
      'model.layers.0.self_attn.v_proj.lora_B.weight',
      'model.layers.1.self_attn.q_proj.lora_A.weight',
      'model.layers.1.self_attn.q_proj.lora_B.weight',
      'model.layers.1.self_attn.v_proj.lora_A.weight',
      'model.layers.1.self_attn.v_proj.lora_B.weight',
    ]);
  });

  it('reports its progress while it reads weights', async () => {
    const seen: string[] = [];
    const weights = tinyWeights(TINY);
    await LlamaForCausalLM.fromWeights(TINY, sourceOf(weights), { onProgress: (n, of) => seen.push(`${n}/${of}`) });
    expect(seen.length).toBe(weights.size);
    expect(seen.at(-1)).toBe(`${weights.size}/${weights.size}`);
  });

  it('refuses weights that lack a tensor, have another shape or one too many, and says which', async () => {
    const load = (change: (weights: ReturnType<typeof tinyWeights>) => void) => {
      const weights = tinyWeights(TINY);
      change(weights);
      return LlamaForCausalLM.fromWeights(TINY, sourceOf(weights));
    };
    const before = tf.memory().numTensors;
    await expect(load((w) => w.delete('model.norm.weight'))).rejects.toThrow("'model.norm.weight' [16] is missing");
    await expect(
      load((w) => w.set('model.layers.1.mlp.up_proj.weight', { shape: [16, 24], data: new Float32Array(384) })),
    ).rejects.toThrow("'model.layers.1.mlp.up_proj.weight' is [16,24], wanted [24,16]");
    await expect(
      load((w) => w.set('model.layers.0.self_attn.q_norm.weight', { shape: [4], data: new Float32Array(4) })),
    ).rejects.toThrow("'model.layers.0.self_attn.q_norm.weight' has no place in this architecture");
    await expect(
      load((w) => w.set('model.layers.0.self_attn.rotary_emb.inv_freq', { shape: [2], data: new Float32Array(2) })),
    ).resolves.toBeInstanceOf(LlamaForCausalLM);
    expect(tf.memory().numTensors - before).toBe(tinyWeights(TINY).size);
  });

  it('refuses a batch without a label to predict, an id without an embedding and a batch that does not fit its layout', async () => {
    const model = await tinyModel();
    const batch = tinyBatch([[3, 2]]);
    const loss = (b: PackedBatch) => () => model.loss(b, { training: true, seed: 0, normalizer: 1 });
    const unlabelled = { ...batch, labels: new Int32Array(5).fill(IGNORE_INDEX) };
    expect(loss(unlabelled)).toThrow(UnlabelledBatchError);
    expect(loss(unlabelled)).toThrow('no labelled token to predict among its 5 tokens');
    unlabelled.labels[0] = 3;
    expect(loss(unlabelled)).toThrow(RangeError);
    const wrong = { ...batch, inputIds: batch.inputIds.slice() };
    wrong.inputIds[1] = TINY.vocabSize;
    expect(loss(wrong)).toThrow('batch: token 1: wanted as id a whole number from 0 to 39, found 40');
    expect(() => model.embed(wrong.inputIds)).toThrow('token id 40 has no embedding: the model has 40');
    expect(loss({ ...batch, inputIds: batch.inputIds.slice(1) })).toThrow('must have one entry for each');
  });

  it.each([-1, 40, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('refuses %d as an id or as a label', async (value) => {
    const model = await tinyModel();
    const batch = tinyBatch([[3, 2]]);
    const put = (values: Int32Array, at: number) => Float64Array.from(values, (v, t) => (t === at ? value : v));
    const loss = (b: object) => () => model.loss(b as PackedBatch, { training: true, seed: 0, normalizer: 1 });
    expect(loss({ ...batch, inputIds: put(batch.inputIds, 2) })).toThrow(
      `batch: token 2: wanted as id a whole number from 0 to 39, found ${value}`,
    );
    // The label of a first token predicts nothing, but sparsity counts it.
    for (const token of [0, 4]) {
      expect(loss({ ...batch, labels: put(batch.labels, token) })).toThrow(
        `batch: token ${token}: wanted as label a whole number from 0 to 39, or -100 for a token without one, found ${value}`,
      );
    }
  });

  it('names its layers to one who asks for another', async () => {
    const model = await tinyModel();
    expect(() => model.frozenWeight('model.layers.0.self_attn.q')).toThrow(
      "no linear layer 'model.layers.0.self_attn.q'",
    );
    expect(() => model.replaceWeight('model.layers.0.mlp.up_proj', tf.zeros([16, 24]))).toThrow(
      'model.layers.0.mlp.up_proj has a weight [24,16], got [16,24]',
    );
  });
});
