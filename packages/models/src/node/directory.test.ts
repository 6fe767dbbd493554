import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Dtype } from '@spft/safetensors';
import { openSafetensorsModel, temporaryPath, writeSafetensors, writeSafetensorsModel } from '@spft/safetensors/node';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { HubServer } from '../../test/hub-server.js';
import { TINY, tinyModel, tinyWeights } from '../../test/tiny.js';
import { ModelError } from '../errors.js';
import { type LlamaConfig, llamaConfigJson } from '../llama-config.js';
import { fromPretrained, loadTokenizer, openModelDirectory, resolveModelDirectory, saveModel } from './index.js';

let root: string;
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'spft-models-'));
  await useBackend('cpu');
});
afterAll(() => rm(root, { recursive: true }));

type Tensors = Record<string, { dtype: Dtype; shape: number[]; data: Float32Array | Int32Array }>;

/** A model directory, with `change` made to its parts before they are written. */
async function directory(
  change: (parts: { json: Record<string, unknown>; tensors: Tensors }) => void = () => {},
  config: LlamaConfig = TINY,
  maxShardBytes?: number,
): Promise<string> {
  const dir = join(root, `model${count++}`);
  const tensors: Tensors = {};
  for (const [name, weight] of tinyWeights(config)) tensors[name] = { dtype: 'F32', ...weight };
  const parts = { json: llamaConfigJson(config), tensors };
  change(parts);
  await writeSafetensorsModel(dir, parts.tensors, undefined, maxShardBytes);
  await writeFile(join(dir, 'config.json'), JSON.stringify(parts.json));
  return dir;
}
const tokenizerDir = fileURLToPath(new URL('../../fixtures/tokenizers/llama3', import.meta.url));
const q = 'model.layers.0.self_attn.q_proj.weight';

describe('openModelDirectory()', () => {
  it('gives config, generation config and weights', async () => {
    const dir = await directory();
    await writeFile(join(dir, 'generation_config.json'), '{"temperature":0.6}');
    const opened = await openModelDirectory(dir);
    expect(opened.config).toEqual(TINY);
    expect(opened.configJson.model_type).toBe('llama');
    expect(opened.generationConfigJson).toEqual({ temperature: 0.6 });
    expect(await opened.weights.float32(q)).toEqual(tinyWeights(TINY).get(q)!.data);
    await opened.close();
  });

  it('takes the ends of text from generation_config.json', async () => {
    const dir = await directory();
    await writeFile(join(dir, 'generation_config.json'), '{"eos_token_id":[2,7]}');
    const opened = await openModelDirectory(dir);
    expect(opened.config.eosTokenIds).toEqual([2, 7]);
    await opened.close();
  });

  it('gives one fingerprint to the same model in one file or shards, and others to other models', async () => {
    const fingerprint = async (dir: string) => {
      const opened = await openModelDirectory(dir);
      await opened.close();
      return opened.fingerprint;
    };
    const one = await fingerprint(await directory());
    expect(one).toMatch(/^[0-9a-f]{64}$/);
    expect(await fingerprint(await directory(undefined, TINY, 4000))).toBe(one);
    const trained = await directory(({ tensors }) => {
      tensors[q]!.data[0]! += 1;
    });
    expect(await fingerprint(trained)).not.toBe(one);
    const rope = await directory(({ json }) => {
      json.rope_theta = 5;
    });
    expect(await fingerprint(rope)).not.toBe(one);
  });

  it('takes a tied head and computed frequencies that older files have', async () => {
    const tied = { ...TINY, tieWordEmbeddings: true };
    const dir = await directory(({ tensors }) => {
      tensors['lm_head.weight'] = { dtype: 'F32', shape: [40, 16], data: new Float32Array(640) };
      tensors['model.layers.0.self_attn.rotary_emb.inv_freq'] = { dtype: 'F32', shape: [2], data: new Float32Array(2) };
    }, tied);
    await (await openModelDirectory(dir)).close();
  });

  it.each<[string, Parameters<typeof directory>[0], string]>([
    [
      'lacks a tensor',
      ({ tensors }) => {
        delete tensors[q];
      },
      `the weights do not fit config.json; download the model again, or take both from one model:\n  '${q}' [16,16] is missing`,
    ],
    [
      'has a tensor of another shape',
      ({ tensors }) => {
        tensors[q]!.shape = [8, 32];
      },
      `'${q}' is [8,32], config.json calls for [16,16]`,
    ],
    [
      'has a tensor of a wrong dtype',
      ({ tensors }) => {
        tensors[q] = { dtype: 'I32', shape: [16, 16], data: new Int32Array(256) };
      },
      `'${q}' is I32, wanted F32, F16 or BF16`,
    ],
    [
      'has a tensor too many',
      ({ tensors }) => {
        tensors['model.layers.9.mlp.bias'] = { dtype: 'F32', shape: [1], data: new Float32Array(1) };
      },
      "'model.layers.9.mlp.bias' has no place in this config",
    ],
    [
      'is of another size than its config says',
      ({ json }) => {
        json.intermediate_size = 25;
      },
      'and 4 more',
    ],
    [
      'is of another architecture',
      ({ json }) => {
        json.model_type = 'gemma';
      },
      'config.json: unsupported architecture LlamaForCausalLM (model_type "gemma")',
    ],
  ])('refuses a model that %s', async (_, change, message) => {
    const opening = openModelDirectory(await directory(change));
    await expect(opening).rejects.toThrow(ModelError);
    await expect(opening).rejects.toThrow(message);
  });

  it('says what is missing', async () => {
    await expect(openModelDirectory(join(root, 'none'))).rejects.toThrow(
      'none: there is no such directory; check the path',
    );
    const dir = join(root, 'empty');
    await mkdir(dir);
    await expect(openModelDirectory(dir)).rejects.toThrow(`${dir}: wanted config.json in it, found none`);
    await writeFile(join(dir, 'config.json'), '{');
    await expect(openModelDirectory(dir)).rejects.toThrow('config.json: is no valid JSON');
    await writeFile(join(dir, 'config.json'), JSON.stringify(llamaConfigJson(TINY)));
    await expect(openModelDirectory(dir)).rejects.toThrow(
      'wanted model.safetensors or model.safetensors.index.json in it',
    );
  });
});

