/** @file The parity runner itself: that it passes what is right, and that it cannot pass what is not. */

import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generate, IGNORE_INDEX, LlamaForCausalLM } from '@spft/models';
import { openSafetensors, writeSafetensors } from '@spft/safetensors/node';
import { packTokens, topKSelection } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sourceOf, TINY, tinyWeights } from '../packages/models/test/tiny.js';
import { chooseAsGolden } from '../scripts/parity/check-sparse.js';
import { runParity } from '../scripts/parity/run.js';
import { useBackend } from './support/backends.js';

const SHARED = process.env.SPFT_SHARED ?? fileURLToPath(new URL('../../shared', import.meta.url));
const GOLDEN = join(SHARED, 'golden/seed0/gqa');

type Tensors = Record<string, { dtype: 'F32' | 'I32'; shape: number[]; data: Float32Array | Int32Array }>;

async function read(path: string): Promise<Tensors> {
  const file = await openSafetensors(path);
  const tensors: Tensors = {};
  for (const name of file.names) {
    const { dtype, shape } = file.entry(name);
    const data = dtype === 'I32' ? await file.int32(name) : await file.float32(name);
    tensors[name] = { dtype: dtype as 'F32' | 'I32', shape: [...shape], data };
  }
  await file.close();
  return tensors;
}

/** Rewrites a file with one number changed. */
async function perturb(path: string, name: string, at: number, change: (x: number) => number): Promise<void> {
  const tensors = await read(path);
  const { data } = tensors[name]!;
  data[at] = change(data[at]!);
  await writeSafetensors(path, tensors);
}

async function run(dir: string): Promise<{ code: number; lines: string[]; failures: string[] }> {
  const lines: string[] = [];
  const code = await runParity([dir], (line) => lines.push(line));
  return { code, lines, failures: lines.filter((line) => line.startsWith('FAIL') || line.startsWith('error')) };
}

let root: string;
beforeAll(async () => {
  await useBackend('wasm');
  root = await mkdtemp(join(tmpdir(), 'spft-parity-test-'));
});
afterAll(() => rm(root, { recursive: true }));

/** A directory of golden values of our own making: a tiny model, and what it says to four tokens and three. */
async function makeGolden(name: string): Promise<string> {
  const dir = join(root, name, 'tiny');
  await mkdir(join(dir, 'model'), { recursive: true });
  const config = { ...TINY, eosTokenIds: [] };
  const weights = tinyWeights(config);
  const hub = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.numHiddenLayers,
    num_attention_heads: config.numAttentionHeads,
    num_key_value_heads: config.numKeyValueHeads,
    rms_norm_eps: config.rmsNormEps,
    eos_token_id: null,
    pad_token_id: 0,
  };
  await writeFile(join(dir, 'model/config.json'), JSON.stringify(hub));
  const tensors: Tensors = {};
  for (const [key, { shape, data }] of weights) tensors[key] = { dtype: 'F32', shape, data };
  await writeSafetensors(join(dir, 'model/model.safetensors'), tensors);

  const model = await LlamaForCausalLM.fromWeights(config, sourceOf(weights));
  // Left padding: the second sequence begins a column later.
  const ids = [5, 9, 11, 30, 0, 8, 21, 7];
  const labels = [-100, -100, 11, 30, -100, -100, 21, 7];
  const real = [0, 1, 2, 3, 5, 6, 7];
  const packed = {
    inputIds: Int32Array.from(real, (place) => ids[place]!),
    labels: Int32Array.from(real, (place) => labels[place]!),
    layout: packTokens({ lengths: [4, 3], dense: () => true }),
  };
  expect(packed.labels).toContain(IGNORE_INDEX);
  const V = config.vocabSize;
  const logits = new Float32Array(8 * V).fill(99);
  const values = model.logits(packed).dataSync();
  real.forEach((place, token) => {
    logits.set(values.subarray(token * V, (token + 1) * V), place * V);
  });
  const loss = model.loss(packed, { training: false, seed: 0, normalizer: 4 }).dataSync() as Float32Array;
  const [first, second] = await generate(model, [[5, 9], [8]], { maxNewTokens: 8 });
  await writeSafetensors(join(dir, 'dense.safetensors'), {
    input_ids: { dtype: 'I32', shape: [2, 4], data: Int32Array.from(ids) },
    labels: { dtype: 'I32', shape: [2, 4], data: Int32Array.from(labels) },
    attention_mask: { dtype: 'I32', shape: [2, 4], data: Int32Array.of(1, 1, 1, 1, 0, 1, 1, 1) },
    logits: { dtype: 'F32', shape: [2, 4, V], data: logits },
    loss: { dtype: 'F32', shape: [1], data: loss },
    greedy: { dtype: 'I32', shape: [2, 10], data: Int32Array.from([5, 9, ...first!, 0, 8, ...second!]) },
  });
  model.dispose();
  return join(root, name);
}

