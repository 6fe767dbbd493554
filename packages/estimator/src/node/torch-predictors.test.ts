import { copyFile, cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSafetensors, writeSafetensors } from '@spft/safetensors/node';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { useBackend } from '../../../../test/support/backends.js';
import { fakeHost } from '../../test/fake-host.js';
import { buildPredictors, type Predictors } from '../predictors.js';
import { loadOrBuildPredictors, loadPredictors } from './storage.js';

const fixtures = fileURLToPath(new URL('../../test/fixtures/torch/', import.meta.url));
const SAFETENSORS = join(fixtures, 'predictors.safetensors');
const LAYERS = new Map([[2, { mlp: true, selfAttn: true }]]);

/** Predictors of the fake model under upstream's names, in half precision as it saves those of such a model. */
async function writeFixture(): Promise<void> {
  const predictors = await buildPredictors(fakeHost(), LAYERS, 3);
  const values = (name: string, side: 'a' | 'b') => {
    const tensor = predictors.projections.get(`model.layers.2.${name}`)![side];
    return { shape: tensor.shape, data: tensor.dataSync() as Float32Array };
  };
  const tensors: Record<string, { dtype: 'F16'; shape: number[]; data: Float32Array }> = {};
  for (const side of ['a', 'b'] as const) {
    const [gate, up] = [values('mlp.gate_proj', side), values('mlp.up_proj', side)];
    const data = Float32Array.from([...gate.data, ...up.data]);
    tensors[`layers.2.mlp_low_rank_${side}`] = { dtype: 'F16', shape: [2, ...gate.shape], data };
    for (const part of ['q', 'k', 'v']) {
      const one = values(`self_attn.${part}_proj`, side);
      tensors[`layers.2.self_attn_${part}_low_rank_${side}`] = { dtype: 'F16', shape: [...one.shape], data: one.data };
    }
  }
  predictors.dispose();
  await writeSafetensors(SAFETENSORS, tensors, { format: 'pt' });
}

const values = (predictors: Predictors) =>
  [...predictors.projections].sort().map(([name, { a, b }]) => [name, a.dataSync(), b.dataSync()]);

let dir: string;
beforeEach(async () => {
  await useBackend('cpu');
  dir = await mkdtemp(join(tmpdir(), 'spft-torch-predictors-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('predictors of torch.save', () => {
  it('are those of the fake model: the fixture fits this test', async () => {
    if (process.env.UPDATE_GOLDEN) await writeFixture();
    const [built, found] = [
      await buildPredictors(fakeHost(), LAYERS, 3),
      await loadPredictors(fakeHost(), SAFETENSORS),
    ];
    for (const [name, low] of built.projections) {
      const read = found.projections.get(name)!;
      expectAllClose(name, tf.matMul(read.a, read.b), tf.matMul(low.a, low.b), { relative: 2e-3, absolute: 2e-3 });
    }
  });

  it.each([
    ['a directory of a rank as upstream lays it out', 'r_3'],
    ['one file with a dict', 'all.pt'],
  ])('are the same numbers as in safetensors: %s', async (_, path) => {
    const host = fakeHost();
    const wanted = await loadPredictors(host, SAFETENSORS);
    const before = tf.memory().numTensors;
    const found = await loadPredictors(host, join(fixtures, path), { rank: 3 });
    expect(values(found)).toEqual(values(wanted));
    expect(found.rank).toBe(3);
    found.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('are used where they are, and completed in safetensors beside them', async () => {
    const host = fakeHost();
    await cp(join(fixtures, 'r_3'), dir, { recursive: true });
    const built = new Set<string>();
    const load = (layers: ReadonlyMap<number, { mlp: boolean; selfAttn: boolean }>) =>
      loadOrBuildPredictors(host, { dir, rank: 3, layers, dtype: 'F32', onProgress: ({ name }) => built.add(name) });
    const found = await load(LAYERS);
    expect(built.size).toBe(0);
    expect((await readdir(dir)).sort()).toEqual(['attn', 'mlp']);
    const more = await load(new Map([...LAYERS, [0, { mlp: true, selfAttn: false }]]));
    expect([...built].every((name) => name.includes('layers.0.mlp'))).toBe(true);
    expect(built.size).toBeGreaterThan(0);
    for (const [name, { a }] of found.projections) {
      expect(more.projections.get(name)!.a.dataSync(), name).toEqual(a.dataSync());
    }
    const file = await openSafetensors(join(dir, 'model.safetensors'));
    expect(file.names).toContain('model.layers.2.mlp.gate_proj.w1');
    await file.close();
  });

  it('refuses another rank, another model, and one name twice', async () => {
    const host = fakeHost();
    await expect(loadPredictors(host, join(fixtures, 'r_3'), { rank: 4 })).rejects.toThrow('rank');
    await expect(loadPredictors(fakeHost({ seed: 2 }), join(fixtures, 'r_3'))).rejects.toThrow('nothing in common');
    await cp(join(fixtures, 'r_3'), join(dir, 'r_3'), { recursive: true });
    await copyFile(join(fixtures, 'all.pt'), join(dir, 'all.pt'));
    await expect(loadPredictors(host, dir)).rejects.toThrow('in more than one file');
  });
});