describe('loadTokenizer()', () => {
  it('loads tokenizer and chat templates from their files', async () => {
    const dir = join(root, 'tokenizer');
    await cp(tokenizerDir, dir, { recursive: true });
    expect((await loadTokenizer(dir)).applyChatTemplate([{ role: 'user', content: 'x' }])).toContain('<|header|>user');
    await writeFile(join(dir, 'chat_template.jinja'), 'from a file');
    await mkdir(join(dir, 'additional_chat_templates'));
    await writeFile(join(dir, 'additional_chat_templates', 'rag.jinja'), 'rag');
    const tokenizer = await loadTokenizer(dir);
    expect(tokenizer.applyChatTemplate([])).toBe('from a file');
    expect(tokenizer.applyChatTemplate([], { template: 'rag' })).toBe('rag');
  });

  it('takes ids from config.json for tokens that the tokenizer does not name', async () => {
    const dir = join(root, 'tokenizer-ids');
    await cp(tokenizerDir, dir, { recursive: true });
    await rm(join(dir, 'tokenizer_config.json'));
    await writeFile(join(dir, 'config.json'), '{"bos_token_id":400,"eos_token_id":[401,403],"vocab_size":405}');
    const tokenizer = await loadTokenizer(dir);
    expect([tokenizer.bosTokenId, tokenizer.eosTokenId, tokenizer.padTokenId]).toEqual([400, 401, 401]);
  });

  it('refuses a vocabulary that exceeds the embedding', async () => {
    const dir = join(root, 'tokenizer-large');
    await cp(tokenizerDir, dir, { recursive: true });
    await writeFile(join(dir, 'config.json'), '{"vocab_size":400}');
    const loading = loadTokenizer(dir);
    await expect(loading).rejects.toThrow(ModelError);
    await expect(loading).rejects.toThrow(
      `${dir}: the tokenizer's vocabulary (405 tokens) exceeds the model's embedding (400 rows)`,
    );
  });

  it('says that there is no tokenizer, or that a file is damaged', async () => {
    await expect(loadTokenizer(root)).rejects.toThrow(`${root}: wanted tokenizer.json in it, found none`);
    const dir = join(root, 'tokenizer-damaged');
    await cp(tokenizerDir, dir, { recursive: true });
    await writeFile(join(dir, 'tokenizer.json'), '{"model":');
    await expect(loadTokenizer(dir)).rejects.toThrow('tokenizer.json: is no valid JSON');
  });
});

