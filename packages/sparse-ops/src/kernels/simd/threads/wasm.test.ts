/**
 * @file The wasm backend on memory that threads share: its kernels' bits are those of one thread, and plain loops' numbers.
 * @own-process as tfjs's module for wasm is made once in a process, on such memory here.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { expectAllClose } from '../../../../../../test/support/allclose.js';
import { useBackend } from '../../../../../../test/support/backends.js';
import { random2d, valuesOf } from '../../../../test/selections.js';
import { packedAttention } from '../../../attention/packed-attention.js';
import { packedAttentionReference } from '../../../attention/packed-attention.reference.js';
import { rope } from '../../../attention/rope.js';
import { describeConformance } from '../../../conformance/index.js';
import { batchedMatMulReference } from '../../../engine/batched-matmul.reference.js';
import { meetBackend } from '../../../engine/meet-backend.js';
import { gatedMlp } from '../../../mlp/gated-mlp.js';
import { swiglu } from '../../../mlp/swiglu.js';
import { rmsNorm } from '../../../norm/rms-norm.js';
import { rmsNormResidual } from '../../../norm/rms-norm-residual.js';
import { linear } from '../../../project/linear.js';
import { linearKeptColumns } from '../../../project/linear-kept-columns.js';
import { linearKeptRows } from '../../../project/linear-kept-rows.js';
import { loraLinear } from '../../../project/lora-linear.js';
import { projectColumns } from '../../../project/project-columns.js';
import { projectRows } from '../../../project/project-rows.js';
import { gatedScores } from '../../../select/gated-scores.js';
import { packTokens } from '../../../tokens/token-partition.js';
import { adamwUpdate, zeroMoments } from '../../../update/optimizer-update.js';
import { askForSimd, runsSimd, simdThreads } from '../module.js';
import { shareWasmMemory } from './wasm.js';
import * as workers from './workers.js';

const folder = dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm'));
const binary = readFileSync(`${folder}/tfjs-backend-wasm-simd.wasm`);
const KINDS = (['plain', 'relaxed'] as const).filter(runsSimd);

describe('shareWasmMemory()', () => {
  it('says why there are no threads, and leaves everything as it was', () => {
    const set = vi.fn();
    vi.spyOn(workers, 'whyNoThreads').mockReturnValueOnce('no workers today');
    expect(shareWasmMemory({ setWasmPaths: set, binary })).toBe('no workers today');
    expect(shareWasmMemory({ setWasmPaths: set, binary, threads: 1 })).toMatch(/^one is what was asked for/);
    expect(set).not.toHaveBeenCalled();
  });

  it('says what is wrong with what it is given', () => {
    expect(() => shareWasmMemory({ setWasmPaths, binary, threads: 1.5 })).toThrow('threads is 1.5, must be a whole');
    vi.stubEnv('SPFT_THREADS', 'many');
    expect(() => shareWasmMemory({ setWasmPaths, binary })).toThrow("SPFT_THREADS is 'many'; wanted a whole number");
    vi.unstubAllEnvs();
    expect(() => shareWasmMemory({ setWasmPaths, binary: binary.subarray(0, 100), threads: 2 })).toThrow(
      'withSharedMemory: the module',
    );
  });
});

describe('the wasm backend on threads', () => {
  beforeAll(async () => {
    expect(shareWasmMemory({ setWasmPaths, binary, threads: 3 })).toBeNull();
    await useBackend('wasm');
    meetBackend();
  });
  afterAll(() => askForSimd({}));

  it('lies in memory that is shared, which may grow, and gives copies of it', async () => {
    const { wasm } = tf.backend() as unknown as { readonly wasm: { readonly HEAPU8: Uint8Array } };
    expect(wasm.HEAPU8.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(simdThreads(tf.backend())).toBe(3);
    const before = wasm.HEAPU8.buffer.byteLength;
    const ones = tf.ones([1024, 1024]);
    const sums = Array.from({ length: 40 }, () => tf.neg(ones));
    expect(wasm.HEAPU8.buffer.byteLength).toBeGreaterThan(before);
    expect(tf.sum(ones).dataSync()[0]).toBe(2 ** 20);
    expect((await ones.data()).buffer).toBeInstanceOf(ArrayBuffer);
    tf.dispose([ones, sums]);
  });

  // Sizes of which each kernel makes several parts, none of them round.
  const [T, H, I, r] = [203, 100, 197, 9];
  const lengths = [70, 3, 61, 69];
  const layout = packTokens({ lengths, dense: (token) => token % 3 === 0 });
  const heads = { heads: 6, kvHeads: 3, headDim: 12 };
  const keepOf = (total: number) => {
    const list = Int32Array.from({ length: Math.floor(total / 2) }, (_, i) => 2 * i + 1);
    return { indices: tf.tensor1d(list, 'int32'), kept: list.length, total };
  };

  /** Values and gradients of everything that our SIMD kernels compute. */
  function everything(): Record<string, Float32Array> {
    const x = random2d(T, H, 1);
    const [w, down] = [random2d(I, H, 2), random2d(H, I, 3)];
    const [a, b] = [random2d(r, H, 4), random2d(I, r, 5)];
    const [q, k, v] = [random2d(T, 72, 6), random2d(T, 36, 7), random2d(T, 36, 8)];
    const [cos, sin] = [random2d(T, 6, 9), random2d(T, 6, 19)];
    const [bias, norm] = [tf.ones([I]) as tf.Tensor1D, tf.ones([H]) as tf.Tensor1D];
    const [rows, columns] = [keepOf(I), keepOf(I)];
    const of = (name: string, f: (...xs: tf.Tensor2D[]) => tf.Tensor, xs: tf.Tensor2D[]) => {
      const { value, grads } = tf.valueAndGrads((...ts) => tf.sum(tf.sin(f(...(ts as tf.Tensor2D[])))) as tf.Scalar)(
        xs,
      );
      const y = f(...xs);
      return [y, value, ...grads].map((t, n) => [`${name} ${n}`, Float32Array.from(t.dataSync())] as const);
    };
    const weight = (out: number, inputs: number, seed: number) => ({
      weight: tf.mul(random2d(out, inputs, seed), 0.1) as tf.Tensor2D,
      bias: tf.randomNormal([out], 0, 1, 'float32', seed) as tf.Tensor1D,
    });
    const mlp = { gate: weight(I, H, 23), up: weight(I, H, 24), down: weight(H, I, 25) };
    const frozen = [40, 41, 42].map((seed) => weight(I, H, seed));
    const residualNorm = (x: tf.Tensor2D, weight: tf.Tensor1D) => {
      const [y, rest] = rmsNormResidual(x, weight, 1e-5);
      return tf.add(tf.sin(y), rest);
    };
    const variables = [random2d(60, 50, 10), random2d(7, 3, 11)].map((t) => tf.variable(t));
    const state = { firstMoments: zeroMoments(variables), secondMoments: zeroMoments(variables) };
    const gradients = [random2d(60, 50, 12), random2d(7, 3, 13)];
    adamwUpdate(variables, gradients, state, { step: 1, learningRate: 0.1, weightDecay: 0.1 });
    const pair = (seed: number) => ({ a: random2d(H, 5, seed), b: random2d(5, I, seed + 1) });
    return Object.fromEntries([
      ['gated scores', Float32Array.from(gatedScores(x, pair(30), pair(32)).dataSync())] as const,
      ...of('linear', (x) => linear(x!, w, bias), [x]),
      ...of('few rows', (x) => linear(x!, w), [tf.slice(x, [0, 0], [3, H])]),
      ...of('kept rows', (x) => linearKeptRows(x!, w, rows), [x]),
      ...of('kept columns', (x) => linearKeptColumns(x!, down, columns), [random2d(T, columns.kept, 14)]),
      ...of('matMul', (a, b) => tf.matMul(a!, b!, true, true), [x, random2d(I, T, 15)]),
      ...of('loraLinear', (x, base, a, b) => loraLinear(x!, base!, a!, b!, 0.5), [x, random2d(T, I, 16), a, b]),
      ...of('attention', (q, k, v) => packedAttention(q!, k!, v!, layout, heads), [q, k, v]),
      ...of('swiglu', (g, u) => swiglu(g!, u!), [random2d(T, I, 17), random2d(T, I, 18)]),
      ...of('rmsNorm', (x) => rmsNorm(x!, norm, 1e-5), [x]),
      ...of('add', (a, b) => tf.add(a!, b!), [random2d(T, I, 20), random2d(T, I, 21)]),
      ...of('norm and residual', (x) => residualNorm(x!, norm), [x]),
      ...[null, rows].flatMap((keep) =>
        of(`gated MLP, ${keep ? 'sparse' : 'dense'}`, (x, residual) => gatedMlp(x!, residual!, mlp, keep, 90), [
          ...[x, random2d(T, H, 22)],
        ]),
      ),
      ...[null, rows].flatMap((keep) =>
        of(
          `layers of one input, ${keep ? 'sparse' : 'dense'}`,
          (x, a, b, c, d) => {
            const branches = [null, { a: a!, b: b!, scaling: 0.5 }, { a: c!, b: d!, scaling: 2 }];
            const layers = branches.map((lora, n) => ({ ...frozen[n]!, keep: n < 2 ? keep : null, lora }));
            return tf.concat(projectRows(x!, layers, 90), 1);
          },
          [x, a, b, random2d(4, H, 43), random2d(I, 4, 44)],
        ),
      ),
      ...[null, columns].flatMap((keep) =>
        of(
          `a layer on top, ${keep ? 'sparse' : 'dense'}`,
          (x, residual, a, b) =>
            projectColumns(x!, residual!, { ...mlp.down, keep, lora: { a: a!, b: b!, scaling: 0.5 } }, 90),
          [random2d(T, I, 45), random2d(T, H, 46), random2d(r, I, 47), random2d(H, r, 48)],
        ),
      ),
      ...of('rope', (q) => rope(q!, cos, sin, 12), [q]),
      ...variables.map((v, n) => [`adamw ${n}`, Float32Array.from(v.dataSync())] as const),
    ]);
  }

  describe.each(KINDS)('with %s SIMD', (kind) => {
    it('computes the same bits on one, two, and three threads', () => {
      const [one, two, three] = [1, 2, 3].map((threads) => {
        askForSimd({ kind, threads });
        expect(simdThreads(tf.backend())).toBe(threads);
        return tf.tidy(everything);
      });
      for (const name of Object.keys(one!)) {
        expect(two![name], `${name} on two threads`).toEqual(one![name]);
        expect(three![name], `${name} on three threads`).toEqual(one![name]);
      }
    }, 180_000);

    it('computes what plain loops do', () => {
      askForSimd({ kind, threads: 3 });
      const [x, w] = [random2d(T, H, 1), random2d(I, H, 2)];
      const expected = batchedMatMulReference(valuesOf(x), valuesOf(w), [1, T, H, I], false, true);
      expectAllClose('linear', linear(x, w), expected);
      const [q, k, v] = [random2d(T, 72, 6), random2d(T, 36, 7), random2d(T, 36, 8)];
      const attended = packedAttentionReference(valuesOf(q), valuesOf(k), valuesOf(v), layout, heads);
      expectAllClose('attention', packedAttention(q, k, v, layout, heads), attended);
    });
  });

  describe('held to the contract', () => {
    beforeAll(() => askForSimd({ threads: 3 }));
    describeConformance({ backend: 'wasm', describe, it });
  });
});
