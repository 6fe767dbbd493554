import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSafetensors } from '@spft/safetensors/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { combineAdapters } from './combine-adapters.js';

const fixture = fileURLToPath(new URL('../../test/fixtures/combined/', import.meta.url));
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spft-combine-'));
});
afterAll(() => rm(directory, { recursive: true }));

describe('combineAdapters()', () => {
  it('equals PEFT’s add_weighted_adapter, linear, with a negative weight and two scalings', async () => {
    await combineAdapters([`${fixture}a`, `${fixture}b`], [0.7, -0.2], join(directory, 'c'));
    const [ours, theirs] = [join(directory, 'c'), `${fixture}c`];
    const [made, wanted] = await Promise.all(
      [ours, theirs].map((dir) => openSafetensors(join(dir, 'adapter_model.safetensors'))),
    );
    expect([...made!.names].sort()).toEqual([...wanted!.names].sort());
    for (const name of wanted!.names) {
      const [a, b] = [await made!.float32(name), await wanted!.float32(name)];
      a.forEach((value, i) => {
        expect(value, `${name} ${i}`).toBeCloseTo(b[i]!, 5);
      });
    }
    await made!.close();
    await wanted!.close();
    const [config, peft] = await Promise.all(
      [ours, theirs].map(async (dir) => JSON.parse(await readFile(join(dir, 'adapter_config.json'), 'utf8'))),
    );
    expect(config).toMatchObject({ r: peft.r, lora_alpha: peft.lora_alpha });
  });

  it('refuses other ranks, and a weight that is missing', async () => {
    const config = JSON.parse(await readFile(`${fixture}b/adapter_config.json`, 'utf8'));
    await mkdir(join(directory, 'other'));
    await writeFile(join(directory, 'other', 'adapter_config.json'), JSON.stringify({ ...config, r: 4 }));
    const out = join(directory, 'never');
    await expect(combineAdapters([`${fixture}a`, join(directory, 'other')], [1, 1], out)).rejects.toThrow(
      'has rank 4; adapters that are combined',
    );
    await expect(combineAdapters([`${fixture}a`, `${fixture}b`], [1], out)).rejects.toThrow(
      'found 2 adapters and weights 1',
    );
  });
});

describe('combineAdapters() of adapters on embedding and head', () => {
  const embeddings = fileURLToPath(new URL('../../../models/test/fixtures/embeddings/', import.meta.url));

  it('adds their values, keeps the copies of frozen weights, and gives one adapter alone as itself', async () => {
    const out = join(directory, 'embeddings');
    await combineAdapters([`${embeddings}lora`, `${embeddings}lora`], [1, 0], out);
    const [made, one] = await Promise.all(
      [out, `${embeddings}lora`].map((dir) => openSafetensors(join(dir, 'adapter_model.safetensors'))),
    );
    expect([...made!.names].sort()).toEqual([...one!.names].sort());
    const scaling = 6 / 4;
    for (const name of one!.names) {
      const factor = name.includes('base_layer') ? 1 : Math.sqrt(scaling);
      const [a, b] = [await made!.float32(name), await one!.float32(name)];
      a.forEach((value, i) => {
        expect(value, `${name} ${i}`).toBeCloseTo(factor * b[i]!, 5);
      });
    }
    await Promise.all([made!.close(), one!.close()]);
  });

  it('refuses modules that are trained in full', async () => {
    const saved = `${embeddings}saved`;
    await expect(combineAdapters([saved, saved], [1, 1], join(directory, 'never'))).rejects.toThrow(
      'modules_to_save (lm_head, embed_tokens) are trained in full',
    );
  });
});
