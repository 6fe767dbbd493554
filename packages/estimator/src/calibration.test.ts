/** @file Predictors fitted to data: what they minimise, what bad data get, and that nothing leaks. */
import { packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../test/support/allclose.js';
import { useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { type FakeHost, fakeHost } from '../test/fake-host.js';
import { buildCalibratedPredictor } from './calibrated-predictor.js';
import { type CalibrationData, calibrate } from './calibration.js';
import { buildPredictor } from './low-rank.js';
import { makePredictors } from './make-predictors.js';
import { randomNormals } from './random.js';
import type { AttentionContext, MlpContext } from './types.js';

const LAYERS = new Map([
  [0, { mlp: true, selfAttn: false }],
  [2, { mlp: true, selfAttn: true }],
]);

/** Inputs in which one direction is a hundred times as strong as the others. */
function skewed(rows: number, inputs: number, seed = 5): tf.Tensor2D {
  const values = randomNormals(rows * inputs, seed);
  return tf.tensor2d(
    values.map((value, i) => (i % inputs === 3 ? 100 * value : value)),
    [rows, inputs],
  );
}

/** Runs a fake host's blocks over `rows` tokens a step, the first `dense` of them dense. */
function dataOf(host: FakeHost, { steps = 3, rows = 10, dense = 4, data = 'a' } = {}): CalibrationData {
  return {
    ...{ steps, data },
    forward(step) {
      const layout = packTokens({ lengths: [rows], dense: (token) => token < dense });
      const plan = host.plan!;
      tf.tidy(() => {
        const input = skewed(rows, host.hiddenSize, step);
        for (const [layer, { mlp, selfAttn }] of plan.layers) {
          const context = { layer, sparsity: 0.5, input, layout, seed: 0 };
          const product = (name: string) =>
            tf.matMul(input, host.frozenWeight(`model.layers.${layer}.${name}_proj`), false, true) as tf.Tensor2D;
          const mlpContext: MlpContext = {
            ...context,
            channels: host.intermediateSize,
            activations: product('mlp.up'),
          };
          const attention: AttentionContext = {
            ...context,
            heads: host.headLayout,
            ...{ q: product('self_attn.q'), k: product('self_attn.k'), v: product('self_attn.v') },
          };
          if (mlp > 0) expect(plan.estimator.selectMlp(mlpContext)).toBeNull();
          if (selfAttn > 0) expect(plan.estimator.selectAttention(attention).q).toBeNull();
        }
      });
    },
  };
}

describe('buildCalibratedPredictor()', () => {
  beforeAll(() => useBackend('cpu'));

  it('is the best of its rank on the inputs, in float64 and by the Krylov method; svd is not', async () => {
    const [weight, inputs] = [tf.tensor2d(randomNormals(20 * 12, 1), [20, 12]), skewed(60, 12)];
    const target = tf.matMul(inputs, weight, false, true);
    const missed = ({ a, b }: { a: tf.Tensor2D; b: tf.Tensor2D }) =>
      tf.norm(tf.sub(target, tf.matMul(tf.matMul(inputs, a), b))).dataSync()[0]!;
    // What no A·B of rank 3 can be nearer than: the singular values of the outputs from the fourth on.
    const truncated = await buildPredictor(tf.transpose(target) as tf.Tensor2D, 3);
    const least = tf.norm(tf.sub(target, tf.matMul(truncated.a, truncated.b))).dataSync()[0]!;
    for (const options of [{}, { exactUpTo: 1 }]) {
      expect(missed(await buildCalibratedPredictor(weight, inputs, 3, options))).toBeLessThan(least * 1.002);
    }
    expect(missed(await buildPredictor(weight, 3))).toBeGreaterThan(least * 1.2);
  });

  it('agrees with the whitened decomposition C^(-1/2)·U·S·Vᵀ', async () => {
    // Orthogonal inputs of norms d: C^(1/2) is diag(d), so the decomposition is that of diag(d)·Wᵀ.
    const d = [5, 1, 0.2, 2];
    const weight = tf.tensor2d(randomNormals(6 * 4, 2), [6, 4]);
    const { a, b } = await buildCalibratedPredictor(weight, tf.diag(tf.tensor1d(d)) as tf.Tensor2D, 2);
    const scaled = await buildPredictor(tf.mul(weight, tf.tensor1d(d)) as tf.Tensor2D, 2);
    const whitened = tf.div(tf.matMul(scaled.a, scaled.b), tf.reshape(tf.tensor1d(d), [4, 1]));
    expectAllClose('A·B', tf.matMul(a, b), whitened, { relative: 1e-4, absolute: 1e-5 });
  });

  it('refuses fewer tokens than the rank', async () => {
    const weight = tf.zeros([20, 12]) as tf.Tensor2D;
    await expect(buildCalibratedPredictor(weight, skewed(2, 12), 3)).rejects.toMatchObject({
      code: 'SPFT_PREDICTOR',
      message: expect.stringContaining('2 tokens are too few for predictors of rank 3'),
    });
  });

  it("refuses a rank beyond the weight's, which outputs would have", async () => {
    const weight = tf.randomNormal([20, 12], 0, 1, 'float32', 1) as tf.Tensor2D;
    await expect(buildCalibratedPredictor(weight, skewed(30, 12), 13)).rejects.toThrow(
      'rank must be a whole number from 1 to 12 for a weight [20,12], got 13',
    );
  });
});

describe('calibrate()', () => {
  beforeAll(() => useBackend('cpu'));

  it('records sparse rows alone, evenly up to the limit, and the root mean square of each channel', async () => {
    const host = fakeHost();
    const recorded = await calibrate(host, LAYERS, dataOf(host), { norms: true, rows: 9 });
    expect(recorded.tokens).toBe(18);
    expect([...recorded.inputs.keys()]).toEqual([
      'model.layers.0.mlp',
      'model.layers.2.mlp',
      'model.layers.2.self_attn',
    ]);
    expect(recorded.inputs.get('model.layers.0.mlp')!.shape).toEqual([9, 12]);
    const rows = tf.concat([0, 1, 2].map((step) => tf.slice(skewed(10, 12, step), [4, 0], [6, 12])));
    const up = tf.matMul(rows, host.frozenWeight('model.layers.2.mlp.up_proj'), false, true);
    expectAllClose('norms', recorded.norms.get('model.layers.2.mlp')!, tf.sqrt(tf.mean(tf.square(up), 0)));
    expect([...recorded.norms.keys()]).toContain('model.layers.2.self_attn.k_proj');
    expect(host.plan).toBeNull();
  });

  it('leaves no tensor behind but the record, whatever happens', async () => {
    const host = fakeHost();
    await expectNoLeak(async () => (await calibrate(host, LAYERS, dataOf(host), { norms: true })).dispose());
    await expectNoLeak(async () => {
      const failing = {
        ...dataOf(host),
        forward: (step: number) => (step > 0 ? Promise.reject(new Error('x')) : dataOf(host).forward(step)),
      };
      await expect(calibrate(host, LAYERS, failing)).rejects.toThrow('x');
      expect(host.plan).toBeNull();
    });
  });

  it('refuses data in which nothing is sparse', async () => {
    const host = fakeHost();
    await expectNoLeak(() =>
      expect(calibrate(host, LAYERS, dataOf(host, { dense: 10 }))).rejects.toThrow('no token that would be sparse'),
    );
  });
});

describe('makePredictors()', () => {
  beforeAll(() => useBackend('cpu'));
  const kind = { calibrated: true, norms: true };

  it('fits them to data and says so; static has norms alone', async () => {
    const host = fakeHost();
    await expectNoLeak(async () => {
      const made = await makePredictors({ host, layers: LAYERS, rank: 2, kind, calibration: dataOf(host) });
      expect(made.mode).toBe('calibrated_2_static');
      expect(made.calibration).toEqual({ tokens: 18, data: 'a' });
      made.dispose();
      const norms = await makePredictors({ host, layers: LAYERS, rank: 0, kind, calibration: dataOf(host) });
      expect([norms.mode, norms.projections.size, norms.norms.size]).toEqual(['static', 0, 5]);
      norms.dispose();
    });
  });

  it("refuses a rank beyond a projection's before it asks for data", async () => {
    const host = fakeHost();
    const never = { ...dataOf(host), forward: () => Promise.reject(new Error('calibrated')) };
    await expect(makePredictors({ host, layers: LAYERS, rank: 9, kind, calibration: never })).rejects.toThrow(
      'model.layers.2.self_attn.k_proj: predictor: rank must be a whole number from 1 to 8 for a weight [8,12], got 9',
    );
  });

  it('says that data are wanted where there are none', async () => {
    await expect(makePredictors({ host: fakeHost(), layers: LAYERS, rank: 2, kind })).rejects.toThrow(
      'fitted to data, and none are given',
    );
  });
});
