/** @file DoRA on top of a base product, its norms and its gradients. */
import type * as tf from '@tensorflow/tfjs-core';
import { type Place, sizeOf } from '../../backend.js';
import type { BlasKernel, Call } from '../../shared/call.js';
import { addParts } from '../../shared/product.js';
import { addBranch, branchGrad, eachBlock } from './branch.js';

/** magnitude / norm of each row of the weight, in scratch; 0 where a norm is. */
export function rescaling(
  call: Call,
  magnitude: tf.TensorInfo,
  norms: tf.TensorInfo,
): { place: Place; values: Float32Array } {
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
