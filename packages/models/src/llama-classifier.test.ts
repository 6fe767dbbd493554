import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getPeftModel, type PeftModel } from '@spft/peft';
import { loadPretrained, savePretrained } from '@spft/peft/node';
import type { SafetensorsFile } from '@spft/safetensors';
import { openSafetensors } from '@spft/safetensors/node';
import { packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import golden from '../test/fixtures/classifier/golden.json' with { type: 'json' };
import { LlamaForCausalLM } from './llama.js';
import { floatLabel, LlamaForSequenceClassification } from './llama-classifier.js';
import { fromPretrained } from './node/from-pretrained.js';
import { saveModel } from './node/save-model.js';
import { IGNORE_INDEX, type PackedBatch } from './types.js';

const fixture = fileURLToPath(new URL('../test/fixtures/classifier', import.meta.url));

function batchOf(ids: readonly (readonly number[])[], labels: readonly number[], dense = true): PackedBatch {
  const lengths = ids.map((sequence) => sequence.length);
  const ofTokens = ids.flatMap((sequence, b) =>
    sequence.map((_, t) => (t + 1 === sequence.length ? labels[b]! : IGNORE_INDEX)),
  );
  return {
    inputIds: Int32Array.from(ids.flat()),
    labels: Int32Array.from(ofTokens),
    // Every other row dense: the pooled rows then stand in another order than the sequences.
    layout: packTokens({ lengths, dense: (token) => dense || token % 2 === 0 }),
  };
}

describe.each(TEST_BACKENDS)('LlamaForSequenceClassification on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([true, false])(
    'with an adapter of PEFT’s equals transformers: logits, loss, every gradient (dense rows alone: %s)',
    async (dense) => {
      const body = await fromPretrained(fixture);
      const throwaway = new LlamaForSequenceClassification(body, { classes: 3 });
      // Tables that the body keeps.
      throwaway.logits(batchOf(golden.ids, golden.labels)).dispose();
      throwaway.dispose();
      const before = tf.memory().numTensors;
      const model = new LlamaForSequenceClassification(body, { classes: 3 });
      const peft = (await loadPretrained(model, join(fixture, 'adapter'))) as PeftModel<LlamaForSequenceClassification>;
      const batch = batchOf(golden.ids, golden.labels, dense);
      const logits = model.logits(batch);
      expectAllClose('logits', logits, golden.logits.flat());
      logits.dispose();
      const options = { training: true, seed: 0, normalizer: golden.labels.length };
      const { value, grads } = tf.variableGrads(() => model.loss(batch, options), [...peft.variables.values()]);
      expect((await value.data())[0]).toBeCloseTo(golden.loss, 4);
      value.dispose();
      expect([...peft.variables.keys()].sort()).toEqual(Object.keys(golden.gradients).sort());
      for (const [name, variable] of peft.variables) {
        const wanted = golden.gradients[name as keyof typeof golden.gradients];
        expectAllClose(name, grads[variable.name]!, wanted, TOLERANCE.gradient);
      }
      tf.dispose(Object.values(grads));
      peft.dispose();
      model.dispose();
      expect(tf.memory().numTensors).toBe(before);
      body.dispose();
    },
  );

  it('is saved with its head under PEFT’s names, and read again', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'spft-classifier-'));
    const body = await fromPretrained(fixture);
    const model = new LlamaForSequenceClassification(body, { classes: 3, seed: 1 });
    const extra = { modules_to_save: ['classifier', 'score'] };
    const peft = getPeftModel(model, { r: 4, loraAlpha: 8, taskType: 'SEQ_CLS', extra });
    await savePretrained(peft, directory);
    const config = JSON.parse(await readFile(join(directory, 'adapter_config.json'), 'utf8'));
    expect(config).toMatchObject({ task_type: 'SEQ_CLS', modules_to_save: ['classifier', 'score'] });
    const header = (await readFile(join(directory, 'adapter_model.safetensors'))).toString('latin1');
    expect(header).toContain('"base_model.model.score.weight"');
    const kept = await model.score.data();
    peft.dispose();
    model.dispose();
    const again = new LlamaForSequenceClassification(body, { classes: 3, seed: 2 });
    const loaded = await loadPretrained(again, directory);
    expect(await again.score.data()).toEqual(kept);
    loaded.dispose();
    again.dispose();
    const other = new LlamaForSequenceClassification(body, { classes: 2 });
    await expect(loadPretrained(other, directory)).rejects.toThrow('score.weight: wanted [2,32], found [3,32]');
    expect(() => getPeftModel(other, { extra: { modules_to_save: ['scores'] } })).toThrow(
      "modules_to_save: 'scores' is no module that can be trained in full here; there is score",
    );
    other.dispose();
    body.dispose();
    await rm(directory, { recursive: true });
  });

  it('has the squared error of a regression, and refuses labels that are no class', async () => {
    const body = await fromPretrained(fixture);
    const model = new LlamaForSequenceClassification(body, { classes: 1, seed: 1 });
    const batch = batchOf(golden.ids, [0.5, 2.25, 4].map(floatLabel));
    const logits = await tf.tidy(() => model.logits(batch)).data();
    const wanted = [0.5, 2.25, 4].reduce((sum, label, b) => sum + (logits[b]! - label) ** 2, 0) / 3;
    const loss = await tf.tidy(() => model.loss(batch, { training: false, seed: 0, normalizer: 3 })).data();
    expect(loss[0]).toBeCloseTo(wanted, 4);
    model.dispose();
    const three = new LlamaForSequenceClassification(body, { classes: 3 });
    const outside = batchOf(golden.ids, [0, 3, 1]);
    expect(() => three.loss(outside, { training: false, seed: 0, normalizer: 1 })).toThrow(
      'sequence 1 has the label 3; wanted a class from 0 to 2',
    );
    three.dispose();
    body.dispose();
  });
});

