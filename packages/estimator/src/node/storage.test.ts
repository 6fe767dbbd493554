import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSafetensors, writeSafetensors } from '@spft/safetensors/node';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { useBackend } from '../../../../test/support/backends.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { fakeHost } from '../../test/fake-host.js';
import { calibratedPredictors } from '../calibrated-predictor.js';
import { buildPredictors, type LowRank, type Predictors } from '../predictors.js';
import { loadOrBuildPredictors, loadPredictors, savePredictors } from './storage.js';

const LAYERS = new Map([
  [0, { mlp: true, selfAttn: false }],
  [2, { mlp: true, selfAttn: true }],
]);

let dir: string;
beforeEach(async () => {
  await useBackend('cpu');
  dir = await mkdtemp(join(tmpdir(), 'spft-predictors-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const product = ({ a, b }: LowRank) => tf.matMul(a, b);
function expectSame(found: Predictors, expected: Predictors, relative: number) {
  expect([...found.projections.keys()].sort()).toEqual([...expected.projections.keys()].sort());
  for (const [name, low] of expected.projections) {
    expectAllClose(name, product(found.projections.get(name)!), product(low), { relative, absolute: 0 });
  }
}

describe('savePredictors()', () => {
  it('writes the hub layout: one safetensors file and a config with the rank', async () => {
    const predictors = await buildPredictors(fakeHost(), LAYERS, 3);
    await savePredictors(predictors, dir);
    expect((await readdir(dir)).sort()).toEqual(['config.json', 'model.safetensors']);
    expect(JSON.parse(await readFile(join(dir, 'config.json'), 'utf8'))).toEqual({ predictor_rank: 3 });
    const file = await openSafetensors(join(dir, 'model.safetensors'));
    expect(file.names).toContain('model.layers.2.self_attn.v_proj.w2');
    expect(file.entry('model.layers.0.mlp.gate_proj.w1')).toMatchObject({ dtype: 'BF16', shape: [12, 3] });
    expect(file.entry('model.layers.0.mlp.gate_proj.w2')).toMatchObject({ dtype: 'BF16', shape: [3, 20] });
    await file.close();
  });

  it('are not read back where a value is no number', async () => {
    const host = fakeHost();
    await savePredictors(await buildPredictors(host, LAYERS, 3), dir);
    const path = join(dir, 'model.safetensors');
    const file = await openSafetensors(path);
    const tensors: Record<string, { dtype: 'F32'; shape: number[]; data: Float32Array }> = {};
    for (const name of file.names) {
      tensors[name] = { dtype: 'F32', shape: [...file.entry(name).shape], data: await file.float32(name) };
    }
    const metadata = { ...file.metadata };
    await file.close();
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      tensors['model.layers.0.mlp.up_proj.w2']!.data[7] = value;
      await writeSafetensors(path, tensors, metadata);
      await expectNoLeak(async () => {
        await expect(loadPredictors(host, dir)).rejects.toThrow(
          new RegExp(`'model.layers.0.mlp.up_proj.w2' has ${value} as value 7 of 60; build them again`),
        );
      });
    }
  });

  it('keeps the other keys of a config that is there', async () => {
    await writeFile(join(dir, 'config.json'), '{"base_model":"x","predictor_rank":8}');
    await savePredictors(await buildPredictors(fakeHost(), LAYERS, 3), dir);
    expect(JSON.parse(await readFile(join(dir, 'config.json'), 'utf8'))).toEqual({
      base_model: 'x',
      predictor_rank: 3,
    });
  });

  it('does not overwrite the weights of a model', async () => {
    const path = join(dir, 'model.safetensors');
    await writeSafetensors(path, { 'lm_head.weight': { dtype: 'F32', shape: [1], data: Float32Array.of(1) } });
    const before = await readFile(path);
    const predictors = await buildPredictors(fakeHost(), LAYERS, 3);
    await expect(savePredictors(predictors, dir)).rejects.toThrow(
      'holds weights that are no predictors (lm_head.weight)',
    );
    expect(await readFile(path)).toEqual(before);
  });
});

describe('loadPredictors()', () => {
  it.each([
    ['F32', 0],
    ['BF16', 2e-2],
  ] as const)('gives back what was saved as %s', async (dtype, relative) => {
    const host = fakeHost();
    const predictors = await buildPredictors(host, LAYERS, 3);
    await savePredictors(predictors, dir, { dtype });
    const loaded = await loadPredictors(host, dir, { rank: 3 });
    expectSame(loaded, predictors, relative || 1e-7);
    expect(loaded.fingerprint).toEqual(predictors.fingerprint);
    await expectNoLeak(async () => (await loadPredictors(host, dir)).dispose());
  });

  it('reads names of the first release and factors stored the other way round', async () => {
    const host = fakeHost();
    const predictors = await buildPredictors(host, LAYERS, 3);
    const { mlp, selfAttn } = predictors.layers.get(2)!;
    const stack = (x: tf.Tensor, y: tf.Tensor) => tensor(tf.stack([x, y]));
    const tensor = (t: tf.Tensor) => ({ dtype: 'F32' as const, shape: t.shape, data: t.dataSync() as Float32Array });
    const legacy = join(dir, 'legacy.safetensors');
    await writeSafetensors(legacy, {
      'layers.2.mlp_low_rank_a': stack(mlp!.gate.a, mlp!.up.a),
      'layers.2.mlp_low_rank_b': stack(mlp!.gate.b, mlp!.up.b),
      'predictor.layers.2.self_attn_q_low_rank_a': tensor(selfAttn!.q.a),
      'predictor.layers.2.self_attn_q_low_rank_b': tensor(selfAttn!.q.b),
      'model.layers.2.self_attn.k_proj.w1': tensor(tf.transpose(selfAttn!.k.a)),
      'model.layers.2.self_attn.k_proj.w2': tensor(tf.transpose(selfAttn!.k.b)),
    });
    const loaded = await loadPredictors(host, legacy);
    expect(loaded.layers.get(2)?.mlp).not.toBeNull();
    for (const name of ['mlp.gate', 'mlp.up', 'self_attn.q', 'self_attn.k'].map((n) => `model.layers.2.${n}_proj`)) {
      expectAllClose(name, product(loaded.projections.get(name)!), product(predictors.projections.get(name)!));
    }
  });

  it('refuses those of another rank, shape, model, or of other weights with the same sizes', async () => {
    const host = fakeHost();
    await savePredictors(await buildPredictors(host, LAYERS, 3), dir);
    const wrong = async (other: typeof host, rank: number | undefined, message: string) => {
      const before = tf.memory().numTensors;
      await expect(loadPredictors(other, dir, { rank })).rejects.toMatchObject({
        code: 'SPFT_PREDICTOR',
        message: expect.stringContaining(message),
      });
      expect(tf.memory().numTensors).toBe(before);
    };
    await wrong(host, 4, 'wanted rank 4, found rank 3');
    await wrong(
      fakeHost({ intermediateSize: 24 }),
      3,
      'gate_proj wants factors [12,r] and [r,24], found [12,3] and [3,20]',
    );
    await wrong(fakeHost({ layerCount: 2 }), 3, 'model.layers.2.mlp.gate_proj, but the model has 2 layers');
    await wrong(fakeHost({ layerCount: 4 }), 3, 'made for a model with 3 layers');
    await wrong(fakeHost({ seed: 2 }), 3, 'made from other weights of the same sizes');
  });

  it('recognises predictors of other weights where the file does not say', async () => {
    const host = fakeHost();
    const predictors = await buildPredictors(host, LAYERS, 3);
    const { a, b } = predictors.projections.get('model.layers.0.mlp.gate_proj')!;
    const path = join(dir, 'bare.safetensors');
    await writeSafetensors(path, {
      'model.layers.0.mlp.gate_proj.w1': { dtype: 'BF16', shape: a.shape, data: a.dataSync() as Float32Array },
      'model.layers.0.mlp.gate_proj.w2': { dtype: 'BF16', shape: b.shape, data: b.dataSync() as Float32Array },
    });
    expect((await loadPredictors(host, path)).rank).toBe(3);
    await expect(loadPredictors(fakeHost({ seed: 2 }), path)).rejects.toThrow(
      "predictor of model.layers.0.mlp.gate_proj has nothing in common with the model's weight",
    );
  });

  it('refuses pickles, other files, half a predictor and a broken file', async () => {
    const host = fakeHost();
    await writeFile(join(dir, 'layers.3.mlp_low_rank_a.pt'), 'pickle');
    for (const place of [dir, join(dir, 'layers.3.mlp_low_rank_a.pt')]) {
      await expect(loadPredictors(host, place)).rejects.toThrow(
        'layers.3.mlp_low_rank_a.pt: is no archive as torch.save',
      );
    }
    await expect(loadPredictors(host, join(dir, 'predictors.bin'))).rejects.toThrow('is a pickle');
    await rm(join(dir, 'layers.3.mlp_low_rank_a.pt'));
    await expect(loadPredictors(host, join(dir, 'nowhere'))).rejects.toThrow('holds no predictors; build them');
    const path = join(dir, 'half.safetensors');
    const one = { dtype: 'F32', shape: [1], data: Float32Array.of(1) } as const;
    await writeSafetensors(path, { 'model.layers.0.mlp.up_proj.w1': one });
    await expect(loadPredictors(host, path)).rejects.toThrow('and lacks the other');
    await writeSafetensors(path, { other: one });
    await expect(loadPredictors(host, path)).rejects.toThrow('holds no predictors; they are tensors named');
    await writeFile(path, 'not safetensors');
    await expect(loadPredictors(host, path)).rejects.toMatchObject({ code: 'SPFT_SAFETENSORS' });
  });
});

describe('loadOrBuildPredictors()', () => {
  it('builds once, then finds: the same numbers both times', async () => {
    const host = fakeHost();
    let steps = 0;
    const load = () =>
      loadOrBuildPredictors(host, { dir: join(dir, 'new'), rank: 3, layers: LAYERS, onProgress: () => steps++ });
    const built = await load();
    expect(steps).toBe(8);
    const found = await load();
    expect(steps).toBe(8);
    expectSame(found, built, 0);
  });

  it('adds what is missing to what is there', async () => {
    const host = fakeHost();
    const names: string[] = [];
    await loadOrBuildPredictors(host, { dir, rank: 3, layers: new Map([[0, { mlp: true, selfAttn: false }]]) });
    const all = await loadOrBuildPredictors(host, {
      dir,
      rank: 3,
      layers: LAYERS,
      onProgress: (p) => names.push(p.name),
    });
    expect(all.projections.size).toBe(7);
    expect(names.some((name) => name.startsWith('model.layers.0.'))).toBe(false);
    await expectNoLeak(async () => (await loadOrBuildPredictors(host, { dir, rank: 3, layers: LAYERS })).dispose());
  });

  it('covers every layer unless told otherwise', async () => {
    const all = await loadOrBuildPredictors(fakeHost(), { dir, rank: 2 });
    expect(all.projections.size).toBe(3 * 5);
  });

  it('leaves no tensor and no file behind when building fails', async () => {
    const host = fakeHost();
    const target = join(dir, 'failed');
    await expectNoLeak(async () => {
      await expect(loadOrBuildPredictors(host, { dir: target, rank: 9 })).rejects.toThrow('rank must be');
    });
    expect(existsSync(target)).toBe(false);
  });

  it('overwrites nothing of another model', async () => {
    await loadOrBuildPredictors(fakeHost(), { dir, rank: 3 });
    const before = await stat(join(dir, 'model.safetensors'));
    await expect(loadOrBuildPredictors(fakeHost({ seed: 2 }), { dir, rank: 3 })).rejects.toThrow(
      'made from other weights',
    );
    await expect(loadOrBuildPredictors(fakeHost(), { dir, rank: 4 })).rejects.toThrow('wanted rank 4, found rank 3');
    expect((await stat(join(dir, 'model.safetensors'))).mtimeMs).toBe(before.mtimeMs);
  });
});

describe('calibrated predictors on disk', () => {
  const kind = { calibrated: true, norms: true };
  const layers = new Map([[1, { mlp: true, selfAttn: true }]]);
  const calibrated = async (host: ReturnType<typeof fakeHost>) => {
    const inputs = tf.tensor2d(
      Array.from({ length: 5 * 12 }, (_, i) => Math.sin(i)),
      [5, 12],
    );
    const norm = (n: number) => tf.tensor1d(Array.from({ length: n }, (_, i) => i + 1));
    return calibratedPredictors(host, layers, 3, {
      ...{ tokens: 40, data: 'mine' },
      inputs: new Map([
        ['model.layers.1.mlp', inputs],
        ['model.layers.1.self_attn', inputs],
      ]),
      norms: new Map([
        ['model.layers.1.mlp', norm(20)],
        ['model.layers.1.self_attn.q_proj', norm(16)],
        ['model.layers.1.self_attn.k_proj', norm(8)],
        ['model.layers.1.self_attn.v_proj', norm(8)],
      ]),
      dispose() {},
    });
  };

  it('are read back with mode, data and norms, and the directory says the mode', async () => {
    const host = fakeHost();
    const made = await calibrated(host);
    await savePredictors(made, dir);
    const found = await loadOrBuildPredictors(host, { dir, rank: 3, layers, kind });
    expect([found.mode, found.calibration]).toEqual(['calibrated_3_static', { tokens: 40, data: 'mine' }]);
    expectAllClose('norm', found.norms.get('model.layers.1.mlp')!, made.norms.get('model.layers.1.mlp')!);
    expectSame(found, made, 1e-2);
    expect(JSON.parse(await readFile(join(dir, 'config.json'), 'utf8'))).toEqual({
      ...{ predictor_rank: 3, predictor_mode: 'calibrated_3_static' },
      ...{ calibration_tokens: 40, calibration_data: 'mine' },
    });
  });

  it('are not taken for those of the weights, nor the other way round', async () => {
    const host = fakeHost();
    await savePredictors(await calibrated(host), dir);
    await expect(loadOrBuildPredictors(host, { dir, rank: 3, layers })).rejects.toThrow(
      'wanted predictors of the weights alone (svd), found those of mode calibrated_3_static',
    );
    await savePredictors(await buildPredictors(host, layers, 3), dir);
    await expect(loadOrBuildPredictors(host, { dir, rank: 3, layers, kind })).rejects.toThrow(
      'wanted predictors fitted to data (calibrated), found those of mode svd_3',
    );
  });

  it('of another model are refused', async () => {
    await savePredictors(await calibrated(fakeHost()), dir);
    await expect(loadOrBuildPredictors(fakeHost({ seed: 2 }), { dir, rank: 3, layers, kind })).rejects.toThrow(
      'made from other weights',
    );
  });
});