describe('npm run parity', () => {
  it('passes golden values that are ours, and says how many', async () => {
    const { code, lines } = await run(await makeGolden('right'));
    expect(code).toBe(0);
    expect(lines.at(-1)).toBe('5 passed, 0 failed');
    expect(lines[0]).toMatch(/^pass {2}tiny dense logits: error \d\.\d+e[-+]\d+, allowed \d\.\d+e-\d+$/);
  });

  it.each([
    ['logits', 3, (x: number) => x * 1.01 + 0.01, 'tiny dense logits'],
    ['logits', 3, () => Number.NaN, 'tiny dense logits'],
    ['loss', 0, (x: number) => x * 1.001, 'tiny dense loss'],
    ['greedy', 9, (x: number) => x + 1, 'tiny dense greedy'],
  ] as const)('fails where one number of %s is another', async (name, at, change, check) => {
    const dir = await makeGolden('wrong');
    await perturb(join(dir, 'tiny/dense.safetensors'), name, at, change);
    const { code, failures, lines } = await run(dir);
    expect(code).toBe(1);
    expect(failures.length).toBe(1);
    expect(failures[0]).toContain(check);
    expect(lines.at(-1)).toBe('4 passed, 1 failed');
  });

  it('passes what padding holds, which means nothing', async () => {
    const dir = await makeGolden('padding');
    await perturb(join(dir, 'tiny/dense.safetensors'), 'logits', 4 * TINY.vocabSize, () => -1e9);
    expect((await run(dir)).code).toBe(0);
  });

  it('fails a golden value that no check looks at', async () => {
    const dir = await makeGolden('forgotten');
    const path = join(dir, 'tiny/dense.safetensors');
    const extra = { dtype: 'F32', shape: [1], data: Float32Array.of(1) } as const;
    await writeSafetensors(path, { ...(await read(path)), 'logits.again': { ...extra, shape: [1] } });
    const { code, failures } = await run(dir);
    expect(code).toBe(1);
    expect(failures[0]).toContain('1 were not, first logits.again');
  });

  it('fails where nothing was checked, and says what was looked for', async () => {
    const empty = join(root, 'empty');
    await mkdir(join(empty, 'inner'), { recursive: true });
    expect(await run(join(root, 'absent'))).toMatchObject({
      code: 1,
      lines: [expect.stringContaining('ENOENT'), '0 passed, 1 failed'],
    });
    expect((await run(join(empty, 'inner'))).failures[0]).toContain('holds no model directories');
    expect((await run(empty)).failures[0]).toContain('wanted model/, dense.safetensors');
    expect(await runParity([], () => {})).toBe(1);
    const odd = await makeGolden('odd');
    await mkdir(join(odd, 'tiny/sparse/adapter'), { recursive: true });
    await writeFile(join(odd, 'tiny/sparse/svd_8_right_split.safetensors'), '');
    expect((await run(odd)).failures[0]).toContain('wanted <mode>_<corrected|reference>_<split|nosplit>.safetensors');
  });

  // Needs ../shared/golden, which is not part of the repository.
  it.skipIf(!existsSync(GOLDEN))('fails for one wrong gradient or channel', async () => {
    const dir = join(root, 'gqa');
    const files = ['model', 'dense.safetensors', 'lora', 'sparse/adapter', 'sparse/svd_8_corrected_split.safetensors'];
    for (const file of files) await cp(join(GOLDEN, file), join(dir, 'gqa', file), { recursive: true });
    const right = await run(dir);
    expect(right.failures).toEqual([]);
    expect(right.code).toBe(0);

    const svd = join(dir, 'gqa/sparse/svd_8_corrected_split.safetensors');
    const loraGradient = 'grad.model.layers.2.mlp.up_proj.lora_B.weight';
    const sparseGradient = 'grad.model.layers.0.self_attn.q_proj.lora_A.weight';
    await perturb(join(dir, 'gqa/lora/golden.safetensors'), loraGradient, 7, (x) => x + 0.1);
    await perturb(svd, sparseGradient, 3, (x) => x + 0.1);
    const gradients = await run(dir);
    expect(gradients.code).toBe(1);
    expect(gradients.failures.map((line) => line.slice(6, line.indexOf(':')))).toEqual([
      'gqa lora grad model.layers.2.mlp.up_proj.lora_B.weight',
      'gqa svd_8_corrected_split grad model.layers.0.self_attn.q_proj.lora_A.weight',
    ]);

    await perturb(svd, sparseGradient, 3, (x) => x - 0.1);
    const kept = (await read(svd))['layers.3.mlp.kept']!.data;
    const dropped = [...Array(160).keys()].find((channel) => !kept.includes(channel))!;
    await perturb(svd, 'layers.3.mlp.kept', 0, () => dropped);
    const channel = await run(dir);
    expect(channel.code).toBe(1);
    expect(channel.failures.some((line) => line.includes('svd_8_corrected_split layers.3.mlp.kept:'))).toBe(true);
    expect(channel.failures.some((line) => line.includes('svd_8_corrected_split logits:'))).toBe(true);
  });
});

describe('chooseAsGolden()', () => {
  /** What is compared when the two best of three scores are to be kept, and the golden file says `golden`. */
  function compared(scores: number[], golden: number[]): boolean {
    let same: boolean | undefined;
    const chosen = chooseAsGolden(
      { scores: tf.tensor1d(scores) },
      (context) => ({ kept: topKSelection(context.scores, 2) }),
      () => 'kept',
      { names: ['kept'], get: () => ({ shape: [2], data: Int32Array.from(golden) }) },
      (_, ours, theirs) => {
        same = String(ours) === String(theirs);
      },
    );
    expect([...chosen.kept!.indices.dataSync()]).toEqual(golden);
    return same!;
  }

  it('takes another channel of the same score for the same, and of no other score', () => {
    expect(compared([3, 2, 2, 1], [0, 1])).toBe(true);
    expect(compared([3, 2, 2, 1], [0, 2])).toBe(true);
    expect(compared([3, 2.0001, 2, 1], [0, 2])).toBe(false);
    expect(compared([3, 2, 2, 1], [0, 3])).toBe(false);
  });
});
