import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSafetensorsModel, writeSafetensorsModel } from '@spft/safetensors/node';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { sourceOf, TINY, tinyBatch, tinyWeights } from '../../test/tiny.js';
import { ModelError } from '../errors.js';
import { LlamaForCausalLM } from '../llama.js';
import { type LlamaConfig, llamaConfigJson, parseLlamaConfig } from '../llama-config.js';
import { fromPretrained, loadTokenizer, openModelDirectory, saveModel } from './index.js';

let root: string;
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'spft-model-faults-'));
  await useBackend('cpu');
});
afterAll(() => rm(root, { recursive: true }));

const TIED: LlamaConfig = { ...TINY, tieWordEmbeddings: true };
const EMBEDDING = 'model.embed_tokens.weight';
const HEAD = 'lm_head.weight';
type Weights = ReturnType<typeof tinyWeights>;

async function directory(config: LlamaConfig, weights: Weights, json: object = {}): Promise<string> {
  const dir = join(root, `m${count++}`);
  const tensors = Object.fromEntries([...weights].map(([name, w]) => [name, { dtype: 'F32' as const, ...w }]));
  await writeSafetensorsModel(dir, tensors);
  await writeFile(join(dir, 'config.json'), JSON.stringify({ ...llamaConfigJson(config), ...json }));
  return dir;
}
const logits = async (model: LlamaForCausalLM) => Array.from(await model.logits(tinyBatch([[3, 2]])).data());
const json = async (dir: string) =>
  JSON.parse(await readFile(join(dir, 'config.json'), 'utf8')) as Record<string, unknown>;

describe('a head under tie_word_embeddings: true', () => {
  const untied = tinyWeights(TINY);
  const copied: Weights = new Map([...untied, [HEAD, untied.get(EMBEDDING)!]]);
  const { [HEAD]: _, ...rest } = Object.fromEntries(untied);
  const bare: Weights = new Map(Object.entries(rest));

  it('is used as it is where it differs, said, and written again', async () => {
    const dir = await directory(TIED, untied);
    const opened = await openModelDirectory(dir);
    expect(opened.config.tieWordEmbeddings).toBe(false);
    expect(opened.notices).toEqual([expect.stringContaining("'lm_head.weight' differs from the embedding")]);
    await opened.close();
    const model = await fromPretrained(dir);
    const apart = await LlamaForCausalLM.fromWeights(TINY, sourceOf(untied));
    expect(await logits(model)).toEqual(await logits(apart));
    const merged = join(root, 'merged-untied');
    await saveModel(merged, model, { source: dir, dtype: 'f32' });
    const file = await openSafetensorsModel(merged);
    expect(await file.float32(HEAD)).toEqual(untied.get(HEAD)!.data);
    await file.close();
    expect((await json(merged)).tie_word_embeddings).toBe(false);
    expect(await logits(await fromPretrained(merged))).toEqual(await logits(apart));
  });

  it('is tied where it equals the embedding', async () => {
    const opened = await openModelDirectory(await directory(TIED, copied));
    expect([opened.config.tieWordEmbeddings, opened.notices]).toEqual([true, []]);
    await opened.close();
  });

  it('is the embedding where it alone is there', async () => {
    const { [EMBEDDING]: moved, ...others } = Object.fromEntries(bare);
    const alone: Weights = new Map([...Object.entries(others), [HEAD, moved!]]);
    const tied = await LlamaForCausalLM.fromWeights(TIED, sourceOf(bare));
    expect(await logits(await fromPretrained(await directory(TIED, alone)))).toEqual(await logits(tied));
  });

  it('is refused in another shape', async () => {
    const wrong: Weights = new Map([...untied, [HEAD, { shape: [8, 80], data: untied.get(HEAD)!.data }]]);
    await expect(openModelDirectory(await directory(TIED, wrong))).rejects.toThrow('ties the head to the embedding');
  });
});

describe('saveModel()', () => {
  const both = {
    rope_parameters: { rope_type: 'default', rope_theta: 7 },
    rope_scaling: { rope_type: 'linear', factor: 4 },
    rope_theta: 5000,
  };

  it('copies no config that contradicts what the model computed', async () => {
    const dir = await directory(TINY, tinyWeights(TINY), both);
    const model = await fromPretrained(dir);
    expect(model.config.ropeScaling).toEqual({ ropeType: 'linear', factor: 4 });
    const merged = join(root, 'merged-rope');
    await saveModel(merged, model, { source: dir });
    const written = await json(merged);
    expect(written).not.toHaveProperty('rope_parameters');
    expect(written).toMatchObject({ rope_scaling: both.rope_scaling, rope_theta: 5000 });
    const { ropeTheta, ropeScaling } = parseLlamaConfig(written);
    expect([ropeTheta, ropeScaling]).toEqual([model.config.ropeTheta, model.config.ropeScaling]);
  });

  it('keeps the dialect where only one is there', async () => {
    const newer: Record<string, unknown> = { ...llamaConfigJson(TINY), rope_parameters: both.rope_parameters };
    delete newer.rope_scaling;
    delete newer.rope_theta;
    const dir = await directory(TINY, tinyWeights(TINY));
    await writeFile(join(dir, 'config.json'), JSON.stringify(newer));
    const merged = join(root, 'merged-newer');
    await saveModel(merged, await fromPretrained(dir), { source: dir });
    expect((await json(merged)).rope_parameters).toEqual(both.rope_parameters);
  });
});

describe('a model that cannot be used', () => {
  it.each([1e9, 1e6, 10_001])('is refused for %d layers before their names are listed', async (layers) => {
    expect(() => parseLlamaConfig({ ...llamaConfigJson(TINY), num_hidden_layers: layers })).toThrow(ModelError);
    const dir = await directory({ ...TINY, numHiddenLayers: 3 }, tinyWeights(TINY), { num_hidden_layers: 10_000 });
    await expect(openModelDirectory(dir)).rejects.toThrow(
      'config.json has num_hidden_layers 10000, but the weights are',
    );
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('is refused by name for weights with %s', async (value) => {
    const weights = tinyWeights(TINY);
    weights.get('model.norm.weight')!.data[5] = value;
    const before = tf.memory().numTensors;
    await expect(fromPretrained(await directory(TINY, weights))).rejects.toThrow(
      "'model.norm.weight': element 5 is NaN or infinite",
    );
    expect(tf.memory().numTensors).toBe(before);
  });

  it('is called an adapter where it is one, by tokenizer and model alike', async () => {
    const dir = join(root, 'adapter');
    await mkdir(dir);
    await writeFile(join(dir, 'adapter_config.json'), JSON.stringify({ base_model_name_or_path: 'acme/base' }));
    for (const load of [loadTokenizer, openModelDirectory]) {
      await expect(load(dir)).rejects.toThrow(ModelError);
      await expect(load(dir)).rejects.toThrow(
        "is an adapter's directory, no model's: give its base model ('acme/base'",
      );
    }
  });

  it('says so of deep values too', () => {
    let deep: unknown = 1;
    for (let n = 0; n < 50_000; n++) deep = [deep];
    const good = llamaConfigJson(TINY);
    for (const key of [...Object.keys(good), 'rope_parameters', 'quantization_config']) {
      expect(() => parseLlamaConfig({ ...good, [key]: deep }), key).toSatisfy((parse: () => unknown) => {
        try {
          parse();
          return true;
        } catch (error) {
          return error instanceof ModelError;
        }
      });
    }
    expect(() => parseLlamaConfig(deep)).toThrow(ModelError);
  });
});