describe('a merged classifier', () => {
  it('is written as transformers reads it, and computes what the adapter did', async () => {
    await useBackend('cpu');
    const directory = join(process.env.SPFT_KEEP ?? (await mkdtemp(join(tmpdir(), 'spft-merged-'))), 'merged');
    const body = await fromPretrained(fixture);
    const model = new LlamaForSequenceClassification(body, { classes: 3 });
    const peft = await loadPretrained(model, join(fixture, 'adapter'));
    peft.merge({ reversible: false });
    const tensors = new Map<string, tf.Tensor>([...body.tensors, ['score.weight', model.score]]);
    await saveModel(directory, { config: body.config, tensors, classes: 3 }, { dtype: 'f32', source: fixture });
    const config = JSON.parse(await readFile(join(directory, 'config.json'), 'utf8'));
    expect(config).toMatchObject({
      architectures: ['LlamaForSequenceClassification'],
      id2label: { 0: 'LABEL_0', 1: 'LABEL_1', 2: 'LABEL_2' },
      label2id: { LABEL_0: 0, LABEL_1: 1, LABEL_2: 2 },
      problem_type: 'single_label_classification',
    });
    const file = await openSafetensors(join(directory, 'model.safetensors'));
    expect(file.has('lm_head.weight')).toBe(false);
    const score = await file.float32('score.weight');
    // Every weight as the file has it, in a body of its own: the logits are those that transformers gave for the adapter.
    const source = { ...file, names: file.names.filter((name) => name !== 'score.weight'), ...bound(file) };
    const plain = await LlamaForCausalLM.fromWeights({ ...body.config, tieWordEmbeddings: true }, source);
    const classifier = new LlamaForSequenceClassification(plain, { classes: 3 });
    classifier.score.assign(tf.tensor2d(score, [3, plain.hiddenSize]));
    expectAllClose('logits', classifier.logits(batchOf(golden.ids, golden.labels)), golden.logits.flat());
    await file.close();
    if (!process.env.SPFT_KEEP) await rm(directory, { recursive: true });
  });
});

const bound = (file: SafetensorsFile) => ({
  entry: (name: string) => file.entry(name),
  float32: (name: string) => file.float32(name),
  bytes: (name: string) => file.bytes(name),
});
