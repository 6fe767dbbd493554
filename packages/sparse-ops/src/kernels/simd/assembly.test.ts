import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../../test/support/allclose.js';
import { useBackend } from '../../../../../test/support/backends.js';
// @ts-expect-error: a script
import { compile } from '../../../assembly/compile.mjs';
import { packedAttention } from '../../attention/packed-attention.js';
import { meetBackend } from '../../engine/meet-backend.js';
import '../../attention/rope.js';
import { swiglu } from '../../mlp/swiglu.js';
import { packTokens } from '../../tokens/token-partition.js';
import { askForSimd, runsSimd, simdModule } from './module.js';
import { registerSimdKernels, unregisterSimdKernels } from './register.js';

describe('the SIMD kernels', () => {
  it('are what assembly/ compiles to; if not, run npm run assembly -w packages/sparse-ops', async () => {
    expect(readFileSync(`${import.meta.dirname}/assembly.generated.ts`, 'utf8')).toBe(await compile());
  }, 60_000);

  it('work on the memory of the wasm backend', async () => {
    await useBackend('wasm');
    expect(simdModule(tf.backend())).not.toBeNull();
  });

  it('do without a backend whose memory is no WebAssembly memory', () => {
    expect(simdModule({ wasm: {} })).toBeNull();
    expect(simdModule({ wasm: { asm: { memory: new ArrayBuffer(8) } } })).toBeNull();
  });

  it('do without a memory that has no maximum, which nothing of tfjs is', () => {
    expect(simdModule({ wasm: { asm: { memory: new WebAssembly.Memory({ initial: 1 }) } } })).toBeNull();
  });

  it.each(['plain', 'relaxed'] as const)('work on memory shared among threads: %s', (kind) => {
    if (!runsSimd(kind)) return;
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
    askForSimd({ kind });
    const { swiglu } = simdModule({ wasm: { asm: { memory } } })!;
    askForSimd({});
    const numbers = new Float32Array(memory.buffer, 1024, 3);
    numbers.set([2, 3, 0]);
    swiglu(1024, 1028, 1032, 1);
    expect(numbers[2]).toBeCloseTo(6 / (1 + Math.exp(-2)), 5);
  });

  it('leave a kernel that someone else registered, and take the place of ours', async () => {
    await useBackend('wasm');
    meetBackend();
    unregisterSimdKernels();
    const [loops, others] = [tf.getKernel('SpftRope', 'wasm')!.kernelFunc, () => []];
    tf.registerKernel({ kernelName: 'SpftSwiglu', backendName: 'wasm', kernelFunc: others });
    registerSimdKernels();
    expect(tf.getKernel('SpftSwiglu', 'wasm')!.kernelFunc).toBe(others);
    expect(tf.getKernel('SpftRope', 'wasm')!.kernelFunc).not.toBe(loops);
    unregisterSimdKernels();
    expect(tf.getKernel('SpftSwiglu', 'wasm')!.kernelFunc).toBe(others);
    expect(tf.getKernel('SpftRope', 'wasm')!.kernelFunc).toBe(loops);
    tf.unregisterKernel('SpftSwiglu', 'wasm');
    registerSimdKernels();
  });

  it('hide no NaN', async () => {
    await useBackend('wasm');
    const one = tf.ones([5, 5]) as tf.Tensor2D;
    const bad = tf.tensor2d([1, 1, Number.NaN, 1, 1], [1, 5]);
    const badRows = tf.concat([tf.ones([3, 5]), bad, tf.ones([1, 5])]) as tf.Tensor2D;
    const nans = (t: tf.Tensor) => [...t.dataSync()].map((value) => Number.isNaN(value));
    expect(nans(swiglu(bad, tf.onesLike(bad)))).toEqual([false, false, true, false, false]);
    const layout = packTokens({ lengths: [5], dense: () => false });
    const heads = { heads: 1, kvHeads: 1, headDim: 5 };
    for (const tensors of [[badRows, one, one] as const, [one, badRows, one] as const]) {
      const rows = nans(tf.sum(packedAttention(...tensors, layout, heads), 1));
      expect(rows.slice(0, 4)).toEqual([false, false, false, true]);
    }
  });

  it('take the exponential of large and small numbers without overflow', async () => {
    await useBackend('wasm');
    const gate = tf.tensor2d([[-1e4, -100, -88, -20, 0, 20, 88, 100, 1e4]]);
    expectAllClose('y', swiglu(gate, tf.onesLike(gate)), [0, 0, 0, -20 / (1 + Math.exp(20)), 0, 20, 88, 100, 1e4], {
      relative: 0,
      absolute: 1e-5,
    });
  });
});
