import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadAnyConfig, loadSpftConfig, loadTrainConfig } from './index.js';

let dir = '';
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'spft-config-'));
  const sparsity = { 'model.layers.0.mlp': 0.5 };
  await writeFile(join(dir, 'config.json'), JSON.stringify({ modes: { o1: { layer_sparsity: sparsity } } }));
  await writeFile(join(dir, 'llama3-8b-math10k.yaml'), 'mode: svd_8\nsparsity: {layers.0.mlp: 0.5}\n');
  await writeFile(join(dir, 'math10k_train.yaml'), 'learning_rate: 3e-4\n');
  await writeFile(join(dir, 'latin1.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xe9]));
  await writeFile(join(dir, 'utf16.yaml'), Buffer.from('\uFEFFa: 1', 'utf16le'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe('loadSpftConfig()', () => {
  it('reads a file, and a directory in the hub layout with its predictors', async () => {
    const config = await loadSpftConfig(join(dir, 'llama3-8b-math10k.yaml'));
    expect(config).toMatchObject({ mode: 'svd_8', predictorPath: null });
    expect(config.source.file).toBe(join(dir, 'llama3-8b-math10k.yaml'));
    for (const path of [dir, join(dir, 'config.json')]) {
      expect(await loadSpftConfig(path)).toMatchObject({ mode: 'svd_8', predictorPath: dir });
    }
  });

  it('names files like one that is missing', async () => {
    const message = `${join(dir, 'llama3-8b-math1k.yaml')}: does not exist; did you mean ${join(dir, 'llama3-8b-math10k.yaml')}, `;
    await expect(loadSpftConfig(join(dir, 'llama3-8b-math1k.yaml'))).rejects.toThrow(message);
    const nowhere = join(dir, 'nowhere');
    await expect(loadSpftConfig(join(nowhere, 'x.yaml'))).rejects.toThrow(`nor does its directory ${nowhere}`);
    await expect(loadSpftConfig(join(dir, 'x.yaml', 'y.yaml'))).rejects.toMatchObject({ code: 'SPFT_CONFIG' });
  });

  it('rejects what is no UTF-8 text', async () => {
    for (const name of ['latin1.yaml', 'utf16.yaml']) {
      await expect(loadSpftConfig(join(dir, name))).rejects.toThrow('this is not UTF-8 text; save it as UTF-8');
    }
  });
});

describe('loadTrainConfig()', () => {
  it('reads a file with overrides, or none', async () => {
    const file = join(dir, 'math10k_train.yaml');
    expect((await loadTrainConfig(file)).learningRate).toBe(3e-4);
    expect((await loadTrainConfig(file, { learning_rate: '1e-3' })).learningRate).toBe(1e-3);
    expect((await loadTrainConfig(null)).learningRate).toBe(5e-5);
  });

  it('names the directory where a file was expected', async () => {
    await expect(loadTrainConfig(dir)).rejects.toThrow(`${dir}: this is a directory; name a file in it`);
  });
});

describe('loadAnyConfig()', () => {
  it('tells the kind by the keys', async () => {
    expect(await loadAnyConfig(join(dir, 'math10k_train.yaml'))).toMatchObject({ kind: 'train' });
    expect(await loadAnyConfig(join(dir, 'llama3-8b-math10k.yaml'))).toMatchObject({ kind: 'sparsity' });
    expect(await loadAnyConfig(dir)).toMatchObject({ kind: 'sparsity', config: { mode: 'svd_8' } });
    await writeFile(join(dir, 'misspelt.yaml'), 'mode: svd_8\nsparsty: {}\n');
    await expect(loadAnyConfig(join(dir, 'misspelt.yaml'))).rejects.toThrow(
      'sparsty: there is no such key; did you mean sparsity?',
    );
  });
});

describe('@spft/config', () => {
  it('bundles for a browser without Node built-ins', async () => {
    const entry = new URL('../index.ts', import.meta.url).pathname;
    const result = await build({
      ...{ entryPoints: [entry], bundle: true, platform: 'browser', format: 'esm', write: false, metafile: true },
      logLevel: 'silent',
    });
    expect(result.errors).toEqual([]);
    expect(Object.keys(result.metafile.inputs).filter((input) => input.includes('node:'))).toEqual([]);
  });
});

describe('loadSpftConfig() of what the newer generation saves', () => {
  it('takes sparselora_config.json beside an adapter', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'spft-saved-'));
    const saved = { layer_sparsity: { 'layers.1.mlp': 0.9 }, predictor_rank: 4, start_step: 0.05, end_step: 1 };
    await writeFile(join(directory, 'sparselora_config.json'), JSON.stringify(saved));
    expect(await loadSpftConfig(directory)).toMatchObject({ mode: 'svd_4', startStep: 0.05, skipOutputTokens: true });
    await rm(directory, { recursive: true });
  });
});
