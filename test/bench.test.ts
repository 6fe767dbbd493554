/** @file The benchmarks themselves: that they run, that what they report adds up, and that their verification can fail. No time is asserted. */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { measureMemory } from '../bench/model/measure.js';
import { METHODS } from '../bench/model/methods.js';
import { benchTable, parseMethods, runBench } from '../bench/model/run.js';
import { shapeNamed } from '../bench/model/shapes.js';
import { verify } from '../bench/model/verify.js';
import type { OpShape } from '../bench/ops/case.js';
import { opCases } from '../bench/ops/cases.js';
import { benchOp, opsTable, runOps, verifyOp } from '../bench/ops/run.js';
import { withSparsity } from '../bench/sparsity/asked-shape.js';
import { clockKernels } from '../bench/sparsity/kernels.js';
import { measureSparsity, sparsityTable } from '../bench/sparsity/run.js';
import { quantiles } from '../bench/support/quantiles.js';
import { timeProducts, timeSteps, wasmTable } from '../bench/wasm/run.js';
import { settingsFor, use } from '../bench/wasm/settings.js';
import { measure } from '../bench/webgpu/measure.js';
import { useBackend } from './support/backends.js';

const tiny = shapeNamed('tiny');
const batch = { batch: 2, length: 12, context: 0.75 };

beforeAll(() => useBackend('wasm'));

describe('runBench()', () => {
  it('reports every method side by side, after verifying', async () => {
    const before = tf.memory().numTensors;
    const result = await runBench({
      ...{ ...batch, shape: tiny, backend: 'wasm', methods: METHODS, steps: 2, warmup: 0 },
      memoryOf: (method) => measureMemory(tiny, method, batch),
    });
    expect(tf.memory().numTensors).toBe(before);
    expect(result).toMatchObject({ shape: 'tiny', tokens: 24, sparseTokens: 18, labelledTokens: 6, steps: 2 });
    expect(result.environment).toMatchObject({ backend: 'wasm', node: process.version });
    expect(result.verified).toHaveLength(4);

    const [lora, dora, sparse] = result.methods;
    expect(result.methods.map(({ method }) => method)).toEqual(['lora', 'dora', 'sparselora']);
    expect(lora).toMatchObject({ flopsShare: 1, speedup: 1 });
    expect(dora!.flopsShare).toBeGreaterThan(1);
    expect(sparse!.flopsShare).toBeLessThan(1);
    for (const { secondsPerStep, tokensPerSecond, flopsPerStep, gigaflopsPerSecond, memory } of result.methods) {
      expect(secondsPerStep.p20).toBeLessThanOrEqual(secondsPerStep.p50);
      expect(tokensPerSecond * secondsPerStep.p50).toBeCloseTo(24);
      expect(gigaflopsPerSecond * secondsPerStep.p50 * 1e9).toBeCloseTo(flopsPerStep, 0);
      expect(memory!.peakTensorBytes).toBeGreaterThan(memory!.tensorBytes);
      expect(memory!.peakRssBytes).toBeGreaterThan(memory!.peakTensorBytes);
    }
    expect(benchTable(result).split('\n')).toHaveLength(4);
  });

  it('knows which methods and shapes there are', () => {
    expect(() => parseMethods('lora,qlora')).toThrow("there is no method 'qlora'; there are lora, dora, sparselora");
    expect(() => shapeNamed('llama')).toThrow("there is no shape 'llama'; there are base, smollm2-135m, tiny");
  });
});

