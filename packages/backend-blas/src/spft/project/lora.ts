/**
 * @file LoRA and DoRA on top of a base product: every step of a block of rows after the other, so that the block stays in the cache, and B
 * accumulates into the base's copy.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { type Place, sizeOf } from '../../backend.js';
import type { BlasKernel, Call } from '../../shared/call.js';
import { addParts, addProduct } from '../../shared/product.js';

/** Calls `add` for blocks of T rows, each a chunk of its own, and runs them. */
function eachBlock(call: Call, T: number, add: (from: number, rows: number) => void): void {
  const step = Math.max(16, Math.ceil(T / (2 * call.pool.threads) / 16) * 16);
  for (let from = 0; from < T; from += step) {
    add(from, Math.min(step, T - from));
    call.pool.endChunk();
  }
  call.pool.run();
}

/** Adds y = base + s·(x·Aᵀ)·Bᵀ and h = x·Aᵀ for rows of a block. */
function addBranch(
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

export const loraLinear: BlasKernel<'SpftLoraLinear'> = (call, { x, base, loraA, loraB }, { scaling }) => {
  const [out, r] = loraB!.shape as [number, number];
  const T = x!.shape[0]!;
  const [y, h] = [call.output([T, out]), call.output([T, r])];
  const tensors = { x: x!, base: base!, loraA: loraA!, loraB: loraB!, y, h };
  eachBlock(call, T, (from, rows) => addBranch(call, tensors, scaling, from, rows));
  return [y, h];
};

/**
 * dx and dA of an adapter, and s·dyᵀ·h [out, r], where `dz` is what comes to the branch's output and `dy` what makes dB.
 */
function branchGrad(
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

export const loraLinearGrad: BlasKernel<'SpftLoraLinearGrad'> = (call, { x, h, loraA, loraB, dy }, { scaling }) => {
  const tensors = { x: x!, h: h!, loraA: loraA!, loraB: loraB!, dz: dy!, dy: dy! };
  const { dx, dA, dB } = branchGrad(call, tensors, scaling);
  return [dx, dA, dB];
};

/** magnitude / norm of each row of the weight, in scratch; 0 where a norm is. */
function rescaling(call: Call, magnitude: tf.TensorInfo, norms: tf.TensorInfo): { place: Place; values: Float32Array } {
  const [m, n] = [call.values(magnitude), call.values(norms)];
  const place = call.scratch(m.length);
  const values = call.backend.heap.f32(place, m.length);
  for (let o = 0; o < m.length; o++) values[o] = n[o] === 0 ? 0 : m[o]! / n[o]!;
  return { place, values };
}

export const doraLinear: BlasKernel<'SpftDoraLinear'> = (call, inputs, { scaling }) => {
  const { x, base, loraA, loraB, magnitude, norms, bias } = inputs as Record<string, tf.TensorInfo> & {
    bias?: tf.TensorInfo;
  };
  const [out, r] = loraB!.shape as [number, number];
  const T = x!.shape[0]!;
  const [y, h] = [call.output([T, out]), call.output([T, r])];
  const { place } = rescaling(call, magnitude!, norms!);
  const tensors = { x: x!, base: base!, loraA: loraA!, loraB: loraB!, y, h };
  const [yAt, biasAt] = [call.at(y), bias ? call.at(bias) : null];
  eachBlock(call, T, (from, rows) => {
    addBranch(call, tensors, scaling, from, rows);
    const [end, { pool }] = [from + rows, call];
    if (biasAt !== null) pool.call('addRow', from, end, yAt, biasAt, yAt, out, -1);
    pool.call('mulRow', from, end, yAt, place, yAt, out);
    if (biasAt !== null) pool.call('addRow', from, end, yAt, biasAt, yAt, out, 1);
  });
  return [y, h];
};

export const doraLinearGrad: BlasKernel<'SpftDoraLinearGrad'> = (call, inputs, { scaling }) => {
  const { x, base, h, loraA, loraB, magnitude, norms, dy, bias } = inputs as Record<string, tf.TensorInfo>;
  const [T, out] = dy!.shape as [number, number];
  const r = loraB!.shape[1]!;
  const { place, values: c } = rescaling(call, magnitude!, norms!);
  const [dbase, dm] = [call.output(dy!.shape), call.output([out])];
  call.share('mulRow', T, out, call.at(dy!), place, call.at(dbase), out);
  const tensors = { x: x!, h: h!, loraA: loraA!, loraB: loraB!, dz: dbase, dy: dy! };
  const { dx, dA, dB } = branchGrad(call, tensors, scaling);
  let centred = call.at(base!);
  if (bias) {
    centred = call.scratch(T * out);
    call.share('addRow', T, out, call.at(base!), call.at(bias), centred, out, -1);
  }
  call.share('columnDots', out, T, call.at(dy!), centred, T, out, call.at(dm));
  // Here dB is s·dyᵀ·h, from which the adapter's part of dm comes without x·Aᵀ·Bᵀ being made again.
  const [sums, b, scale, n] = [call.values(dB), call.values(loraB!), call.values(dm), call.values(norms!)];
  for (let o = 0, p = 0; o < out; o++) {
    let sum = scale[o]!;
    for (let end = p + r; p < end; p++) {
      sum += sums[p]! * b[p]!;
      sums[p]! *= c[o]!;
    }
    scale[o] = n[o] === 0 ? 0 : sum / n[o]!;
  }
  return [dx, dbase, dA, dB, dm];
};

export const doraNorms: BlasKernel<'SpftDoraNorms'> = (call, { weight, loraA, loraB }, { scaling }) => {
  const { pool } = call;
  const [out, inputs] = weight!.shape as [number, number];
  const r = loraB!.shape[1]!;
  const norms = call.output([out]);
  const sum = call.scratch(sizeOf(weight!.shape));
  call.backend.heap.f32(sum, out * inputs).set(call.values(weight!));
  const [a, b, c] = [
    [call.native(loraB!), r],
    [call.native(loraA!), inputs],
    [pool.native(sum), inputs],
  ] as const;
  if (r > 0) addParts(pool, { m: out, n: inputs, k: r, a, b, c, alpha: scaling, beta: 1 });
  pool.run();
  const values = call.values(norms);
  for (let o = 0; o < out; o++) values[o] = Math.sqrt(pool.kernels.squares(sum + 4 * o * inputs, inputs));
  return norms;
};
