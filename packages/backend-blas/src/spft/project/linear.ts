/**
 * @file Frozen linear layers of `@spft/sparse-ops`, dense and by kept channels. The weight is read as it lies, transposed or not, by BLAS; kept
 * rows or columns are gathered first, which takes a hundredth of the product.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { Place } from '../../backend.js';
import type { NativeAddress } from '../../library/blas.js';
import type { BlasKernel, Call } from '../../shared/call.js';
import { multiply } from '../../shared/product.js';
import { copyRows } from '../norm/token-wise.js';

/** y = x·wᵀ + bias, w [n, k] at `weight`. */
function forward(call: Call, x: tf.TensorInfo, weight: NativeAddress, n: number, bias: Place | null): tf.TensorInfo {
  const [m, k] = x.shape as [number, number];
  const y = call.output([m, n]);
  if (k === 0) call.values(y).fill(0);
  else {
    const [a, b, c] = [[call.native(x), k] as const, [weight, k] as const, [call.native(y), n] as const];
    multiply(call.pool, { m, n, k, a, b, c, transposeB: true });
  }
  if (bias !== null && m > 0) call.share('addRow', m, n, call.at(y), bias, call.at(y), n, 1);
  return y;
}

/** dx = dy·w, w [k, n] at `weight`. */
function backward(call: Call, dy: tf.TensorInfo, weight: NativeAddress, n: number): tf.TensorInfo {
  const [m, k] = dy.shape as [number, number];
  const dx = call.output([m, n]);
  if (k === 0) call.values(dx).fill(0);
  else {
    const [a, b, c] = [[call.native(dy), k] as const, [weight, n] as const, [call.native(dx), n] as const];
    multiply(call.pool, { m, n, k, a, b, c });
  }
  return dx;
}

export const linear: BlasKernel<'SpftLinear'> = (call, { x, weight, bias }) =>
  forward(call, x!, call.native(weight!), weight!.shape[0]!, bias ? call.at(bias) : null);

export const linearGrad: BlasKernel<'SpftLinearGrad'> = (call, { dy, weight }) =>
  backward(call, dy!, call.native(weight!), weight!.shape[1]!);

/** Kept rows of a weight [out, in], in scratch. */
function keptRows(call: Call, weight: tf.TensorInfo, indices: tf.TensorInfo): Place {
  const n = weight.shape[1]!;
  const kept = indices.shape[0]!;
  const place = call.scratch(kept * n);
  const from = call.backend.placeLasting(weight);
  if (from !== null) call.share('gatherRows', kept, n, from, n, call.at(indices), place);
  else copyRows(call.values(weight), call.values(indices), n, call.backend.heap.f32(place, kept * n));
  return place;
}

/** Kept columns of a weight [out, in], as [out, kept] in scratch. */
function keptColumns(call: Call, weight: tf.TensorInfo, indices: tf.TensorInfo): Place {
  const [rows, n] = weight.shape as [number, number];
  const kept = indices.shape[0]!;
  const place = call.scratch(rows * kept);
  call.share('gatherColumns', rows, kept, call.at(weight), n, call.at(indices), kept, place);
  return place;
}

function keptOf(call: Call, bias: tf.TensorInfo, indices: tf.TensorInfo): Place {
  const [from, kept] = [call.values(bias), call.values(indices)];
  const place = call.scratch(kept.length);
  const to = call.backend.heap.f32(place, kept.length);
  for (let i = 0; i < kept.length; i++) to[i] = from[kept[i]!]!;
  return place;
}

export const linearKeptRows: BlasKernel<'SpftLinearKeptRows'> = (call, { x, weight, indices, bias }) => {
  const rows = call.pool.native(keptRows(call, weight!, indices!));
  return forward(call, x!, rows, indices!.shape[0]!, bias ? keptOf(call, bias, indices!) : null);
};

export const linearKeptRowsGrad: BlasKernel<'SpftLinearKeptRowsGrad'> = (call, { dy, weight, indices }) =>
  backward(call, dy!, call.pool.native(keptRows(call, weight!, indices!)), weight!.shape[1]!);

export const linearKeptColumns: BlasKernel<'SpftLinearKeptColumns'> = (call, { x, weight, indices, bias }) => {
  const columns = call.pool.native(keptColumns(call, weight!, indices!));
  return forward(call, x!, columns, weight!.shape[0]!, bias ? call.at(bias) : null);
};

export const linearKeptColumnsGrad: BlasKernel<'SpftLinearKeptColumnsGrad'> = (call, { dy, weight, indices }) =>
  backward(call, dy!, call.pool.native(keptColumns(call, weight!, indices!)), indices!.shape[0]!);