describe('fromPretrained()', () => {
  it('gives the model of a directory, in f32 as in f16 and bf16 shards', async () => {
    const model = await tinyModel();
    for (const dtype of ['F32', 'F16', 'BF16'] as const) {
      const dir = await directory(
        ({ tensors }) => {
          for (const tensor of Object.values(tensors)) tensor.dtype = dtype;
        },
        TINY,
        dtype === 'F32' ? undefined : 4000,
      );
      const progress: number[] = [];
      const loaded = await fromPretrained(dir, { onProgress: (done) => progress.push(done) });
      expect(loaded.config).toEqual(TINY);
      expect(progress.at(-1)).toBe(model.tensors.size);
      const [a, b] = [loaded.tensors.get(q)!.dataSync(), model.tensors.get(q)!.dataSync()];
      const digits = { F32: 0, F16: 2 ** -11, BF16: 2 ** -8 }[dtype];
      expect(a.every((x, i) => Math.abs(x - b[i]!) <= digits * Math.abs(b[i]!))).toBe(true);
      loaded.dispose();
    }
    model.dispose();
  });

  it('leaves no tensor when it fails', async () => {
    const dir = await directory(({ tensors }) => {
      delete tensors['model.norm.weight'];
    });
    const before = tf.memory().numTensors;
    await expect(fromPretrained(dir)).rejects.toThrow("'model.norm.weight' [16] is missing");
    expect(tf.memory().numTensors).toBe(before);
  });

  it('downloads a model of the hub once', async () => {
    const dir = await directory();
    const files: Record<string, Buffer> = {};
    for (const file of await readdir(dir)) files[file] = await readFile(join(dir, file));
    const hub = await new HubServer(files).start();
    const options = { hub: { endpoint: hub.endpoint, cacheDir: join(root, 'hub'), env: { HF_HOME: root } } };
    (await fromPretrained('acme/tiny', options)).dispose();
    await hub.stop();
    (await fromPretrained('acme/tiny', { hub: { ...options.hub, offline: true } })).dispose();
  });
});

describe('resolveModelDirectory()', () => {
  it('says what a name is not', async () => {
    await expect(resolveModelDirectory('./no/such/model')).rejects.toThrow(
      './no/such/model: there is no such directory, and it is no id of a model on the hub',
    );
    const file = join(root, 'file');
    await writeFile(file, '');
    await expect(resolveModelDirectory(file)).rejects.toThrow('found another file; give the directory it is in');
    await expect(resolveModelDirectory('no/model', { offline: true, cacheDir: root })).rejects.toThrow(
      "(there is no directory 'no/model' here either)",
    );
  });
});

