/** @file An adapter's branch on top of a base product, and its gradient: every step of a block of rows after the other, so that the block stays in
 * the cache, and B accumulates into the base's copy. */
import type * as tf from '@tensorflow/tfjs-core';
import type { Call } from '../../shared/call.js';
import { addParts, addProduct } from '../../shared/product.js';

/** Calls `add` for blocks of T rows, each a chunk of its own, and runs them. */
export function eachBlock(call: Call, T: number, add: (from: number, rows: number) => void): void {
  const step = Math.max(16, Math.ceil(T / (2 * call.pool.threads) / 16) * 16);
  for (let from = 0; from < T; from += step) {
    add(from, Math.min(step, T - from));
    call.pool.endChunk();
  }
  call.pool.run();
}

/** Adds y = base + s·(x·Aᵀ)·Bᵀ and h = x·Aᵀ for rows of a block. */
export function addBranch(
  call: Call,
  { x, base, loraA, loraB, y, h }: Readonly<Record<'x' | 'base' | 'loraA' | 'loraB' | 'y' | 'h', tf.TensorInfo>>,
  scaling: number,
  from: number,
  rows: number,
): void {
  const { pool } = call;
  const inputs = x.shape[1]!;
  const [out, r] = loraB.shape as [number, number];
  const [hAt, yAt] = [call.native(h) + 4 * from * r, call.native(y) + 4 * from * out];
  const xAt = call.native(x) + 4 * from * inputs;
  pool.call('copy', call.at(base) + 4 * from * out, call.at(y) + 4 * from * out, 4 * rows * out);
  if (inputs === 0) pool.call('zero', call.at(h) + 4 * from * r, 4 * rows * r);
  else
    addProduct(pool, {
      m: rows,
      n: r,
      k: inputs,
      a: [xAt, inputs],
      b: [call.native(loraA), inputs],
      c: [hAt, r],
      transposeB: true,
    });
  if (r === 0) return;
  const product = { m: rows, n: out, k: r, a: [hAt, r], b: [call.native(loraB), r], c: [yAt, out] } as const;
  addProduct(pool, { ...product, transposeB: true, alpha: scaling, beta: 1 });
}

/**
 * dx and dA of an adapter, and s·dyᵀ·h [out, r], where `dz` is what comes to the branch's output and `dy` what makes dB.
 */
export function branchGrad(
  call: Call,
  { x, h, loraA, loraB, dz, dy }: Readonly<Record<'x' | 'h' | 'loraA' | 'loraB' | 'dz' | 'dy', tf.TensorInfo>>,
  scaling: number,
): { dx: tf.TensorInfo; dA: tf.TensorInfo; dB: tf.TensorInfo } {
  const { pool } = call;
  const [T, inputs] = x.shape as [number, number];
  const [out, r] = loraB.shape as [number, number];
  const [dx, dA, dB] = [call.output(x.shape), call.output(loraA.shape), call.output(loraB.shape)];
  if (T === 0 || r === 0 || out === 0) for (const gradient of [dx, dA, dB]) call.values(gradient).fill(0);
  if (T === 0 || r === 0 || out === 0) return { dx, dA, dB };
  const dh = pool.native(call.scratch(T * r));
  eachBlock(call, T, (from, rows) => {
    const a = [call.native(dz) + 4 * from * out, out] as const;
    const part = [dh + 4 * from * r, r] as const;
    addProduct(pool, { m: rows, n: r, k: out, a, b: [call.native(loraB), r], c: part, alpha: scaling });
    const c = [call.native(dx) + 4 * from * inputs, inputs] as const;
    addProduct(pool, { m: rows, n: inputs, k: r, a: part, b: [call.native(loraA), inputs], c });
  });
  const [deepA, deepB] = [
    { m: r, n: inputs, k: T, transposeA: true },
    { m: out, n: r, k: T, transposeA: true },
  ];
  addParts(pool, { ...deepA, a: [dh, r], b: [call.native(x), inputs], c: [call.native(dA), inputs] });
  addParts(pool, {
    ...deepB,
    a: [call.native(dy), out],
    b: [call.native(h), r],
    c: [call.native(dB), r],
    alpha: scaling,
  });
  pool.run();
  return { dx, dA, dB };
}
