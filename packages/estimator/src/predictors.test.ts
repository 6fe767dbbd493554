import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openSafetensors, openSafetensorsModel } from '@spft/safetensors/node';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { fakeHost } from '../test/fake-host.js';
import { fingerprintOf } from './fingerprint.js';
import { buildPredictor } from './low-rank.js';
import { type BuildProgress, buildPredictors, predictedProjections, predictorBytes } from './predictors.js';

const LAYERS = new Map([
  [0, { mlp: 0.5, selfAttn: 0 }],
  [2, { mlp: 0, selfAttn: 0.25 }],
]);

describe.each(TEST_BACKENDS)('buildPredictors() on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('builds one for each projection of a sparse module, from its weight', async () => {
    const host = fakeHost();
    const predictors = await buildPredictors(host, LAYERS, 3);
    expect([...predictors.projections.keys()]).toEqual([
      'model.layers.0.mlp.gate_proj',
      'model.layers.0.mlp.up_proj',
      'model.layers.2.self_attn.q_proj',
      'model.layers.2.self_attn.k_proj',
      'model.layers.2.self_attn.v_proj',
    ]);
    expect(predictors.layers.get(0)).toMatchObject({ selfAttn: null });
    expect(predictors.layers.get(2)).toMatchObject({ mlp: null });
    const { a, b } = predictors.layers.get(2)!.selfAttn!.k;
    const alone = await buildPredictor(host.frozenWeight('model.layers.2.self_attn.k_proj'), 3);
    expectAllClose('k', tf.matMul(a, b), tf.matMul(alone.a, alone.b));
    expect(predictors.fingerprint).toEqual(await fingerprintOf(host));
  });

  it('tells how far it is', async () => {
    const seen: BuildProgress[] = [];
    await buildPredictors(fakeHost(), LAYERS, 3, { onProgress: (progress) => seen.push(progress) });
    expect(seen.map(({ done }) => done)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(seen.every(({ total }) => total === 5)).toBe(true);
    expect(seen[1]?.name).toBe('model.layers.0.mlp.up_proj');
  });

  it('owns what it built, and leaves nothing when a projection fails', async () => {
    const host = fakeHost();
    await expectNoLeak(() => buildPredictors(host, LAYERS, 3), 10);
    await expectNoLeak(async () => (await buildPredictors(host, LAYERS, 3)).dispose());
    // k and v have 8 output channels, gate and up 12 inputs: rank 9 fails at the fourth.
    await expectNoLeak(async () => {
      await expect(buildPredictors(host, LAYERS, 9)).rejects.toThrow(
        'model.layers.2.self_attn.k_proj: predictor: rank must be a whole number from 1 to 8',
      );
    });
  });
});

describe('fingerprintOf()', () => {
  it('tells weights and shapes apart, and not float32 from bf16', async () => {
    await useBackend('cpu');
    const one = await fingerprintOf(fakeHost());
    const same = await fingerprintOf(fakeHost());
    const other = await fingerprintOf(fakeHost({ seed: 2 }));
    const wider = await fingerprintOf(fakeHost({ intermediateSize: 24 }));
    expect(same).toEqual(one);
    expect(other.shape).toBe(one.shape);
    expect(other.weights).not.toBe(one.weights);
    expect(wider.shape).toBe('3 layers, hidden 12, intermediate 24, heads 4/2 of 4');
    const rounded = fakeHost();
    const exact = rounded.frozenWeight.bind(rounded);
    const bits = new Uint32Array(1);
    const value = new Float32Array(bits.buffer);
    rounded.frozenWeight = (name) => {
      const data = exact(name)
        .dataSync()
        .map((v) => {
          value[0] = v;
          bits[0] = (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) & 0xffff0000;
          return value[0]!;
        });
      return tf.tensor2d(data, exact(name).shape);
    };
    expect(await fingerprintOf(rounded)).toEqual(one);
  });
});

describe('predictorBytes()', () => {
  const llama3 = { hiddenSize: 4096, intermediateSize: 14336, headLayout: { heads: 32, kvHeads: 8, headDim: 128 } };
  const all = new Map(Array.from({ length: 32 }, (_, layer) => [layer, { mlp: true, selfAttn: true }]));

  it('is about 30 MB for Llama-3-8B at rank 8 in bf16', () => {
    // A layer: gate and up 8·(4096 + 14336), q 8·(4096 + 4096), k and v 8·(4096 + 1024).
    const elements = 32 * 8 * (2 * (4096 + 14336) + (4096 + 4096) + 2 * (4096 + 1024));
    expect(predictorBytes(llama3, all, 8, 2)).toBe(2 * elements);
    expect(2 * elements).toBe(28_311_552);
  });

  it('counts sparse modules alone', () => {
    expect(predictedProjections(new Map([[1, { mlp: 0, selfAttn: 0 }]]))).toEqual([]);
    expect(predictorBytes(llama3, new Map([[1, { mlp: 0.9, selfAttn: 0 }]]), 8, 2)).toBe(2 * 2 * 8 * (4096 + 14336));
  });
});

const golden = process.env.SPFT_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));
const seed0 = `${golden}/golden/seed0`;

describe.skipIf(!existsSync(seed0)).each(TEST_BACKENDS)(
  'buildPredictor() on %s, golden models (skipped where ../shared is absent)',
  (backend) => {
    beforeAll(() => useBackend(backend));

    it.each(['gqa', 'mha', 'llama31'])(
      'has the A·B of the original within 1e-3 for %s, exact and Krylov',
      async (model) => {
        const weights = await openSafetensorsModel(`${seed0}/${model}/model`);
        const expected = await openSafetensors(`${seed0}/${model}/sparse/svd_8_corrected_split.safetensors`);
        const matrix = async (file: typeof weights, name: string) => {
          const { shape } = file.entry(name);
          return tf.tensor(await file.float32(name), [...shape]);
        };
        let checked = 0;
        let worst = 0;
        const check = async (name: string, a: tf.Tensor, b: tf.Tensor) => {
          const weight = (await matrix(weights, `model.${name}.weight`)) as tf.Tensor2D;
          for (const exactUpTo of [256, 0]) {
            const found = await buildPredictor(weight, 8, { exactUpTo });
            const [x, y] = [tf.matMul(found.a, found.b), tf.matMul(a, b)];
            worst = Math.max(worst, tf.div(tf.norm(tf.sub(x, y)), tf.norm(y)).dataSync()[0]!);
            checked++;
          }
        };
        for (const name of expected.names.filter((n) => n.endsWith('_low_rank_a'))) {
          const [a, b] = [await matrix(expected, name), await matrix(expected, name.replace(/a$/, 'b'))];
          const layer = /layers\.\d+/.exec(name)![0];
          const projection = /self_attn_([qkv])/.exec(name)?.[1];
          if (projection) {
            await check(`${layer}.self_attn.${projection}_proj`, a, b);
          } else {
            for (const [n, part] of ['gate', 'up'].entries()) {
              await check(`${layer}.mlp.${part}_proj`, tf.gather(a, n), tf.gather(b, n));
            }
          }
        }
        await Promise.all([weights.close(), expected.close()]);
        expect(checked).toBe(24);
        expect(worst).toBeLessThan(1e-3);
      },
    );
  },
);
