/** @file GGUF files as models: what is read of them, and files that are refused. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encode, type MetadataValue, string, uint32 } from '@spft/gguf';
import { openGguf, writeGguf } from '@spft/gguf/node';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { distance, ggufFolder, model, source } from '../../../test/gguf.js';
import { ModelError } from '../../errors.js';
import { fromPretrained, loadTokenizer, openModelDirectory, saveGguf, saveModel } from '../index.js';

const at = ggufFolder();

describe('a GGUF file as a model', () => {
  it('has tokenizer and config, and any range of its bytes', async () => {
    for (const type of ['q8_0', 'bf16', 'f32'] as const) {
      const [out, original] = [at.path(), await model({ attentionBias: true })];
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
    const out = at.path();
    const original = await model();
    await saveGguf(out, original, { source });
    const [ours, theirs] = [await loadTokenizer(out), await loadTokenizer(source)];
    expect(ours.encode("I'll say 1234")).toEqual(theirs.encode("I'll say 1234"));
    expect(ours.chatTemplates).toEqual(theirs.chatTemplates);
    original.dispose();
  });

  it('becomes a directory that is the same model', async () => {
    const [out, original] = [at.path(), await model()];
    await saveGguf(out, original, { source, type: 'bf16' });
    const dir = join(at.root, 'directory');
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
    const [right, out, original] = [at.path(), at.path(), await model()];
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
    await expect(opening).rejects.toThrow(file.slice(at.root.length));
  });

  it('in a type that is not read is refused by its name, with those that are', async () => {
    const out = at.path();
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
    const short = at.path();
    await writeFile(short, bytes.subarray(0, bytes.length - 4000));
    await expect(fromPretrained(short)).rejects.toThrow('it is cut short: download or write it again');
    await writeFile(short, bytes.subarray(0, 2000));
    await expect(loadTokenizer(short)).rejects.toThrow('it is cut short or damaged');
    await writeFile(short, 'no model');
    await expect(fromPretrained(short)).rejects.toThrow(
      'wanted a model directory, a GGUF file or an id on the hub, found another file',
    );
    await mkdir(join(at.root, 'a.gguf'));
    await expect(fromPretrained(join(at.root, 'a.gguf'))).rejects.toThrow('wanted config.json in it, found none');
  });

  it('leaves no tensor when it fails', async () => {
    const file = await changed({}, { 'blk.1.ffn_up.weight': null });
    const before = tf.memory().numTensors;
    await expect(fromPretrained(file)).rejects.toThrow('is missing');
    expect(tf.memory().numTensors).toBe(before);
  });
});
