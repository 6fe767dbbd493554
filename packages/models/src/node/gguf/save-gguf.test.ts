/** @file Models to GGUF files and back. What llama.cpp makes of them: scripts/gguf-check. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { openGguf } from '@spft/gguf/node';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { CONFIG, distance, ggufFolder, model, source } from '../../../test/gguf.js';
import { ModelError } from '../../errors.js';
import type { LlamaConfig } from '../../llama-config.js';
import { fromPretrained, saveGguf } from '../index.js';

const at = ggufFolder();

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
    const [out, original] = [at.path(), await model(overrides)];
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
    const [a, b, original] = [at.path(), at.path(), await model()];
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
    const [out, original] = [at.path(), await model({ intermediateSize: 48 })];
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
    const out = at.path();
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
    expect((await readdir(at.root)).filter((name) => name.includes('.tmp'))).toEqual([]);
    tf.dispose([huge, nan].map(({ tensors }) => tensors.get('model.embed_tokens.weight')!));
    large.dispose();
  });
});
