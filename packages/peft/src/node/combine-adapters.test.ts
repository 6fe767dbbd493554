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
