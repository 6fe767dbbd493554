/** @file Models and adapters to GGUF files and back, and files that are refused. What llama.cpp makes of them: scripts/gguf-check. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encode, type MetadataValue, string, uint32 } from '@spft/gguf';
import { openGguf, writeGguf } from '@spft/gguf/node';
import { getPeftModel, type LoraConfigInput } from '@spft/peft';
import { float32ToBfloat16 } from '@spft/safetensors';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../../test/support/backends.js';
import { pseudoRandom, TINY, tinyModel } from '../../../test/tiny.js';
import { ModelError } from '../../errors.js';
import { fromGgufRows } from '../../gguf/tensor-names.js';
import type { LlamaForCausalLM } from '../../llama.js';
import type { LlamaConfig } from '../../llama-config.js';
import { fromPretrained, loadTokenizer, openModelDirectory, saveGguf, saveGgufAdapter, saveModel } from '../index.js';

const source = fileURLToPath(new URL('../../../fixtures/tokenizers/llama3', import.meta.url));
/** Rows of whole blocks, and as many as the tokenizer has tokens. */
const CONFIG: LlamaConfig = {
  ...TINY,
  ...{ vocabSize: 405, hiddenSize: 32, intermediateSize: 64, numHiddenLayers: 2, headDim: 8 },
  ...{ bosTokenId: 400, eosTokenIds: [401], padTokenId: 402 },
};

let root: string;
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'spft-models-gguf-'));
  await useBackend('cpu');
});
afterAll(() => rm(root, { recursive: true }));

const path = () => join(root, `model${count++}.gguf`);
const model = (overrides: Partial<LlamaConfig> = {}) => tinyModel({ ...CONFIG, ...overrides });

/** The greatest distance of any weight, relative to its tensor's greatest. */
function distance(a: LlamaForCausalLM, b: LlamaForCausalLM): number {
  let worst = 0;
  expect([...a.tensors.keys()]).toEqual([...b.tensors.keys()]);
  for (const [name, tensor] of a.tensors) {
    const [x, y] = [tensor, b.tensors.get(name)!].map((one) => one.dataSync() as Float32Array) as [
      Float32Array,
      Float32Array,
    ];
    const most = x.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    x.forEach((value, i) => {
      worst = Math.max(worst, Math.abs(value - y[i]!) / most);
    });
  }
  return worst;
}

const LLAMA3 = {
  ropeType: 'llama3' as const,
  factor: 8,
  lowFreqFactor: 1,
  highFreqFactor: 4,
  originalMaxPositionEmbeddings: 8192,
};
const YARN = {
  ...{
    ropeType: 'yarn' as const,
    factor: 4,
    originalMaxPositionEmbeddings: 16,
    betaFast: 32,
    betaSlow: 1,
    truncate: true,
  },
  attentionFactor: 1.5,
};

