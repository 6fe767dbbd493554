/** @file Products and training steps of the wasm backend by tfjs's products and by ours, in turns, after all of them agree. */
import * as tf from '@tensorflow/tfjs';
import { batchedMatMulReference } from '../../packages/sparse-ops/src/engine/batched-matmul.reference.js';
import { expectAllClose } from '../../test/support/allclose.js';
import { createMethod, type MethodName } from '../model/methods.js';
import { type BatchOptions, randomBatch, randomModel } from '../model/random-model.js';
import type { BenchShape } from '../model/shapes.js';
import { aligned } from '../support/aligned.js';
import { type Quantiles, quantiles } from '../support/quantiles.js';
import { uniform } from '../support/random.js';
import { type Setting, use } from './settings.js';

/** op(a) [m, k] · op(b) [k, n]. */
export interface ProductShape {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** What a linear layer multiplies forward, backward, and for its adapter: of the quickstart, and of SmolLM2-135M's MLP. */
export const PRODUCTS: readonly ProductShape[] = [
  { m: 640, k: 192, n: 1024, transposeA: false, transposeB: true },
  { m: 640, k: 1024, n: 192, transposeA: false, transposeB: false },
  { m: 512, k: 576, n: 1536, transposeA: false, transposeB: true },
  { m: 512, k: 1536, n: 576, transposeA: false, transposeB: false },
  { m: 576, k: 512, n: 576, transposeA: true, transposeB: false },
];

/** Gigaflops a second of each setting, in their order. */
export interface ProductRates extends ProductShape {
  readonly gigaflopsPerSecond: readonly Quantiles[];
}

/** Seconds a step of each setting, in their order; and of how many rounds. */
export interface StepTimes {
  readonly method: MethodName;
  readonly secondsPerStep: readonly Quantiles[];
}

/** Milliseconds that a timing lasts at least, and for which a setting runs before it: threads are started by what they first do. */
const LASTS = 20;
const WARM = 150;

function warm(run: () => void): void {
  for (const until = performance.now() + WARM; performance.now() < until; ) run();
}

/** @throws Error where a setting's product is not that of plain loops. */
export function timeProducts(
  settings: readonly Setting[],
  rounds: number,
  shapes: readonly ProductShape[] = PRODUCTS,
): ProductRates[] {
  return shapes.map((shape) => {
    const { m, k, n, transposeA, transposeB } = shape;
    const [aValues, bValues] = [uniform(m * k, 1), uniform(k * n, 2)];
    const a = tf.tensor2d(aValues, transposeA ? [k, m] : [m, k]);
    const b = tf.tensor2d(bValues, transposeB ? [n, k] : [k, n]);
    const expected = batchedMatMulReference(aValues, bValues, [1, m, k, n], transposeA, transposeB);
    const run = () => tf.dispose(tf.matMul(a, b, transposeA, transposeB));
    const flops = 2 * m * k * n;
    const times = Math.min(200, Math.max(1, Math.round((LASTS * 4e7) / flops)));
    const rates = settings.map(() => [] as number[]);
    for (let round = -1; round < rounds; round++) {
      settings.forEach((setting, n) => {
        use(setting);
        if (round < 0) tf.tidy(() => expectAllClose(setting.name, tf.matMul(a, b, transposeA, transposeB), expected));
        warm(run);
        const start = performance.now();
        for (let time = 0; time < times; time++) run();
        if (round >= 0) rates[n]!.push((flops * times) / (performance.now() - start) / 1e6);
      });
    }
    tf.dispose([a, b]);
    return { ...shape, gigaflopsPerSecond: rates.map(quantiles) };
  });
}

/** @throws Error where losses or gradients of a setting are not those of the first. */
export async function timeSteps(
  settings: readonly Setting[],
  { shape, batch, rounds }: { readonly shape: BenchShape; readonly batch: BatchOptions; readonly rounds: number },
): Promise<StepTimes[]> {
  use(settings[0]!);
  const model = await randomModel(shape);
  const results: StepTimes[] = [];
  for (const name of ['lora', 'sparselora'] as const) {
    const method = await createMethod(name, model, shape);
    const packed = randomBatch(shape.config.vocabSize, batch, name === 'sparselora');
    const [first, ...others] = settings.map((setting) => {
      use(setting);
      return { setting, ...method.gradients(packed) };
    });
    for (const { setting, loss, gradients } of others) {
      expectAllClose(`loss with ${setting.name}`, [loss], [first!.loss], { relative: 1e-4, absolute: 1e-5 });
      for (const [variable, values] of gradients) {
        const largest = first!.gradients.get(variable)!.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const tolerance = { relative: 1e-3, absolute: 1e-3 * largest };
        expectAllClose(`${variable} with ${setting.name}`, values, first!.gradients.get(variable)!, tolerance);
      }
    }
    const taken = settings.map(() => [] as number[]);
    for (let round = -1; round < rounds; round++) {
      settings.forEach((setting, n) => {
        use(setting);
        warm(() => method.step(packed));
        const start = performance.now();
        method.step(packed);
        if (round >= 0) taken[n]!.push((performance.now() - start) / 1000);
      });
    }
    results.push({ method: name, secondsPerStep: taken.map(quantiles) });
    method.dispose();
  }
  model.dispose();
  return results;
}

/** The results as a table for people: medians, and of steps how many times as fast as the first setting. */
export function wasmTable(
  settings: readonly Setting[],
  products: readonly ProductRates[],
  steps: readonly StepTimes[],
): string {
  const rows = [
    ['', ...settings.map(({ name }) => name)],
    ...products.map((p) => [
      `${p.m}×${p.k}${p.transposeA ? 'ᵀ' : ''} · ${p.k}×${p.n}${p.transposeB ? 'ᵀ' : ''} GFLOP/s`,
      ...p.gigaflopsPerSecond.map(({ p50 }) => p50.toFixed(1)),
    ]),
    ...steps.map(({ method, secondsPerStep: all }) => [
      `${method} s/step`,
      ...all.map(({ p50 }) => `${p50.toFixed(3)} (${(all[0]!.p50 / p50).toFixed(2)}×)`),
    ]),
    ...(steps.length === 2
      ? [
          [
            'sparselora over lora',
            ...settings.map(
              (_, n) => `${(steps[0]!.secondsPerStep[n]!.p50 / steps[1]!.secondsPerStep[n]!.p50).toFixed(2)}×`,
            ),
          ],
        ]
      : []),
  ];
  return aligned(rows);
}
