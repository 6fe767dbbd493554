/** @file What replaces dropped channels: what it is the best of, what bad data get, and that nothing leaks. */
import { packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../test/support/allclose.js';
import { useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { type FakeHost, fakeHost } from '../test/fake-host.js';
import type { CalibrationData } from './calibration.js';
import {
  disposeCompensation,
  disposeCompensationTable,
  fitCompensation,
  fitCompensationLevels,
} from './compensation.js';
import { randomNormals } from './random.js';
import { getSpftModel } from './spft-model.js';
import { symmetricEigen } from './symmetric-eigen.js';
import type { SparsityEstimator } from './types.js';

const PLANNED = {
  layers: new Map([
    [0, { mlp: 0, selfAttn: 0.5 }],
    [1, { mlp: 0.75, selfAttn: 0.5 }],
  ]),
  compat: 'corrected',
} as const;

/** Keeps channels 3 to 7 of 20. */
const fixed: SparsityEstimator = {
  ...{ mode: 'fixed', needs: 'input', applies: 'gather' },
  selectMlp: ({ channels }) => ({ indices: tf.tensor1d([3, 4, 5, 6, 7], 'int32'), kept: 5, total: channels }),
  selectAttention: () => ({ q: null, k: null, v: null, o: null }),
  dispose() {},
};

const inputsOf = (rows: number, host: FakeHost, seed: number) =>
  tf.add(tf.tensor2d(randomNormals(rows * host.hiddenSize, seed), [rows, host.hiddenSize]), 0.5) as tf.Tensor2D;

/** [T, I] of inputs: linear, so that a map can be all of what is dropped. */
const activationsOf = (input: tf.Tensor2D, host: FakeHost) =>
  tf.add(tf.matMul(input, host.frozenWeight('model.layers.1.mlp.up_proj'), false, true), 1) as tf.Tensor2D;

/** A down_proj of which `rank` output directions are reached. */
function downOf(host: FakeHost, rank = host.hiddenSize): tf.Tensor2D {
  const [H, I] = [host.hiddenSize, host.intermediateSize];
  return tf.matMul(
    tf.tensor2d(randomNormals(H * rank, 8), [H, rank]),
    tf.tensor2d(randomNormals(rank * I, 9), [rank, I]),
  );
}

function dataOf(host: FakeHost, { rank = 12, rows = 200, dense = 4 } = {}): CalibrationData {
  return {
    ...{ steps: 2, data: 'a' },
    forward: (step) =>
      tf.tidy(() => {
        const [input, layout] = [inputsOf(rows, host, step), packTokens({ lengths: [rows], dense: (t) => t < dense })];
        const more = { activations: activationsOf(input, host), downWeight: downOf(host, rank) };
        const context = { layer: 1, sparsity: 0.75, input, layout, seed: 0, channels: host.intermediateSize, ...more };
        expect([...host.plan!.layers.keys()]).toEqual([1]);
        expect(host.plan!.estimator.selectMlp(context)).toBeNull();
      }),
  };
}

/** How much of what is dropped on new inputs the map misses, of its squares. */
async function missedBy(host: FakeHost, rank: number, ofRank: number): Promise<number> {
  const plan = { ...PLANNED, estimator: fixed };
  const fitted = await fitCompensation(host, plan, dataOf(host, { rank: ofRank }), { rank });
  const { down, up, bias } = fitted.get(1)!;
  expect([[...fitted.keys()], down.shape, up.shape, bias.shape]).toEqual([[1], [rank, 12], [12, rank], [12]]);
  return tf.tidy(() => {
    const input = inputsOf(50, host, 77);
    const kept = tf.tensor1d(Array.from({ length: 20 }, (_, c) => Number(c >= 3 && c <= 7)));
    const dropped = tf.matMul(
      tf.mul(activationsOf(input, host), tf.sub(1, kept)) as tf.Tensor2D,
      downOf(host, ofRank),
      false,
      true,
    );
    const estimate = tf.add(tf.matMul(tf.matMul(input, down, false, true), up, false, true), bias);
    const share = tf.div(
      tf.sum(tf.square(tf.sub(dropped, estimate))),
      tf.sum(tf.square(tf.sub(dropped, tf.mean(dropped, 0)))),
    );
    return share.dataSync()[0]!;
  });
}

describe('fitCompensation()', () => {
  beforeAll(() => useBackend('cpu'));

  it('finds what dropped channels give where a map of its rank can, on inputs that it was not fitted to', async () => {
    const host = fakeHost();
    expect(await missedBy(host, 12, 12)).toBeLessThan(1e-3);
    expect(await missedBy(host, 2, 2)).toBeLessThan(1e-3);
    const one = await missedBy(host, 1, 2);
    expect(one).toBeGreaterThan(0.02);
    expect(one).toBeLessThan(0.6);
    expect(host.plan).toBeNull();
  });

  it('is near the best of its rank where outputs have many directions', async () => {
    const host = fakeHost({ hiddenSize: 80, intermediateSize: 100 });
    // Directions that become weaker by and by.
    const down = tf.mul(
      tf.tensor2d(randomNormals(80 * 100, 4), [80, 100]),
      tf.tensor2d(
        Array.from({ length: 80 }, (_, i) => 1 / (1 + i)),
        [80, 1],
      ),
    ) as tf.Tensor2D;
    const droppedOf = (x: tf.Tensor2D) => {
      const gone = tf.tensor1d(Array.from({ length: 100 }, (_, c) => Number(c < 3 || c > 7)));
      return tf.matMul(tf.mul(activationsOf(x, host), gone) as tf.Tensor2D, down, false, true) as tf.Tensor2D;
    };
    const data: CalibrationData = {
      steps: 1,
      forward: () =>
        tf.tidy(() => {
          const input = inputsOf(900, host, 1);
          const layout = packTokens({ lengths: [900], dense: () => false });
          const more = { activations: activationsOf(input, host), downWeight: down, channels: 100 };
          host.plan!.estimator.selectMlp({ layer: 1, sparsity: 0.95, input, layout, seed: 0, ...more });
        }),
    };
    const fitted = await fitCompensation(host, { ...PLANNED, estimator: fixed }, data, { rank: 8 });
    const { down: low, up, bias } = fitted.get(1)!;
    const x = inputsOf(600, host, 5);
    const y = droppedOf(x);
    const centred = tf.sub(y, tf.mean(y, 0)) as tf.Tensor2D;
    const { values } = symmetricEigen(tf.matMul(centred, centred, true, false).dataSync(), 80);
    const least = values.slice(8).reduce((sum, value) => sum + value, 0);
    const estimate = tf.add(tf.matMul(tf.matMul(x, low, false, true), up, false, true), bias);
    const missed = tf.sum(tf.square(tf.sub(y, estimate))).dataSync()[0]!;
    expect(missed).toBeLessThan(1.06 * least);
    expect(least).toBeGreaterThan(0.02 * values.reduce((sum, value) => sum + value, 0));
    // Orthonormal.
    expectAllClose('upᵀ·up', tf.matMul(up, up, true, false), tf.eye(8), { relative: 0, absolute: 1e-4 });
  });

  it('leaves no tensor behind but the maps, whatever happens', async () => {
    const host = fakeHost();
    const plan = { ...PLANNED, estimator: fixed };
    await expectNoLeak(async () => disposeCompensation(await fitCompensation(host, plan, dataOf(host), { rank: 3 })));
    await expectNoLeak(async () => {
      await expect(fitCompensation(host, plan, dataOf(host, { rows: 5 }), { rank: 3 })).rejects.toThrow(
        '2 tokens are too few for rank 3',
      );
    });
    await expectNoLeak(async () => {
      await expect(fitCompensation(host, plan, dataOf(host, { rows: 4 }), { rank: 3 })).rejects.toMatchObject({
        code: 'SPFT_PREDICTOR',
        message: expect.stringContaining('no token that would be sparse'),
      });
    });
    expect(host.plan).toBeNull();
  });
});

describe('fitCompensationLevels()', () => {
  beforeAll(() => useBackend('cpu'));

  /** Keeps the first channels, the fewer the sparser. */
  const first: SparsityEstimator = {
    ...fixed,
    selectMlp({ channels, sparsity }) {
      const kept = Math.floor(channels * (1 - sparsity));
      return { indices: tf.range(0, kept, 1, 'int32') as tf.Tensor1D, kept, total: channels };
    },
  };

  it('gives at each sparsity the map that a plan of that sparsity gets, from one pass of the data', async () => {
    const host = fakeHost();
    let passes = 0;
    const data = dataOf(host);
    const counted: CalibrationData = {
      ...data,
      forward(step) {
        passes++;
        return data.forward(step);
      },
    };
    const progress: string[] = [];
    await expectNoLeak(async () => {
      passes = 0;
      progress.length = 0;
      const table = await fitCompensationLevels(
        host,
        { estimator: first, compat: 'corrected' },
        new Map([[1, [0.5, 0.75, 0.9]]]),
        counted,
        { rank: 3, onProgress: (done, total) => progress.push(`${done}/${total}`) },
      );
      expect([passes, [...table.keys()]]).toEqual([2, [0.5, 0.75, 0.9]]);
      const maps: Float32Array[] = [];
      for (const [sparsity, ofLevel] of table) {
        const layers = new Map([[1, { mlp: sparsity, selfAttn: 0 }]]);
        const alone = await fitCompensation(host, { estimator: first, compat: 'corrected', layers }, data, { rank: 3 });
        for (const part of ['down', 'up', 'bias'] as const)
          expect(ofLevel.get(1)![part].dataSync(), `${part} at ${sparsity}`).toEqual(alone.get(1)![part].dataSync());
        maps.push(Float32Array.from(ofLevel.get(1)!.bias.dataSync()));
        disposeCompensation(alone);
      }
      expect(maps[0]).not.toEqual(maps[2]);
      disposeCompensationTable(table);
    });
    expect(progress).toEqual(['1/3', '2/3', '3/3']);
  });
});

describe('compensation_rank', () => {
  beforeAll(() => useBackend('cpu'));

  const config = (mode: string, compensationRank: number) => ({
    ...{ mode, compensationRank, sparsity: { 'layers.1.mlp': 0.75 }, startStep: 0, endStep: 1, skipOutputTokens: true },
    ...{ skipSinkTokens: 0, skipRandomTokens: false, sparseOutputTokens: 0, sparseLoraBranch: false, qkPerHead: false },
    ...{ qkvoSeqAvg: false, mlpSeqAvg: true, compat: 'corrected' as const, channelMultiple: null },
  });

  it('gives the plan its maps, tells runs apart, and is freed with the model', async () => {
    const host = fakeHost();
    await expectNoLeak(async () => {
      const spft = await getSpftModel(host, config('svd_3', 2), { calibration: dataOf(host) });
      expect([...spft.plan.compensation!.keys()]).toEqual([1]);
      const texts = await spft.sparsityIdentity();
      expect(texts['sparsity.compensation_rank']).toBe('2');
      expect(texts['sparsity.compensation']).toBe('a');
      spft.dispose();
    });
    const none = await getSpftModel(host, config('svd_3', 0), { calibration: dataOf(host) });
    expect(none.plan.compensation).toBeUndefined();
    none.dispose();
  });

  it.each([
    ['svd_3', 2, false, 'none are given'],
    ['oracle_norm_ffn', 2, true, 'computes every channel'],
    ['svd_3', 13, true, "the model's hidden size 12, got 13"],
  ])('refuses %s with rank %s, data %s: %s', async (mode, rank, hasData, message) => {
    const host = fakeHost();
    await expectNoLeak(async () => {
      const options = hasData ? { calibration: dataOf(host) } : {};
      await expect(getSpftModel(host, config(mode, rank), options)).rejects.toMatchObject({
        code: 'SPFT_ESTIMATOR',
        message: expect.stringContaining(message),
      });
    });
  });

  it('refuses a sparsity that drops nothing, and a table without one', async () => {
    const host = fakeHost();
    await expectNoLeak(async () => {
      const layers = { 'layers.1.mlp': 0.75, 'layers.2.mlp': 0.04 };
      const rounded = { ...config('svd_3', 2), sparsity: layers, channelMultiple: 8 };
      await expect(getSpftModel(host, rounded, { calibration: dataOf(host) })).rejects.toThrow(
        'layers.2.mlp at a sparsity of 0.04 keeps all of its 20 channels (rounded up to a multiple of 8)',
      );
      const spft = await getSpftModel(host, config('svd_3', 0), { calibration: dataOf(host) });
      await expect(spft.compensationTable(2, new Map())).rejects.toThrow('no MLP is to be sparse');
      await expect(spft.compensationTable(13, new Map([[1, [0.5]]]))).rejects.toThrow('hidden size 12, got 13');
      await expect(spft.compensationTable(2, new Map([[1, [0.5, 0]]]))).rejects.toThrow('at a sparsity of 0 keeps all');
      const table = await spft.compensationTable(2, new Map([[1, [0.5, 0.75]]]));
      expect([...table].map(([level, maps]) => [level, [...maps.keys()]])).toEqual([
        [0.5, [1]],
        [0.75, [1]],
      ]);
      disposeCompensationTable(table);
      spft.dispose();
    });
  });

  it('leaves alone what has no sparse MLP', async () => {
    const host = fakeHost();
    const attention = { ...config('svd_3', 2), sparsity: { 'layers.1.self_attn': 0.5 } };
    const spft = await getSpftModel(host, attention, { calibration: dataOf(host) });
    expect(spft.plan.compensation).toBeUndefined();
    spft.dispose();
  });

  it('refuses ranks that choose together', async () => {
    const host = fakeHost();
    await expectNoLeak(async () => {
      const options = { calibration: dataOf(host), shareScores: (scores: tf.Tensor1D) => scores };
      await expect(getSpftModel(host, config('svd_3', 2), options)).rejects.toThrow('leave shared_selection out');
    });
  });
});