describe('bench:sparsity', () => {
  it('says what sparse steps gain of what their FLOPs allow, and what each kernel takes', async () => {
    const before = tf.memory().numTensors;
    const result = await measureSparsity({
      ...{ ...batch, shape: tiny, backend: 'wasm', rounds: 2, warmup: 0, rank: 4, kernels: true, predict: true },
    });
    expect(tf.memory().numTensors).toBe(before);
    expect(result.sparsity).toEqual({ 0: { mlp: 0.5, selfAttn: 0.5 } });
    const { predicted, measured } = result.prediction!;
    expect(Number.isFinite(predicted.planned)).toBe(true);
    expect(Number.isFinite(predicted.byLayer)).toBe(true);
    expect(sparsityTable(result)).toContain(
      `predicts ${predicted.planned.toFixed(3)} of LoRA's time, by one layer's times alone ${predicted.byLayer.toFixed(3)}`,
    );
    expect(measured).toBeCloseTo(1 - result.gains[0]!.wall * (1 - result.methods[1]!.flopsShare));
    const [lora, sparse, all] = result.methods;
    expect(lora!.flopsShare).toBe(1);
    expect(sparse!.flopsShare).toBeLessThan(1);
    // Scores of every token cost more than those of a mean.
    expect(all!.flopsShare).toBeGreaterThan(sparse!.flopsShare);
    result.gains.forEach(({ best }, n) => {
      const { flopsShare, best: own } = result.methods[n + 1]!;
      expect(best.wall * (1 - flopsShare)).toBeCloseTo(1 - own.wall / lora!.best.wall);
    });
    expect(lora!.kernels!.SpftGatedMlp).toMatchObject({ calls: tiny.config.numHiddenLayers });
    expect(lora!.kernels!.SpftGatedScores).toBeUndefined();
    expect(sparse!.kernels!.SpftGatedScores).toMatchObject({ calls: 1 });
    expect(sparsityTable(result)).toContain('outside of kernels');
  });

  it('takes the layers and sparsities that are asked for, or says what is wrong with them', () => {
    const shape = shapeNamed('smollm2-135m');
    const asked = (flags: Parameters<typeof withSparsity>[1]) => withSparsity(shape, flags).sparsity;
    expect(asked({})).toEqual(shape.sparsity);
    expect([...asked({ layers: '3-5', mlp: '0.8' })]).toEqual([3, 4, 5].map((n) => [n, { mlp: 0.8, selfAttn: 0.5 }]));
    expect([...asked({ layers: '7', attention: '0' })]).toEqual([[7, { mlp: 0.9, selfAttn: 0 }]]);
    for (const layers of ['3-30', '5-3', '3-', 'all']) {
      expect(() => asked({ layers })).toThrow(`--layers is ${layers}; wanted a range within 0-29, such as 3-28`);
    }
    expect(() => asked({ mlp: '1' })).toThrow('--mlp is 1; wanted at least 0, below 1');
    expect(() => asked({ attention: ' ' })).toThrow('--attention is  ; wanted at least 0, below 1');
    expect(() => asked({ mlp: '0', attention: '0' })).toThrow('nothing is sparse');
  });

  it('charges a kernel with what it does itself', () => {
    let time = 0;
    const clock = clockKernels('wasm', () => time++);
    try {
      tf.tidy(() => tf.neg(tf.ones([2])));
      expect(clock.read().get(tf.Neg)).toEqual({ calls: 1, milliseconds: 1 });
      expect(clock.read().size).toBe(0);
    } finally {
      clock.stop();
    }
    tf.tidy(() => tf.neg(tf.ones([2])));
    expect(clock.read().size).toBe(0);
  });
});

describe('bench:wasm', () => {
  it('times products and steps of each setting, after they agree', async () => {
    const settings = settingsFor(1);
    const shape = { m: 9, k: 20, n: 12, transposeA: true, transposeB: false };
    const products = timeProducts(settings, 1, [shape]);
    const steps = await timeSteps(settings, { shape: tiny, batch, rounds: 1 });
    use(settings.at(-1)!);
    expect(settings[0]!.name).toBe("tfjs's products");
    expect(products[0]!.gigaflopsPerSecond).toHaveLength(settings.length);
    expect(steps.map(({ method }) => method)).toEqual(['lora', 'sparselora']);
    expect(wasmTable(settings, products, steps)).toMatch(/9×20ᵀ · 20×12 GFLOP.*sparselora over lora/s);
  });
});