describe('saveGguf()', () => {
  it.each<[string, Partial<LlamaConfig>]>([
    ['of the usual kind', {}],
    ['with a tied head', { tieWordEmbeddings: true }],
    ['with biases', { attentionBias: true, mlpBias: true }],
    ['with heads of another size', { headDim: 16 }],
    ["with Llama 3.1's RoPE", { ropeScaling: LLAMA3, ropeTheta: 500_000, headDim: 64 }],
    ['with linear RoPE', { ropeScaling: { ropeType: 'linear', factor: 2 } }],
    ['with YaRN', { ropeScaling: YARN }],
  ])('writes a model %s that is read as the same', async (_, overrides) => {
    const [out, original] = [path(), await model(overrides)];
    const progress: [number, number][] = [];
    const notices = await saveGguf(out, original, {
      source,
      type: 'f32',
      name: 'tiny',
      onProgress: (...p) => progress.push(p),
    });
    expect(notices).toEqual([]);
    expect(progress.at(-1)![0]).toBe(progress.at(-1)![1]);
    const again = await fromPretrained(out);
    const { ropeScaling, ...config } = again.config;
    const { ropeScaling: wanted, ...rest } = original.config;
    expect(config).toEqual({ ...rest, initializerRange: 0.02 });
    expect(ropeScaling === null).toBe(wanted === null);
    for (const [key, value] of Object.entries(wanted ?? {})) {
      const found = (ropeScaling as unknown as Record<string, unknown>)[key];
      if (typeof value === 'number') expect(found).toBeCloseTo(value, 5);
      else expect(found).toBe(value);
    }
    expect(distance(original, again)).toBe(0);
    tf.dispose([original, again].flatMap((one) => [...one.tensors.values()]));
  });

  it.each([
    ['f16', 2 ** -11],
    ['bf16', 2 ** -8],
    ['q8_0', 0.006],
    ['q4_0', 0.13],
  ] as const)('writes %s, near the original, the same each time', async (type, allowed) => {
    const [a, b, original] = [path(), path(), await model()];
    await saveGguf(a, original, { source, type });
    const again = await fromPretrained(a);
    const far = distance(original, again);
    expect(far).toBeLessThanOrEqual(allowed);
    expect(far).toBeGreaterThan(allowed / 100);
    await saveGguf(b, again, { source, type });
    // What is on the grid stays there, but for 4 bits, whose scale is the greatest value's, which has two codes.
    if (type !== 'q4_0') expect(await readFile(b)).toEqual(await readFile(a));
    original.dispose();
    again.dispose();
  });

  it('writes in half precision what has no whole blocks, and says so', async () => {
    const [out, original] = [path(), await model({ intermediateSize: 48 })];
    const notices = await saveGguf(out, original, { source, type: 'q8_0' });
    expect(notices).toEqual([
      expect.stringContaining("'model.layers.0.mlp.down_proj.weight' and 1 others are written in f16"),
    ]);
    const file = await openGguf(out);
    expect(file.entry('blk.1.ffn_down.weight').type).toBe('F16');
    expect(file.entry('blk.1.ffn_up.weight').type).toBe('Q8_0');
    expect(file.entry('blk.1.ffn_norm.weight').type).toBe('F32');
    await file.close();
    original.dispose();
  });

  it('refuses what a type cannot hold and what llama.cpp does not compute, and leaves what was there', async () => {
    const out = path();
    await writeFile(out, 'before');
    const large = await model();
    const embedding = large.tensors.get('model.embed_tokens.weight') as tf.Tensor2D;
    const spoilt = (value: number) => {
      const values = embedding.dataSync().slice();
      values[7] = value;
      return {
        config: large.config,
        tensors: new Map([
          ...large.tensors,
          ['model.embed_tokens.weight', tf.tensor2d(values as Float32Array, embedding.shape)],
        ]),
      };
    };
    const [huge, nan] = [spoilt(1e5), spoilt(Number.NaN)];
    await expect(saveGguf(out, huge, { source })).rejects.toThrow(
      "'token_embd.weight': element 7 is 100000, of which F16 makes Infinity; choose --type bf16",
    );
    await expect(saveGguf(out, nan, { source, type: 'bf16' })).rejects.toThrow(ModelError);
    const refused: [Partial<LlamaConfig>, string][] = [
      [
        { ropeScaling: { ropeType: 'dynamic', factor: 2, maxPositionEmbeddings: 64 } },
        "'dynamic' depends on the length of the text",
      ],
      [{ ropeScaling: { ...YARN, truncate: false } }, 'rope_scaling.truncate: is false'],
      [{ vocabSize: 400 }, "the tokenizer's vocabulary (405 tokens) exceeds the model's embedding (400 rows)"],
    ];
    for (const [config, message] of refused) {
      await expect(
        saveGguf(out, { ...large, config: { ...CONFIG, ...config }, tensors: large.tensors }, { source }),
      ).rejects.toThrow(message);
    }
    await expect(
      saveGguf(out, { config: { ...CONFIG, numHiddenLayers: 3 }, tensors: large.tensors }, { source }),
    ).rejects.toThrow("the model lacks 'model.layers.2");
    expect(await readFile(out, 'utf8')).toBe('before');
    expect((await readdir(root)).filter((name) => name.includes('.tmp'))).toEqual([]);
    tf.dispose([huge, nan].map(({ tensors }) => tensors.get('model.embed_tokens.weight')!));
    large.dispose();
  });
});