describe('saveModel()', () => {
  it('clears away what killed runs left, and gives a model that was set aside its name back', async () => {
    const gone = spawnSync(process.execPath, ['-e', '']).pid;
    const model = await tinyModel();
    const home = join(root, 'leftovers');
    const dir = join(home, 'out');
    const left = [`.out.${gone}-0123abcd.tmp`, temporaryPath(dir).replace(`-${process.pid}-`, `-${gone}-`)].map(
      (name) => resolve(home, name),
    );
    for (const one of left) {
      await mkdir(one, { recursive: true });
      await writeFile(join(one, 'model.safetensors'), 'half');
    }
    const old = temporaryPath(dir, 'old').replace(`-${process.pid}-`, `-${gone}-`);
    await cp(await directory(), old, { recursive: true });
    // It fails, so that what was set aside is what is there afterwards.
    const broken = { config: { ...TINY, numHiddenLayers: 4 }, tensors: model.tensors };
    await expect(saveModel(dir, broken)).rejects.toThrow('the model lacks');
    expect(await readdir(home)).toEqual(['out']);
    expect(await readdir(dir)).toContain('config.json');
    await saveModel(dir, model);
    expect(await readdir(home)).toEqual(['out']);
    model.dispose();
  });

  it('writes a directory that loads as the same model, with what its source has beside the weights', async () => {
    const source = await directory(({ json }) => {
      Object.assign(json, { torch_dtype: 'float16', transformers_version: '4.40.0' });
    });
    await cp(tokenizerDir, source, { recursive: true });
    await writeFile(join(source, 'generation_config.json'), '{"temperature":0.6}');
    const model = await fromPretrained(source);
    const dir = join(root, 'saved', 'here');
    await saveModel(dir, model, { source, dtype: 'f32', maxShardBytes: 6000 });
    expect((await readdir(dir)).filter((f) => !f.startsWith('model-')).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors.index.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const config = JSON.parse(await readFile(join(dir, 'config.json'), 'utf8'));
    expect(config).toMatchObject({ torch_dtype: 'float32', transformers_version: '4.40.0' });
    const again = await fromPretrained(dir);
    for (const [name, tensor] of model.tensors) {
      expect(again.tensors.get(name)!.dataSync(), name).toEqual(tensor.dataSync());
    }
    again.dispose();
    model.dispose();
  });

  it('writes bf16, tied weights once, and replaces a model that was there', async () => {
    const dir = await directory();
    for (const stale of ['model-00001-of-00002.safetensors', 'README.md']) await writeFile(join(dir, stale), '');
    const model = await tinyModel({ tieWordEmbeddings: true });
    const progress: [number, number][] = [];
    await saveModel(dir, model, { onProgress: (...p) => progress.push(p) });
    expect((await readdir(dir)).sort()).toEqual(['config.json', 'model.safetensors']);
    expect((await readdir(root)).filter((f) => f.startsWith('.'))).toEqual([]);
    const weights = await openSafetensorsModel(dir);
    expect(weights.names).not.toContain('lm_head.weight');
    expect(weights.entry(q).dtype).toBe('BF16');
    expect(progress.at(-1)).toEqual([weights.names.length, weights.names.length]);
    await weights.close();
    const config = JSON.parse(await readFile(join(dir, 'config.json'), 'utf8'));
    expect(config).toMatchObject({ dtype: 'bfloat16', tie_word_embeddings: true });
    model.dispose();
  });

  it('leaves what was there when it fails', async () => {
    const dir = await directory();
    const before = await readdir(dir);
    const model = await tinyModel();
    const broken = { config: TINY, tensors: new Map([...model.tensors].filter(([name]) => name !== q)) };
    await expect(saveModel(dir, broken)).rejects.toThrow(`the model lacks '${q}'`);
    expect(await readdir(dir)).toEqual(before);
    expect((await readdir(root)).filter((f) => f.startsWith('.'))).toEqual([]);
    model.dispose();
  });

  it('replaces nothing that is no model', async () => {
    const dir = join(root, 'precious');
    await writeSafetensors(join(dir, 'thesis.safetensors'), {});
    const model = await tinyModel();
    await expect(saveModel(dir, model)).rejects.toThrow('found a directory of other files (thesis.safetensors)');
    // A model's directory whose owner keeps something else in it, as the working directory of a program that was given no name.
    const mixed = await directory();
    await mkdir(join(mixed, 'runs'));
    await writeFile(join(mixed, 'thesis.md'), 'years');
    const before = await readdir(mixed);
    await expect(saveModel(mixed, model)).rejects.toThrow(
      'found one that holds something else too, which would be lost (runs, thesis.md); choose another path',
    );
    expect(await readdir(mixed)).toEqual(before);
    await expect(saveModel('', model)).rejects.toThrow('saveModel: wanted the name of a directory, found an empty one');
    model.dispose();
  });
});

const shared = process.env.SPFT_SHARED ?? fileURLToPath(new URL('../../../../../shared', import.meta.url));
const models = await readdir(join(shared, 'golden/seed0')).catch(() => []);
describe.skipIf(models.length === 0)(
  `golden models${models.length === 0 ? ' (skipped: none in ../shared)' : ''}`,
  () => {
    it.each(models)('%s fits its config, as transformers wrote both', async (name) => {
      const opened = await openModelDirectory(join(shared, 'golden/seed0', name, 'model'));
      expect(opened.generationConfigJson).not.toBeNull();
      await opened.close();
    });
  },
);
