/** @file Linear layers, adapters and the loss in bf16 against the cpu backend. */
import {
  batchedMatMul,
  doraLinear,
  doraNorms,
  linear,
  linearCrossEntropy,
  linearKeptColumns,
  linearKeptRows,
  loraLinear,
} from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { cuda, describeCuda } from '../../test/cuda.js';
import { bf16, expectOp, f32, i32 } from '../../test/ops.js';
import { linearCrossEntropy as crossEntropyKernel } from './loss/linear-cross-entropy.js';

type M = tf.Tensor2D;
type V = tf.Tensor1D;

const selection = (indices: V, total: number) => ({ indices, kept: indices.size, total });

describeCuda('products in bf16', () => {
  it.each([
    [0, 4, 3],
    [5, 16, 24],
    [3, 7, 5],
  ])('linear() of %i rows, %i to %i', async (T, In, Out) => {
    const both = (x: M, w: M, b: V, dy: M) => [linear(x, w, b), tf.grad((x) => linear(x as M, w, b))(x, dy)];
    const inputs = [bf16(T, In), bf16(Out, In), bf16(Out), bf16(T, Out)];
    await expectOp('linear', inputs, both, { physical: ['bf16', 'bf16'] });
    await expectOp('linear', [f32(T, In), ...inputs.slice(1)], both, { physical: ['f32', 'bf16'] });
  });

  it.each([
    ['some', [1, 2, 5, 11]],
    ['an odd number', [0, 3, 7]],
    ['none', []],
  ])('linearKeptRows() and linearKeptColumns() with %s kept', async (_, indices) => {
    const kept = indices.length;
    const rows = (x: M, w: M, b: V, i: V, dy: M) => {
      const keep = selection(i, 12);
      return [linearKeptRows(x, w, keep, b), tf.grad((x) => linearKeptRows(x as M, w, keep, b))(x, dy)];
    };
    const common = { physical: ['bf16', 'bf16'] } as const;
    await expectOp('rows', [bf16(5, 6), bf16(12, 6), bf16(12), i32(...indices), bf16(5, kept)], rows, common);
    const columns = (x: M, w: M, b: V, i: V, dy: M) => {
      const keep = selection(i, 12);
      return [linearKeptColumns(x, w, keep, b), tf.grad((x) => linearKeptColumns(x as M, w, keep, b))(x, dy)];
    };
    await expectOp('columns', [bf16(5, kept), bf16(6, 12), bf16(6), i32(...indices), bf16(5, 6)], columns, common);
  });

  it.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])('batchedMatMul() with operands transposed: %s, %s', (ta, tb) => {
    const inputs = [bf16(3, ...((ta ? [5, 4] : [4, 5]) as [number, number])), bf16(3, ...(tb ? [6, 5] : [5, 6]))];
    const times = (a: tf.Tensor3D, b: tf.Tensor3D) => batchedMatMul(a, b, ta, tb);
    return expectOp('batchedMatMul', inputs, times, { physical: ['bf16'] });
  });

  it.each([
    [9, 16, 24, 4],
    [5, 7, 3, 2],
    [0, 4, 4, 1],
  ])('loraLinear() of %i rows, %i to %i, rank %i, gradients of A and B in float', (T, In, Out, r) => {
    const all = (x: M, base: M, a: M, b: M, dy: M) => [
      loraLinear(x, base, a, b, 0.5),
      ...tf.grads((x, base, a, b) => loraLinear(x as M, base as M, a as M, b as M, 0.5))([x, base, a, b], dy),
    ];
    const inputs = [bf16(T, In), bf16(T, Out), f32(r, In), f32(Out, r), bf16(T, Out)];
    return expectOp('loraLinear', inputs, all, { physical: ['bf16', 'bf16', 'bf16', 'f32', 'f32'] });
  });

  it.each([
    [9, 16, 24, 4, true],
    [70, 7, 67, 2, false],
    [5, 300, 21, 32, false],
    // The norms of so high a rank are made by products.
    [33, 24, 40, 72, true],
    [0, 4, 4, 1, false],
  ])('doraLinear() of %i rows, %i to %i, rank %i, bias: %s', (T, In, Out, r, withBias) => {
    const all = (x: M, base: M, a: M, b: M, m: V, w: M, bias: V, dy: M) => {
      const f = (...[x, base, a, b, m]: tf.Tensor[]) =>
        doraLinear(x as M, base as M, a as M, b as M, m as V, w, 0.5, withBias ? bias : null);
      return [doraNorms(w, a, b, 0.5), f(x, base, a, b, m), ...tf.grads(f)([x, base, a, b, m], dy)];
    };
    const trained = [f32(r, In), f32(Out, r), f32(Out)];
    const inputs = [bf16(T, In), bf16(T, Out), ...trained, bf16(Out, In), bf16(Out), bf16(T, Out)];
    const physical = ['f32', 'bf16', 'bf16', 'bf16', 'f32', 'f32', 'f32'] as const;
    return expectOp('doraLinear', inputs, all, { physical });
  });

  it.each([
    [0, 4, 8],
    [3, 5, 11],
    [2, 8, 8200],
    [2, 8, 8201],
  ])('linearCrossEntropy() of %i rows of %i, %i tokens', (R, H, V) => {
    const labels = i32(...Array.from({ length: R }, (_, r) => (r * 7919) % V));
    const both = (x: M, w: M, l: V) => {
      const { value, grad } = tf.valueAndGrad((x) => linearCrossEntropy(x as M, w, l))(x);
      return [value, grad];
    };
    return expectOp('linearCrossEntropy', [bf16(R, H), bf16(V, H), labels], both, { physical: ['f32', 'bf16'] });
  });

  it('the loss is the same whatever the chunks', () => {
    const x = tf.randomNormal([7, 8]) as M;
    const w = tf.randomNormal([13, 8]) as M;
    const labels = tf.tensor1d([0, 12, 3, 3, 1, 0, 5], 'int32');
    const [whole, parts] = [7, 3].map((chunk) =>
      crossEntropyKernel(cuda(), x, w, labels, true, chunk).map((info) => tf.engine().makeTensorFromTensorInfo(info)),
    ) as [tf.Tensor[], tf.Tensor[]];
    whole.forEach((t, n) => {
      // Not to the bit: cuBLASLt may take another algorithm for another number of rows.
      expectAllClose(`output ${n}`, parts[n]!, t, { relative: 1e-6, absolute: 1e-7 });
    });
    tf.dispose([x, w, labels, whole, parts]);
  });
});
