/** @file Products with a frozen weight, which BLAS reads as it lies. */
import type * as tf from '@tensorflow/tfjs-core';
import type { Place } from '../../backend.js';
import type { NativeAddress } from '../../library/blas.js';
import type { Call } from '../../shared/call.js';
import { multiply } from '../../shared/product.js';

/** y = x·wᵀ + bias, w [n, k] at `weight`. */
export function forward(
  call: Call,
  x: tf.TensorInfo,
  weight: NativeAddress,
  n: number,
  bias: Place | null,
): tf.TensorInfo {
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
export function backward(call: Call, dy: tf.TensorInfo, weight: NativeAddress, n: number): tf.TensorInfo {
  const [m, k] = dy.shape as [number, number];
  const dx = call.output([m, n]);
  if (k === 0) call.values(dx).fill(0);
  else {
    const [a, b, c] = [[call.native(dy), k] as const, [weight, n] as const, [call.native(dx), n] as const];
    multiply(call.pool, { m, n, k, a, b, c });
  }
  return dx;
}