describe('a GGUF file as a model', () => {
  it('has tokenizer and config, and any range of its bytes', async () => {
    for (const type of ['q8_0', 'bf16', 'f32'] as const) {
      const [out, original] = [path(), await model({ attentionBias: true })];
      await saveGguf(out, original, { source, type });
      const opened = await openModelDirectory(out);
      expect(opened.fingerprint).toMatch(/^[0-9a-f]{64}$/);
      expect(opened.notices.join()).toContain(type === 'q8_0' ? 'dequantised' : '');
      for (const name of [
        'model.layers.1.self_attn.q_proj.weight',
        'model.layers.1.self_attn.k_proj.bias',
        'model.layers.0.mlp.up_proj.weight',
      ]) {
        const whole = await opened.weights.bytes(name);
        for (const [begin, end] of [
          [0, 4],
          [6, 1000],
          [whole.length - 70, whole.length],
          [12, 12],
        ] as const) {
          const last = Math.min(end, whole.length);
          const first = Math.max(0, Math.min(begin, last));
          expect(await opened.weights.bytes(name, first, last), `${name} ${first} ${last}`).toEqual(
            whole.slice(first, last),
          );
        }
        await expect(opened.weights.bytes(name, 0, whole.length + 1)).rejects.toThrow(RangeError);
      }
      await opened.close();
      original.dispose();
    }
    const out = path();
    const original = await model();
    await saveGguf(out, original, { source });
    const [ours, theirs] = [await loadTokenizer(out), await loadTokenizer(source)];
    expect(ours.encode("I'll say 1234")).toEqual(theirs.encode("I'll say 1234"));
    expect(ours.chatTemplates).toEqual(theirs.chatTemplates);
    original.dispose();
  });

  it('becomes a directory that is the same model', async () => {
    const [out, original] = [path(), await model()];
    await saveGguf(out, original, { source, type: 'bf16' });
    const dir = join(root, 'directory');
    const loaded = await fromPretrained(out);
    await saveModel(dir, loaded, { source: out, dtype: 'f32' });
    expect((await readdir(dir)).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const again = await fromPretrained(dir);
    expect(distance(loaded, again)).toBe(0);
    expect((await loadTokenizer(dir)).encode('1234 <|begin|>')).toEqual(
      (await loadTokenizer(out)).encode('1234 <|begin|>'),
    );
    for (const one of [original, loaded, again]) one.dispose();
  });

  /** A file with these changes to one that is right. */
  async function changed(
    metadata: Record<string, MetadataValue | null>,
    tensors: Record<string, number[] | null> = {},
  ): Promise<string> {
    const [right, out, original] = [path(), path(), await model()];
    await saveGguf(right, original, { source, type: 'f32' });
    original.dispose();
    const file = await openGguf(right);
    const entries = new Map(file.metadata.entries);
    for (const [key, value] of Object.entries(metadata)) {
      if (value === null) entries.delete(key);
      else entries.set(key, value);
    }
    const all = new Map<string, { type: 'F32'; shape: readonly number[]; data: () => Promise<Uint8Array> }>();
    for (const name of file.names) {
      if (tensors[name] === null) continue;
      all.set(name, { type: 'F32', shape: file.entry(name).shape, data: () => file.bytes(name) });
    }
    for (const [name, shape] of Object.entries(tensors)) {
      if (shape === null) continue;
      const size = shape.reduce((a, b) => a * b);
      all.set(name, {
        type: 'F32',
        shape,
        data: async () =>
          encode(
            'F32',
            Float32Array.from({ length: size }, (_, i) => 1 + (i % 3)),
          ),
      });
    }
    await writeGguf(out, entries, all);
    await file.close();
    return out;
  }

  it.each<[string, Record<string, MetadataValue | null>, Record<string, number[] | null>, string]>([
    [
      'of another architecture',
      { 'general.architecture': string('qwen3') },
      {},
      "general.architecture: wanted 'llama' (Llama 2, 3, 3.1, 3.2, SmolLM2 and others of their architecture), found 'qwen3'",
    ],
    ['that is an adapter', { 'general.type': string('adapter') }, {}, 'is an adapter and no model'],
    ['that is one of several parts', { 'split.count': uint32(3) }, {}, 'is one of 3 parts of a model; join them first'],
    ['with experts', { 'llama.expert_count': uint32(8) }, {}, 'llama.expert_count is 8, which is not computed here'],
    ['without a key', { 'llama.block_count': null }, {}, 'llama.block_count: wanted in the metadata, found none'],
    [
      'with a key of another type',
      { 'llama.block_count': string('2') },
      {},
      'llama.block_count: wanted a whole number, 0 or more, found string "2"',
    ],
    [
      'that says more layers than it has',
      { 'llama.block_count': uint32(4_000_000) },
      {},
      'num_hidden_layers: wanted a whole number from 1 to 10000',
    ],
    [
      'with fewer layers than it says',
      { 'llama.block_count': uint32(3) },
      {},
      "'model.layers.2.input_layernorm.weight' [32] is missing",
    ],
    [
      'with partly rotated heads',
      { 'llama.rope.dimension_count': uint32(4) },
      {},
      'llama.rope.dimension_count: wanted 8, the size of a head, found 4',
    ],
    [
      'with an unknown RoPE scaling',
      { 'llama.rope.scaling.type': string('longrope') },
      {},
      "llama.rope.scaling.type: wanted none, linear or yarn, found 'longrope'",
    ],
    [
      'with RoPE frequencies of its own',
      {},
      { 'rope_freqs.weight': [4] },
      "rope_freqs.weight: is no scaling of Llama 3.1's kind",
    ],
    [
      'that lacks a tensor',
      {},
      { 'blk.1.ffn_up.weight': null },
      "'model.layers.1.mlp.up_proj.weight' [64,32] is missing",
    ],
    [
      'that lacks the embedding',
      {},
      { 'token_embd.weight': null },
      "tensor 'token_embd.weight': there is no such tensor",
    ],
    [
      'with a tensor of another shape',
      {},
      { 'blk.0.ffn_up.weight': [63, 32] },
      "'model.layers.0.mlp.up_proj.weight' is [63,32], config.json calls for [64,32]",
    ],
    [
      'with a q of no whole heads',
      {},
      { 'blk.0.attn_q.weight': [31, 32] },
      "'blk.0.attn_q.weight' is [31,32], which are no heads of 8 rows",
    ],
    ['with a foreign tensor', {}, { 'blk.0.ssm_a': [4] }, "'blk.0.ssm_a' has no place in a Llama"],
    [
      'with a tensor of three dimensions',
      {},
      { 'blk.0.ffn_up.weight': [1, 64, 32] },
      "'blk.0.ffn_up.weight' is [1,64,32], wanted one or two dimensions",
    ],
  ])('%s is refused', async (_, metadata, tensors, message) => {
    const file = await changed(metadata, tensors);
    const opening = openModelDirectory(file);
    await expect(opening).rejects.toThrow(message);
    await expect(opening).rejects.toMatchObject({ code: expect.stringMatching(/^SPFT_/) });
    await expect(opening).rejects.toThrow(file.slice(root.length));
  });

  it('in a type that is not read is refused by its name, with those that are', async () => {
    const out = path();
    const right = await changed({});
    const file = await openGguf(right);
    const all = new Map(
      file.names.map((name) => {
        const { shape } = file.entry(name);
        const type = name === 'blk.0.ffn_up.weight' ? ('IQ4_NL' as const) : ('F32' as const);
        return [
          name,
          { type, shape, data: async () => (type === 'F32' ? file.bytes(name) : new Uint8Array((64 * 32 * 18) / 32)) },
        ];
      }),
    );
    await writeGguf(out, file.metadata.entries, all);
    await file.close();
    const opening = openModelDirectory(out);
    await expect(opening).rejects.toThrow(ModelError);
    await expect(opening).rejects.toThrow(
      /types that are read: F32, F16, BF16, Q4_0, .*Q6_K\):\n {2}'blk\.0\.ffn_up\.weight' is in IQ4_NL/,
    );
  });

  it('that is cut short, or is none, is refused', async () => {
    const right = await changed({});
    const bytes = await readFile(right);
    const short = path();
    await writeFile(short, bytes.subarray(0, bytes.length - 4000));
    await expect(fromPretrained(short)).rejects.toThrow('it is cut short: download or write it again');
    await writeFile(short, bytes.subarray(0, 2000));
    await expect(loadTokenizer(short)).rejects.toThrow('it is cut short or damaged');
    await writeFile(short, 'no model');
    await expect(fromPretrained(short)).rejects.toThrow(
      'wanted a model directory, a GGUF file or an id on the hub, found another file',
    );
    await mkdir(join(root, 'a.gguf'));
    await expect(fromPretrained(join(root, 'a.gguf'))).rejects.toThrow('wanted config.json in it, found none');
  });

  it('leaves no tensor when it fails', async () => {
    const file = await changed({}, { 'blk.1.ffn_up.weight': null });
    const before = tf.memory().numTensors;
    await expect(fromPretrained(file)).rejects.toThrow('is missing');
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('saveGgufAdapter()', () => {
  /** B·A·alpha/r of a layer as llama.cpp adds it, in our order of rows. */
  async function added(file: string, stem: string, other: boolean): Promise<{ delta: tf.Tensor2D; alpha: number }> {
    const opened = await openGguf(file);
    const alpha = opened.metadata.number('adapter.lora.alpha')!;
    const read = async (name: string) =>
      tf.tensor2d(await opened.float32(name), [...opened.entry(name).shape] as [number, number]);
    const [a, b] = [await read(`${stem}.lora_a`), await read(`${stem}.lora_b`)];
    await opened.close();
    const delta = tf.tidy(() => {
      const product = tf.mul(tf.matMul(b, a), alpha / a.shape[0]) as tf.Tensor2D;
      if (!other) return product;
      return tf.tensor2d(
        fromGgufRows(product.dataSync() as Float32Array, product.shape[1], CONFIG.headDim),
        product.shape,
      );
    });
    tf.dispose([a, b]);
    return { delta, alpha };
  }

  it.each<[string, LoraConfigInput, number]>([
    ['LoRA', { r: 4, loraAlpha: 8 }, 8],
    ['rank-stabilised LoRA', { r: 4, loraAlpha: 8, useRslora: true }, 16],
    [
      'LoRA of several ranks and alphas',
      { r: 4, loraAlpha: 8, rankPattern: { k_proj: 2 }, alphaPattern: { up_proj: 32 } },
      8,
    ],
  ])('writes what llama.cpp adds for the merged weights: %s', async (_, config, alpha) => {
    const [out, base] = [path(), await model()];
    const peft = getPeftModel(base, { targetModules: ['q_proj', 'k_proj', 'up_proj'], ...config }, { seed: 3 });
    let seed = 50;
    for (const [name, variable] of peft.parameters) {
      if (!name.endsWith('lora_B.weight')) continue;
      const values = tf.tensor(pseudoRandom(variable.size, seed++), variable.shape);
      variable.assign(values);
      values.dispose();
    }
    await saveGgufAdapter(out, peft);
    for (const [name, stem] of [
      ['model.layers.1.self_attn.q_proj', 'blk.1.attn_q.weight'],
      ['model.layers.0.self_attn.k_proj', 'blk.0.attn_k.weight'],
      ['model.layers.0.mlp.up_proj', 'blk.0.ffn_up.weight'],
    ] as const) {
      const { delta, alpha: found } = await added(out, stem, !name.includes('mlp'));
      expect(found).toBe(alpha);
      const merged = peft.mergedWeight(name);
      const wanted = tf.tidy(() => tf.sub(merged, base.linears.get(name)!.weight)).dataSync();
      delta.dataSync().forEach((value, i) => {
        expect(value).toBeCloseTo(wanted[i]!, 4);
      });
      tf.dispose([delta, merged]);
    }
    peft.dispose();
    base.dispose();
  });

  it('refuses DoRA, which llama.cpp has not', async () => {
    const [out, base] = [path(), await model()];
    const peft = getPeftModel(base, { r: 4, useDora: true });
    await expect(saveGgufAdapter(out, peft)).rejects.toThrow(
      "llama.cpp's adapters are LoRA's A and B alone: export the merged model (without --lora)",
    );
    expect((await readdir(root)).includes(out.slice(root.length + 1))).toBe(false);
    peft.dispose();
    base.dispose();
  });

  it('has the numbers in 16 bits where that is asked for', async () => {
    const [out, base] = [path(), await model()];
    const peft = getPeftModel(base, { r: 2 });
    await saveGgufAdapter(out, peft, { type: 'bf16', name: 'mine' });
    const file = await openGguf(out);
    const a = peft.parameters.get('model.layers.0.self_attn.v_proj.lora_A.weight')!.dataSync() as Float32Array;
    expect(float32ToBfloat16(await file.float32('blk.0.attn_v.weight.lora_a'))).toEqual(float32ToBfloat16(a));
    expect(file.metadata.string('general.name')).toBe('mine');
    await file.close();
    peft.dispose();
    base.dispose();
  });
});
