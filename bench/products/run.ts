/** @file Times each product in turns: the library called directly, tf.matMul on blas, tf.matMul on wasm. */
import type { BlasBackend } from '@spft/backend-blas';
import { activateBackend } from '@spft/backends';
import * as tf from '@tensorflow/tfjs';
import { expectAllClose } from '../../test/support/allclose.js';
import { aligned } from '../support/aligned.js';
import { type Quantiles, quantiles } from '../support/quantiles.js';
import { uniform } from '../support/random.js';

/** op(a) [m, k] · op(b) [k, n]. */
interface Shape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

export interface ProductResult extends Shape {
  /** Milliseconds of one product. */
  readonly direct: Quantiles;
  readonly blas: Quantiles;
  readonly wasm: Quantiles | null;
  readonly gigaflopsPerSecond: number;
  /** Median over rounds of direct time over blas time in that round: 1 is as fast as the library itself. */
  readonly ofDirect: number;
  /** The same of the least disturbed rounds of each, for a machine that does other things too. */
  readonly ofDirectAtBest: number;
}

const square = (n: number, transposeA = false, transposeB = false): Shape => ({
  m: n,
  n,
  k: n,
  transposeA,
  transposeB,
});

/** Squares, transpositions, and what SmolLM2-135M multiplies for 512 tokens. */
const SHAPES: readonly Shape[] = [
  ...[square(256), square(512), square(1024), square(2048)],
  ...[square(1024, true, false), square(1024, false, true), square(1024, true, true)],
  { m: 512, n: 576, k: 576, transposeA: false, transposeB: true },
  { m: 512, n: 1536, k: 576, transposeA: false, transposeB: true },
  { m: 512, n: 576, k: 1536, transposeA: false, transposeB: false },
];

/** Milliseconds that a timing lasts at least, so that what else the machine does is a part of each alike. */
const LASTS = 10;

/** Milliseconds for which OpenBLAS's own threads go on spinning after a product, where they would be in the way of the backend's. */
const SPIN = 60;

export async function runProducts({ rounds, wasm }: { rounds: number; wasm: boolean }): Promise<ProductResult[]> {
  const results: ProductResult[] = [];
  for (const shape of SHAPES) results.push(await timeProduct(shape, rounds, wasm));
  return results;
}

async function timeProduct(shape: Shape, rounds: number, wasm: boolean): Promise<ProductResult> {
  const { m, n, k, transposeA, transposeB } = shape;
  const [aShape, bShape] = [transposeA ? [k, m] : [m, k], transposeB ? [n, k] : [k, n]] as [number[], number[]];
  const [aValues, bValues] = [uniform(m * k, 1, 1), uniform(k * n, 2, 1)];
  const make = () => [tf.tensor(aValues.slice(), aShape), tf.tensor(bValues.slice(), bShape)] as const;
  await activateBackend('blas');
  const [a, b] = make();
  const backend = tf.backend() as BlasBackend;
  const c = backend.output([m, n]);
  const [lda, ldb] = [aShape[1]!, bShape[1]!];
  const places = [a, b, c].map((tensor) => {
    backend.place(tensor);
    return backend.native(tensor);
  }) as [number, number, number];
  const transposes = [transposeA ? 112 : 111, transposeB ? 112 : 111] as const;
  const direct = () =>
    backend.blas.sgemm(101, ...transposes, m, n, k, 1, places[0], lda, places[1], ldb, 0, places[2], n);
  const throughTfjs = () => tf.dispose(tf.matMul(a, b, transposeA, transposeB));

  direct();
  const product = tf.matMul(a, b, transposeA, transposeB);
  expectAllClose(`product ${m}×${k}×${n}`, product, backend.values(c), { relative: 1e-5, absolute: 1e-5 });
  product.dispose();

  const flops = 2 * m * n * k;
  const times = Math.max(1, Math.round((LASTS * 5e7) / flops));
  const taken = { direct: [] as number[], blas: [] as number[], wasm: [] as number[] };
  const wasmTensors = wasm ? await onWasm(make) : null;
  for (let round = -1; round < rounds; round++) {
    backend.blas.setThreads(backend.pool.threads);
    const one = milliseconds(direct, times);
    backend.blas.setThreads(1);
    sleep(SPIN);
    const two = milliseconds(throughTfjs, times);
    if (round < 0) continue;
    taken.direct.push(one);
    taken.blas.push(two);
  }
  if (wasmTensors) {
    await activateBackend('wasm');
    const [aw, bw] = wasmTensors;
    const few = Math.max(1, Math.round(times / 50));
    for (let round = -1; round < Math.min(3, rounds); round++) {
      const three = milliseconds(() => tf.dispose(tf.matMul(aw, bw, transposeA, transposeB)), few);
      if (round >= 0) taken.wasm.push(three);
    }
    tf.dispose([aw, bw]);
    await activateBackend('blas');
  }
  tf.dispose([a, b]);
  backend.disposeData(c.dataId);
  const ratios = taken.direct.map((time, round) => time / taken.blas[round]!);
  const blas = quantiles(taken.blas);
  return {
    ...shape,
    direct: quantiles(taken.direct),
    blas,
    wasm: taken.wasm.length > 0 ? quantiles(taken.wasm) : null,
    gigaflopsPerSecond: flops / blas.p50 / 1e6,
    ofDirect: quantiles(ratios).p50,
    ofDirectAtBest: Math.min(...taken.direct) / Math.min(...taken.blas),
  };
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

async function onWasm<T>(make: () => T): Promise<T> {
  await activateBackend('wasm');
  const made = make();
  await activateBackend('blas');
  return made;
}

function milliseconds(run: () => void, times: number): number {
  const start = performance.now();
  for (let n = 0; n < times; n++) run();
  return (performance.now() - start) / times;
}

/** The results as a table for people. */
export function productTable(products: readonly ProductResult[]): string {
  const rate = ({ m, n, k }: Shape, ms: number) => ((2 * m * n * k) / ms / 1e6).toFixed(1);
  const rows = products.map((p) => [
    `${p.m}×${p.k}${p.transposeA ? 'ᵀ' : ''} · ${p.k}×${p.n}${p.transposeB ? 'ᵀ' : ''}`,
    rate(p, p.direct.p50),
    rate(p, p.blas.p50),
    p.wasm ? rate(p, p.wasm.p50) : '–',
    p.ofDirect.toFixed(3),
    p.ofDirectAtBest.toFixed(3),
  ]);
  const head = ['product', 'direct GFLOP/s', 'tfjs on blas', 'tfjs on wasm', 'blas of direct', 'at best'];
  return aligned([head, ...rows]);
}
