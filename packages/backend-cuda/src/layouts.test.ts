/** @file Arrays of layouts that kernels share: what a launch is about to read stays where it is while others come and go. */
import { packedAttention, packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { expectAllClose } from '../../../test/support/allclose.js';
import { cuda, describeCuda } from '../test/cuda.js';

const HEADS = { heads: 2, kvHeads: 1, headDim: 8 };
const random = (columns: number, seed: number) => tf.randomNormal([11, columns], 0, 1, 'float32', seed) as tf.Tensor2D;

describeCuda('layouts of many batches', () => {
  it('may share an array: attention of each is as that of a layout of its own', () => {
    const first = packTokens({ lengths: [4, 7], dense: (t) => t % 2 === 0 });
    const inputs = [random(16, 1), random(8, 2), random(8, 3)] as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
    const expected = packedAttention(...inputs, first, HEADS).dataSync();
    for (let n = 0; n < 40; n++) {
      const layout = { ...first, rowOfToken: first.rowOfToken.slice() };
      expectAllClose(`layout ${n}`, packedAttention(...inputs, layout, HEADS), expected);
    }
  });

  it('keep what was asked for last, and give back what goes', () => {
    const shared = Int32Array.of(0, 4, 11);
    const others = Array.from({ length: 40 }, (_, n) => Int32Array.of(n, n));
    const at = cuda().constant(shared);
    const bytes: number[] = [];
    for (const other of others) {
      expect(cuda().constant(shared)).toBe(at);
      expect(cuda().constant(other)).not.toBe(at);
      bytes.push(cuda().memoryPool.bytes);
    }
    expect(new Set(bytes.slice(20)).size).toBe(1);
  });
});
