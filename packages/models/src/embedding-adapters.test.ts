import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getPeftModel, type LoraConfigInput, type PeftModel } from '@spft/peft';
import { loadPretrained, savePretrained } from '@spft/peft/node';
import { openSafetensors } from '@spft/safetensors/node';
import { packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import recorded from '../test/fixtures/embeddings/batch.json' with { type: 'json' };
import { BATCH, TINY, tinyAdapter, tinyBatch, tinyModel } from '../test/tiny.js';
import { Embeddings } from './embedding-layers.js';
import { generate } from './generation/generate.js';
import { countLabelledTokens } from './labelled-rows.js';
import type { LlamaForCausalLM } from './llama.js';
import { fromPretrained } from './node/from-pretrained.js';
import { saveModel } from './node/save-model.js';
import type { PackedBatch } from './types.js';

const fixtures = fileURLToPath(new URL('../test/fixtures/embeddings', import.meta.url));
const CASES: readonly (readonly [name: string, base: string])[] = [
  ['lora', 'base'],
  ['lora-tied', 'base-tied'],
  ['lora-head', 'base-tied'],
  ['dora-head', 'base'],
  ['saved', 'base'],
  ['saved-tied', 'base-tied'],
];

const batch: PackedBatch = {
  inputIds: Int32Array.from(recorded.ids.flat()),
  labels: Int32Array.from(recorded.labels.flat()),
  // Labelled tokens dense: rows then stand in another order than tokens.
  layout: packTokens({
    lengths: recorded.ids.map(({ length }) => length),
    dense: (token) => recorded.labels.flat()[token] !== -100,
  }),
};
const normalizer = countLabelledTokens(batch);
const OPTIONS = { training: true, seed: 0, normalizer };

type Loaded = PeftModel<LlamaForCausalLM>;

async function loaded(name: string, base: string): Promise<{ model: LlamaForCausalLM; peft: Loaded }> {
  const model = await fromPretrained(join(fixtures, base));
  return { model, peft: (await loadPretrained(model, join(fixtures, name))) as Loaded };
}

/** Tensors of a file by name. */
async function read(path: string): Promise<Map<string, Float32Array>> {
  const file = await openSafetensors(path);
  try {
    return new Map(await Promise.all(file.names.map(async (name) => [name, await file.float32(name)] as const)));
  } finally {
    await file.close();
  }
}

function replaced(values: Float32Array, at: number, value: number): Float32Array {
  const copy = values.slice();
  copy[at] = value;
  return copy;
}

const gradientsOf = (model: LlamaForCausalLM, variables: Iterable<tf.Variable>, options = {}, of = batch) =>
  tf.variableGrads(() => model.loss(of, { ...OPTIONS, ...options }), [...variables]);

describe.each(TEST_BACKENDS)('adapters on embedding and head, on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each(CASES)('%s equals PEFT: logits, loss, every gradient, and leaves nothing behind', async (name, base) => {
    const golden = await read(join(fixtures, name, 'golden.safetensors'));
    const model = await fromPretrained(join(fixtures, base));
    model.logits(batch).dispose();
    const before = tf.memory().numTensors;
    const peft = (await loadPretrained(model, join(fixtures, name))) as Loaded;
    const logits = model.logits(batch);
    expectAllClose('logits', logits, golden.get('logits')!);
    logits.dispose();
    for (const gradientCheckpointing of [false, true]) {
      const { value, grads } = gradientsOf(model, peft.variables.values(), { gradientCheckpointing });
      expectAllClose('loss', value, golden.get('loss')!);
      value.dispose();
      const wanted = [...golden.keys()].filter((key) => key.startsWith('gradient.'));
      expect([...peft.variables.keys()].map((key) => `gradient.${key}`).sort()).toEqual(wanted.sort());
      for (const [parameter, variable] of peft.variables) {
        expectAllClose(parameter, grads[variable.name]!, golden.get(`gradient.${parameter}`)!, TOLERANCE.gradient);
      }
      tf.dispose(Object.values(grads));
    }
    expect(peft.parameters.size).toBe(peft.variables.size);
    peft.dispose();
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });

  it('chunks of rows, each computed again in the backward pass, give the loss and gradients of all rows at once', async () => {
    const { model, peft } = await loaded('dora-head', 'base');
    const normed = tf.randomNormal([7, 16], 0, 1, 'float32', 4) as tf.Tensor2D;
    const labels = Int32Array.of(3, 0, 23, 5, 5, 1, 9);
    const variables = [...peft.adapters.get('lm_head')!.variables.values()];
    const taken = (chunkRows: number) =>
      tf.variableGrads(
        () =>
          model.embeddingLayers.loss(normed, labels, {
            ...{ call: { training: true, seed: 1 }, labelSmoothing: 0.1, chunkRows },
          }),
        variables,
      );
    taken(2);
    const before = tf.memory().numTensors;
    const [whole, parts] = [taken(7), taken(2)];
    expectAllClose('loss', parts.value, whole.value);
    for (const { name } of variables) {
      expectAllClose(name, parts.grads[name]!, whole.grads[name]!, TOLERANCE.gradient);
    }
    tf.dispose([whole.value, parts.value, whole.grads, parts.grads]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('smooths labels with an adapted head as with a frozen one', async () => {
    const model = await tinyModel();
    const of = tinyBatch(BATCH);
    const options = { ...OPTIONS, labelSmoothing: 0.2 };
    const frozen = model.loss(of, options);
    // B begins as zeros: the head computes the same.
    const peft = getPeftModel(model, { r: 2, targetModules: ['lm_head'] });
    expectAllClose('loss', model.loss(of, options), frozen);
    peft.dispose();
  });

  it.each(CASES)('%s generates what whole passes give, and gives back what it made for it', async (name, base) => {
    const { model, peft } = await loaded(name, base);
    const prompt = [1, 7, 3];
    const ids = [...prompt];
    for (let n = 0; n < 5; n++) {
      const one = { inputIds: Int32Array.from(ids), labels: new Int32Array(ids.length).fill(-100) };
      const logits = model.logits({ ...one, layout: packTokens({ lengths: [ids.length], dense: () => true }) });
      ids.push(tf.argMax(logits, 1).dataSync()[ids.length - 1]!);
      logits.dispose();
    }
    await generate(model, [prompt], { maxNewTokens: 5, eosTokenIds: [] });
    const before = tf.memory().numTensors;
    const generated = await generate(model, [prompt], { maxNewTokens: 5, eosTokenIds: [] });
    expect(generated).toEqual([ids.slice(3)]);
    expect(tf.memory().numTensors).toBe(before);
    peft.dispose();
    model.dispose();
  });

  it('has the gradient of finite differences through both, with noise on the embeddings', async () => {
    const model = await tinyModel({ numHiddenLayers: 1 });
    const config = { r: 2, initLoraWeights: false, targetModules: ['embed_tokens', 'lm_head'] } as const;
    const peft = getPeftModel(model, config, { seed: 2 });
    const of = tinyBatch([[3, 2]]);
    const options = { neftuneNoiseAlpha: 3 };
    const { value, grads } = gradientsOf(model, peft.variables.values(), options, of);
    value.dispose();
    const loss = () => model.loss(of, { ...OPTIONS, ...options }).dataSync()[0]!;
    const id = of.inputIds[1]!;
    for (const [name, variable] of peft.variables) {
      const values = variable.dataSync().slice() as Float32Array;
      // A column of A that a token of the batch reads.
      const places = name.endsWith('embedding_A') ? [id, TINY.vocabSize + id] : [0, values.length - 1];
      const numeric = places.map((i) => {
        const at = (x: number) => {
          variable.assign(tf.tensor(replaced(values, i, x), variable.shape));
          return loss();
        };
        return (at(values[i]! + 1e-2) - at(values[i]! - 1e-2)) / 2e-2;
      });
      variable.assign(tf.tensor(values, variable.shape));
      const taken = grads[variable.name]!.dataSync();
      expectAllClose(
        name,
        places.map((i) => taken[i]!),
        numeric,
        { relative: 0.02, absolute: 2e-3 },
      );
    }
  });
});

describe('adapters on embedding and head', () => {
  beforeAll(() => useBackend('cpu'));
  const temporary = () => mkdtemp(join(tmpdir(), 'spft-embeddings-'));

  it.each(CASES)(
    '%s is written with PEFT’s names, shapes and values, copies of frozen weights included',
    async (name, base) => {
      const { peft } = await loaded(name, base);
      const directory = await temporary();
      await savePretrained(peft, directory);
      const [ours, theirs] = [directory, join(fixtures, name)].map((dir) => join(dir, 'adapter_model.safetensors'));
      const [a, b] = [await read(ours!), await read(theirs!)];
      expect([...a.keys()].sort()).toEqual([...b.keys()].sort());
      for (const [tensor, values] of b) expect(a.get(tensor), tensor).toEqual(values);
      const config = async (dir: string) => JSON.parse(await readFile(join(dir, 'adapter_config.json'), 'utf8'));
      const { target_modules: targets, modules_to_save: saved } = await config(join(fixtures, name));
      const written = await config(directory);
      expect([...written.target_modules].sort()).toEqual([...targets].sort());
      expect(written.modules_to_save).toEqual(saved);
      // And read again, by us.
      peft.dispose();
      await rm(directory, { recursive: true });
    },
  );

  it('a copy of a base in bfloat16 is written as bfloat16, and one that differs from the model is refused', async () => {
    const model = await fromPretrained(join(fixtures, 'base'));
    const { input } = model.embeddings;
    const rounded = (await input!.weight.data()).map((x) => Math.fround(Math.round(x * 8) / 8));
    model.replaceWeight('model.embed_tokens', tf.tensor2d(Float32Array.from(rounded), [24, 16]));
    const peft = getPeftModel(model, { r: 2, targetModules: ['embed_tokens'] });
    const directory = await temporary();
    await savePretrained(peft, directory);
    const file = await openSafetensors(join(directory, 'adapter_model.safetensors'));
    expect(file.entry('base_model.model.model.embed_tokens.base_layer.weight').dtype).toBe('BF16');
    await file.close();
    peft.dispose();
    (await loadPretrained(model, directory)).dispose();
    // On a backend that rounds to bfloat16, a copy in float32 of the base's file is a copy too.
    const precise = await fromPretrained(join(fixtures, 'base'));
    const { data, shape } = { data: await precise.embeddings.output!.weight.data(), shape: [24, 16] as const };
    const bits = new Uint32Array(Float32Array.from(data).buffer).map(
      (x) => (x + 0x7fff + ((x >>> 16) & 1)) & 0xffff0000,
    );
    precise.replaceWeight('lm_head', tf.tensor2d(new Float32Array(bits.buffer), [...shape]));
    (await loadPretrained(precise, join(fixtures, 'dora-head'), { allowOtherBase: true })).dispose();
    const other = await fromPretrained(join(fixtures, 'base'));
    await expect(loadPretrained(other, directory)).rejects.toThrow(
      'embed_tokens.base_layer.weight (trained: other values',
    );
    expect(other.embeddingLayers.isAdapted).toBe(false);
    await rm(directory, { recursive: true });
  });

  it.each(CASES)(
    '%s merged is a plain model that gives the same, its head its own where it must be',
    async (name, base) => {
      const { model, peft } = await loaded(name, base);
      const wanted = model.logits(batch);
      const tensors = tf.memory().numTensors;
      peft.merge();
      expectAllClose('merged', model.logits(batch), wanted);
      peft.unmerge();
      expect(model.config.tieWordEmbeddings).toBe(base === 'base-tied');
      const again = model.logits(batch);
      expect(await again.data()).toEqual(await wanted.data());
      again.dispose();
      peft.merge({ reversible: false });
      expect(model.config.tieWordEmbeddings).toBe(false);
      expect(tf.memory().numTensors - tensors).toBeLessThan(4);
      const directory = join(await temporary(), 'merged');
      await saveModel(directory, model, { dtype: 'f32', source: join(fixtures, base) });
      const config = JSON.parse(await readFile(join(directory, 'config.json'), 'utf8'));
      expect(config.tie_word_embeddings).toBe(false);
      const plain = await fromPretrained(directory);
      expectAllClose('read again', plain.logits(batch), wanted);
      await rm(directory, { recursive: true });
    },
  );

  it('begins as PEFT: nothing is changed, A of the embedding zero, a copy of what is trained in full', async () => {
    const model = await tinyModel();
    const of = tinyBatch(BATCH);
    const frozen = model.logits(of);
    const variants: LoraConfigInput[] = [
      { targetModules: ['embed_tokens', 'lm_head'] },
      { targetModules: ['q_proj'], extra: { modules_to_save: ['lm_head', 'embed_tokens'] } },
    ];
    for (const config of variants) {
      const peft = getPeftModel(model, { r: 2, ...config });
      expectAllClose('logits', model.logits(of), frozen);
      expect([...peft.variables.keys()][0]).toMatch(/^model\.embed_tokens\./);
      expect([...peft.variables.keys()].at(-1)).toMatch(/^lm_head\./);
      peft.dispose();
    }
    const peft = getPeftModel(model, { r: 2, targetModules: ['embed_tokens'] });
    expect(
      peft.parameters
        .get('model.embed_tokens.lora_embedding_A')!
        .dataSync()
        .every((x) => x === 0),
    ).toBe(true);
    expect(
      peft.parameters
        .get('model.embed_tokens.lora_embedding_B')!
        .dataSync()
        .every((x) => x !== 0),
    ).toBe(true);
  });

  it('training in full leaves the frozen weight as it was', async () => {
    const model = await tinyModel();
    const before = model.embeddings.output!.weight.dataSync().slice();
    const peft = getPeftModel(model, { r: 2, targetModules: ['q_proj'], extra: { modules_to_save: ['lm_head'] } });
    const variable = peft.parameters.get('lm_head.weight')!;
    variable.assign(tf.mul(variable, 2));
    expect(model.embeddings.output!.weight.dataSync()).toEqual(before);
    peft.dispose();
  });

  it('all-linear takes neither; an expression takes what it fits', async () => {
    const model = await tinyModel();
    const all = getPeftModel(model, { r: 2, targetModules: 'all-linear' });
    expect(all.adapters.has('lm_head')).toBe(false);
    expect(all.embedding).toBeNull();
    all.dispose();
    const some = getPeftModel(model, { r: 2, targetModules: '.*(embed_tokens|lm_head)', rankPattern: { lm_head: 3 } });
    expect([...some.variables].map(([name, { shape }]) => [name, shape])).toEqual([
      ['model.embed_tokens.lora_embedding_A', [2, 40]],
      ['model.embed_tokens.lora_embedding_B', [16, 2]],
      ['lm_head.lora_A.weight', [3, 16]],
      ['lm_head.lora_B.weight', [40, 3]],
    ]);
    some.dispose();
  });

  it.each<readonly [string, LoraConfigInput, string]>([
    ['DoRA on the embedding', { targetModules: ['embed_tokens'], useDora: true }, "method 'dora' has no form for"],
    [
      'both at once',
      { targetModules: ['lm_head'], extra: { modules_to_save: ['lm_head'] } },
      "'lm_head' is in target_modules and in modules_to_save",
    ],
    [
      'another module in full',
      { targetModules: ['q_proj'], extra: { modules_to_save: ['norm'] } },
      "'norm' is no module that can be trained in full here; there is model.embed_tokens, lm_head",
    ],
  ])('refuses %s, and changes nothing', async (_, config, message) => {
    const model = await tinyModel();
    const before = tf.memory().numTensors;
    expect(() => getPeftModel(model, { r: 2, ...config })).toThrow(message);
    expect(tf.memory().numTensors).toBe(before);
    expect(model.variables.size).toBe(0);
  });

  it('refuses one adapter for both of tied ones', async () => {
    const model = await tinyModel({ tieWordEmbeddings: true });
    const extra = { ensure_weight_tying: true };
    expect(() => getPeftModel(model, { targetModules: ['embed_tokens'], extra })).toThrow(
      "ensure_weight_tying is set and 'model.embed_tokens' of a tied model",
    );
    getPeftModel(model, { targetModules: ['q_proj'], extra }).dispose();
  });

  it('never has the logits of all rows at once', async () => {
    const [rows, hidden, vocab] = [64, 4, 2000];
    const random = (shape: [number, number], seed: number) =>
      tf.randomNormal(shape, 0, 1, 'float32', seed) as tf.Tensor2D;
    const layers = new Embeddings(random([vocab, hidden], 1), random([vocab, hidden], 2));
    layers.outputAdapter = tinyAdapter(layers.layers.output!, 3);
    const normed = random([rows, hidden], 4);
    const labels = Int32Array.from({ length: rows }, (_, n) => (31 * n) % vocab);
    const variables = [...layers.outputAdapter.variables.values()];
    const peak = async (chunkRows: number) => {
      const options = { call: { training: true, seed: 0 }, labelSmoothing: 0, chunkRows };
      const before = tf.memory().numBytes;
      const { peakBytes } = await tf.profile(() =>
        tf.tidy(() => void tf.variableGrads(() => layers.loss(normed, labels, options), variables)),
      );
      expect(tf.memory().numBytes).toBe(before);
      return peakBytes - before;
    };
    await peak(2);
    const logits = rows * vocab * 4;
    expect(await peak(rows)).toBeGreaterThan(logits);
    expect(await peak(2)).toBeLessThan(logits);
    tf.dispose([normed, ...variables]);
    layers.dispose();
  });

  it('is not recorded, as padded rows would count', async () => {
    const model = await tinyModel();
    expect(model.recordable.key(false)).not.toBeNull();
    const peft = getPeftModel(model, { r: 2, targetModules: ['lm_head'] });
    expect(model.recordable.key(false)).toBeNull();
    peft.dispose();
  });
});
