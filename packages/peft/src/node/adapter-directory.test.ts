import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { GOLDEN_ADAPTERS, goldenShapes, SHARED } from '../../test/golden.js';
import { llamaShapes, TinyHost } from '../../test/tiny-host.js';
import { adapterToSafetensors } from '../adapter-file.js';
import { AdapterError } from '../errors.js';
import { getPeftModel } from '../peft-model.js';
import { loadAdapterConfig, loadPretrained, savePretrained } from './index.js';

const SHAPES = llamaShapes({ layers: 2, hidden: 8, kv: 4, intermediate: 12 });
let root: string;
let saved: string;
let count = 0;
const fresh = () => join(root, String(count++));

beforeAll(async () => {
  await useBackend('cpu');
  root = await mkdtemp(join(tmpdir(), 'spft-peft-'));
  saved = fresh();
  await savePretrained(make(), saved);
});
afterAll(() => rm(root, { recursive: true }));

const make = (host = new TinyHost(SHAPES)) =>
  getPeftModel(
    host,
    { r: 2, initLoraWeights: false, targetModules: 'all-linear', baseModelNameOrPath: 'tiny' },
    { seed: 3 },
  );

/** A copy of the saved adapter, spoilt. */
async function spoilt(change: (dir: string) => Promise<unknown>): Promise<string> {
  const dir = fresh();
  await cp(saved, dir, { recursive: true });
  await change(dir);
  return dir;
}

describe('savePretrained() and loadPretrained()', () => {
  it('write what PEFT does, and read it', async () => {
    expect((await readdir(saved)).sort()).toEqual([
      'adapter_config.json',
      'adapter_model.safetensors',
      'spft_base.json',
    ]);
    expect((await loadAdapterConfig(saved)).targetModules).toEqual([
      ...['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
    ]);
    const peft = await loadPretrained(new TinyHost(SHAPES), saved);
    expect(await adapterToSafetensors(peft)).toEqual(await adapterToSafetensors(make()));
    expect(peft.variables.size).toBe(28);
    const frozen = await loadPretrained(new TinyHost(SHAPES), saved, { trainable: false });
    expect([frozen.variables.size, frozen.parameters.size]).toEqual([0, 28]);
  });

  it('replace an older adapter, and keep fields that are not known', async () => {
    const dir = await spoilt(async (dir) => {
      const config = JSON.parse(await readFile(join(dir, 'adapter_config.json'), 'utf8'));
      await writeFile(join(dir, 'adapter_config.json'), JSON.stringify({ ...config, of_the_future: { x: [1] } }));
    });
    const peft = await loadPretrained(new TinyHost(SHAPES), dir);
    peft.parameters.get('model.layers.0.mlp.up_proj.lora_B.weight')!.assign(tf.ones([12, 2]));
    await expect(savePretrained(peft, '')).rejects.toThrow('savePretrained: wanted the name of a directory');
    await savePretrained(peft, dir);
    const again = await loadPretrained(new TinyHost(SHAPES), dir);
    expect(again.parameters.get('model.layers.0.mlp.up_proj.lora_B.weight')!.dataSync()).toEqual(
      new Float32Array(24).fill(1),
    );
    expect(again.config.extra.of_the_future).toEqual({ x: [1] });
  });

  it('save a merged adapter, without a fingerprint when it was merged for good', async () => {
    const [kept, lost] = [make(), make()];
    const dir = fresh();
    kept.merge();
    await savePretrained(kept, dir);
    expect(await readFile(join(dir, 'spft_base.json'), 'utf8')).toBe(
      await readFile(join(saved, 'spft_base.json'), 'utf8'),
    );
    lost.merge({ reversible: false });
    await savePretrained(lost, dir);
    expect((await readdir(dir)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
  });

  it('notice another base of the same shape, before anything is attached', async () => {
    const other = new TinyHost(SHAPES, { seed: 9 });
    const loading = loadPretrained(other, saved);
    await expect(loading).rejects.toThrow(
      /the adapter was trained on a base with other weights \(fingerprint \w{16}, this model's is \w{16}\); load it onto 'tiny'/,
    );
    await expect(loading).rejects.toBeInstanceOf(AdapterError);
    expect([...other.linears.values()].every((layer) => layer.adapter === null)).toBe(true);
    expect((await loadPretrained(other, saved, { allowOtherBase: true })).variables.size).toBe(28);
  });

  it('name the directory when the adapter is for another model', async () => {
    const small = new TinyHost(llamaShapes({ layers: 2, hidden: 4, kv: 4, intermediate: 12 }));
    await expect(loadPretrained(small, saved)).rejects.toThrow(`${saved}: the adapter is not one for this model`);
  });

  it.each([
    [
      'has no config',
      (dir: string) => rm(join(dir, 'adapter_config.json')),
      'there is no such file; name the directory of an adapter',
    ],
    ['has a broken config', (dir: string) => writeFile(join(dir, 'adapter_config.json'), '{"r": '), 'is no valid JSON'],
    [
      'is of another kind',
      (dir: string) => writeFile(join(dir, 'adapter_config.json'), '{"peft_type":"IA3"}'),
      'wanted "LORA"',
    ],
    [
      'has no weights',
      (dir: string) => rm(join(dir, 'adapter_model.safetensors')),
      'wanted adapter_model.safetensors, found none',
    ],
    [
      'has only pickled weights',
      async (dir: string) => {
        await rm(join(dir, 'adapter_model.safetensors'));
        await writeFile(join(dir, 'adapter_model.bin'), '');
      },
      'adapter_model.bin, which is never read because it can run code',
    ],
  ])('say that a directory %s', async (_, change, message) => {
    const dir = await spoilt(change);
    const loading = loadPretrained(new TinyHost(SHAPES), dir);
    await expect(loading).rejects.toThrow(message);
    await expect(loading).rejects.toMatchObject({ code: 'SPFT_ADAPTER' });
  });

  it('say that the weights are cut short', async () => {
    const dir = await spoilt((dir) => truncate(join(dir, 'adapter_model.safetensors'), 1000));
    await expect(loadPretrained(new TinyHost(SHAPES), dir)).rejects.toMatchObject({ code: 'SPFT_SAFETENSORS' });
  });

  it('leave the old adapter when the new one cannot be written', async () => {
    const dir = await spoilt(async () => {});
    const peft = make();
    const broken = peft.parameters.get('model.layers.0.mlp.up_proj.lora_B.weight')!;
    broken.data = () => Promise.reject(new Error('device lost'));
    await expect(savePretrained(peft, dir)).rejects.toThrow('device lost');
    expect((await readdir(dir)).sort()).toEqual((await readdir(saved)).sort());
    expect(await readFile(join(dir, 'adapter_model.safetensors'))).toEqual(
      await readFile(join(saved, 'adapter_model.safetensors')),
    );
    await expect(savePretrained(make(), join(saved, 'adapter_config.json'))).rejects.toThrow(/adapter_config.json/);
  });

  it.skipIf(!SHARED).each(GOLDEN_ADAPTERS)(
    'give back the files of %s byte for byte (needs the golden values)',
    async (dir) => {
      const from = `${SHARED}/golden/${dir}`;
      const to = fresh();
      await savePretrained(await loadPretrained(new TinyHost(goldenShapes(dir)), from), to);
      for (const file of ['adapter_config.json', 'adapter_model.safetensors']) {
        expect(Buffer.compare(await readFile(join(to, file)), await readFile(join(from, file)))).toBe(0);
      }
    },
  );
});