describe('bench:webgpu', () => {
  it('times steps after verification, says where memory stands, and leaves nothing', async () => {
    const before = tf.memory().numTensors;
    const options = { steps: 2, warmup: 2, length: 16, layers: 1, vocabulary: 64, verify: true };
    for (const sparse of [false, true]) {
      const result = (await measure('wasm', { ...options, sparse })) as Record<string, never>;
      expect(result).toMatchObject({ backend: 'wasm', layers: 1, sparse, dispatches: 0, profile: [], recorded: null });
      const { ms, hostMs, losses, before, after } = result as unknown as {
        readonly [name in 'ms' | 'hostMs']: { readonly p20: number; readonly p50: number };
      } & { readonly losses: readonly number[] } & Record<'before' | 'after', { readonly tensors: number }>;
      expect(ms.p20).toBeLessThanOrEqual(ms.p50);
      expect(hostMs.p50).toBeLessThanOrEqual(ms.p50);
      expect(losses[1]!).toBeLessThan(losses[0]!);
      expect(after.tensors).toBe(before.tensors);
    }
    const lossesOf = async (weights: 'float32' | 'bf16' | 'bf16 as float32') => {
      const made = await measure('wasm', { ...options, verify: false, sparse: false, weights });
      return (made as { readonly losses: readonly number[] }).losses;
    };
    const ofBf16 = await lossesOf('bf16');
    expect(ofBf16).toEqual(await lossesOf('bf16 as float32'));
    expect(ofBf16).not.toEqual(await lossesOf('float32'));
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('verify()', () => {
  it('fails when the masked reference drops other channels than were gathered', async () => {
    const tamper: Parameters<typeof verify>[2] = {
      methods: ['sparselora'],
      tamper: (plan) => ({
        ...plan,
        layers: new Map([...plan.layers].map(([layer]) => [layer, { mlp: 0.25, selfAttn: 0.5 }])),
      }),
    };
    await expect(verify(tiny, 'wasm', tamper)).rejects.toThrow(/gathered is masked: .* differ/s);
  });

  it('fails when the reference does not mask at all', async () => {
    const tamper = {
      methods: ['sparselora' as const],
      tamper: (plan: object) => ({ ...plan, enabled: false }) as never,
    };
    await expect(verify(tiny, 'wasm', tamper)).rejects.toThrow(/gathered is masked: .* differ/s);
  });
});

const SMALL: OpShape = {
  ...{ sequences: 2, length: 6, context: 0.5, H: 8, I: 12, N: 4, K: 2, d: 4, V: 10, r: 2, p: 2, kept: 5 },
};

describe('runOps()', () => {
  it('has a row for every op with a reference', () => {
    const files = readdirSync(fileURLToPath(new URL('../packages/sparse-ops/src', import.meta.url)), {
      recursive: true,
      encoding: 'utf8',
    });
    const withReference = files.flatMap((file) => /^(?:.*\/)?(.+)\.reference\.ts$/.exec(file)?.[1] ?? []);
    const rows = opCases(SMALL).map(({ name }) => name);
    // A form of numbers is no op: its products are timed by the GPU's bench.
    const ops = withReference.filter((name) => name !== 'e4m3');
    expect([...rows].sort()).toEqual(ops.sort());
  });

  it('verifies and times each of them, leaving nothing behind', () => {
    const before = tf.memory().numTensors;
    const { results } = runOps({ backend: 'wasm', shape: SMALL, rounds: 1 });
    expect(tf.memory().numTensors).toBe(before);
    expect(results).toHaveLength(opCases(SMALL).length);
    const without = results.flatMap(({ op, milliseconds }) => (milliseconds.backward === null ? op : []));
    expect(without).toEqual([
      ...['global-norm', 'optimizer-update', 'top-k-selection'],
      ...['gated-selection', 'gated-scores', 'query-channels'],
      ...['adamw-8bit', 'decode-layer'],
    ]);
    expect(results.find(({ op }) => op === 'packed-attention')!.kernels).toHaveLength(2);
    expect(opsTable(results).split('\n')).toHaveLength(results.length + 1);
  });

  it('names an op that there is not', () => {
    expect(() => runOps({ backend: 'wasm', rounds: 1, only: ['softmax'] })).toThrow("there is no op 'softmax'");
  });
});

describe('verifyOp()', () => {
  const swiglu = opCases(SMALL).find(({ name }) => name === 'swiglu')!;

  it('fails for a wrong value', () => {
    const wrong = {
      ...swiglu,
      make: () => ({ ...swiglu.make(), run: (gate: tf.Tensor, up: tf.Tensor) => tf.mul(gate, up) }),
    };
    expect(() => benchOp(wrong, 1)).toThrow(/^swiglu: \d+ of 144 values differ/);
  });

  it('fails for a wrong gradient of a right value', () => {
    tf.tidy(() => {
      const right = swiglu.make();
      const run = (gate: tf.Tensor, up: tf.Tensor) => {
        const op = tf.customGrad((x) => ({ value: tf.clone(x as tf.Tensor), gradFunc: (dy: tf.Tensor) => tf.neg(dy) }));
        return op(right.run(gate, up));
      };
      expect(() => verifyOp('swiglu', { ...right, run })).toThrow(
        /^swiglu: gradient of input 0: \d+ of 144 values differ/,
      );
    });
  });
});

describe('quantiles()', () => {
  it('lies between neighbours', () => {
    expect(quantiles([4, 1, 3, 2, 5, 6])).toEqual({ p20: 2, p50: 3.5, p80: 5 });
    expect(quantiles([7])).toEqual({ p20: 7, p50: 7, p80: 7 });
    expect(() => quantiles([])).toThrow('no values');
  });
});
