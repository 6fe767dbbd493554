import { chmod, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { fakeHost } from '../../test/fake-host.js';
import { fingerprintOf } from '../fingerprint.js';
import type { Predictors } from '../predictors.js';
import { cachedPredictors } from './cached-predictors.js';

const layers = new Map([[0, { mlp: true, selfAttn: true }]]);

let dir: string;
beforeEach(async () => {
  await useBackend('cpu');
  dir = await mkdtemp(join(tmpdir(), 'spft-cached-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const valuesOf = async ({ projections }: Predictors) =>
  Promise.all([...projections].map(async ([name, { a, b }]) => [name, await a.data(), await b.data()]));

describe('cachedPredictors()', () => {
  async function once(place: string, seed = 1) {
    const host = fakeHost({ seed });
    const notices: string[] = [];
    const before = tf.memory().numTensors;
    const found = await cachedPredictors(place, (message) => notices.push(message))({ host, layers, rank: 2 });
    const values = await valuesOf(found);
    expect(found.fingerprint ?? (await fingerprintOf(host))).toEqual(await fingerprintOf(host));
    found.dispose();
    expect(tf.memory().numTensors).toBe(before);
    host.dispose();
    return { notices, values };
  }

  it('makes anew what is damaged, or of another model', async () => {
    const place = join(dir, 'r_2');
    const first = await once(place);
    expect(first.notices).toEqual([]);
    const file = join(place, 'model.safetensors');
    const whole = await readFile(file);
    for (const damage of [() => truncate(file, 40), () => writeFile(file, 'garbage'), () => writeFile(file, '')]) {
      await damage();
      const again = await once(place);
      expect(again.notices).toEqual([expect.stringMatching(/^predictors are made anew: .*model\.safetensors/)]);
      expect(again.values).toEqual(first.values);
      expect(await readFile(file)).toEqual(whole);
      expect((await once(place)).notices).toEqual([]);
    }
    expect((await once(place, 2)).notices).toEqual([expect.stringContaining('predictors are made anew')]);
  });

  it('goes on with the same values where it cannot be written', async () => {
    const kept = await once(join(dir, 'r_2'));
    for (const place of ['/proc/spft/r_2', join(dir, 'r_2', 'model.safetensors', 'x')]) {
      const { notices, values } = await once(place);
      expect(notices).toEqual([expect.stringMatching(/^predictors are not kept for the next run: /)]);
      expect(values).toEqual(kept.values);
    }
  });

  it('goes on with the same values where a write fails, as on a full disk', async () => {
    const kept = await once(join(dir, 'r_2'));
    const place = join(dir, 'full');
    await mkdir(join(place, 'config.json'), { recursive: true });
    const { notices, values } = await once(place);
    expect(notices).toEqual([expect.stringMatching(/^predictors are not kept for the next run: EISDIR/)]);
    expect(values).toEqual(kept.values);
  });

  it.skipIf(process.getuid?.() === 0)('reads what is there without writing', async () => {
    const place = join(dir, 'r_2');
    await once(place);
    await chmod(place, 0o500);
    expect((await once(place)).notices).toEqual([]);
    await chmod(place, 0o700);
  });
});
