/**
 * @file The gated MLP of a decoder layer, forward and backward, in two jobs each: a thread makes its part of gate's and up's products and takes it through
 * SwiGLU while it is in its cache, then its part of down's, which begins with the residual. Dense and sparse rows go in the same jobs, without copies.
 *
 * Which rows and channels a part has is chosen by what least is packed twice (shared/product.ts): whole blocks of rows, one after the other through all
 * three, would have every thread pack all weights, which for 64 rows costs a fifth to a quarter of the products' time.
 */
import type { KernelMlpWeights, KernelSelection } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs-core';
import type { Place } from '../../backend.js';
import type { NativeAddress } from '../../library/blas.js';
import type { BlasKernel, Call } from '../../shared/call.js';
import { addProduct, eachPart } from '../../shared/product.js';
import { gatherColumnsTo, keptOf, keptRows } from '../project/kept-weight.js';

/** Rows that compute the same channels: the dense ones, or the sparse ones. */
interface Rows {
  readonly first: number;
  readonly rows: number;
  readonly channels: number;
  /** [channels, H]. */
  readonly gate: NativeAddress;
  readonly up: NativeAddress;
  /** [H, channels]. */
  readonly down: NativeAddress;
  /** [rows, channels], before SwiGLU. */
  readonly gateAt: Place;
  readonly upAt: Place;
  readonly keep: KernelSelection | null;
}

/** @param down weight [H, channels]. */
function rowsOf(
  call: Call,
  { gate, up }: KernelMlpWeights,
  [gates, ups, down]: readonly [tf.TensorInfo, tf.TensorInfo, tf.TensorInfo],
  first: number,
  keep: KernelSelection | null,
): Rows {
  const [rows, channels] = gates.shape as [number, number];
  const weightOf = (weight: tf.TensorInfo) =>
    keep && rows > 0 ? call.pool.native(keptRows(call, weight, keep.indices)) : call.native(weight);
  return {
    ...{ first, rows, channels, keep, gate: weightOf(gate.weight), up: weightOf(up.weight), down: call.native(down) },
    ...{ gateAt: call.at(gates), upAt: call.at(ups) },
  };
}

export const gatedMlp: BlasKernel<'SpftGatedMlp'> = (call, { x, residual }, attributes) => {
  const { weights, keep, denseRows, withOutput = true } = attributes;
  const { gate, up, down } = weights;
  const { pool } = call;
  const [T, H] = x!.shape as [number, number];
  const I = gate.weight.shape[0]!;
  const D = keep ? denseRows : T;
  const y = call.output([T, H]);
  const kept = [call.output([D, I]), call.output([D, I])];
  const all = [rowsOf(call, weights, [kept[0]!, kept[1]!, down.weight], 0, null)];
  if (keep) {
    const [gates, ups] = [call.output([T - D, keep.kept]), call.output([T - D, keep.kept])];
    const gathered = call.output([H, keep.kept]);
    gatherColumnsTo(call, down.weight, keep.indices, call.at(gathered));
    kept.push(gates, ups, gathered);
    all.push(rowsOf(call, weights, [gates, ups, gathered], D, keep));
  }
  const xAt = call.native(x!);
  const hs = all.map(({ rows, channels, ...of }) => {
    const h = withOutput ? call.scratch(rows * channels) : 0;
    const layers = [gate, up].map(({ bias }, n) => ({
      weight: [of.gate, of.up][n]!,
      to: [of.gateAt, of.upAt][n]!,
      bias: bias && (of.keep ? keptOf(call, bias, of.keep.indices) : call.at(bias)),
    }));
    eachPart(pool, { m: rows, n: channels, k: H }, ({ i, j, m, n }) => {
      const at = 4 * (i * channels + j);
      for (const { weight, to, bias } of layers) {
        const [a, b] = [[xAt + 4 * (of.first + i) * H, H] as const, [weight + 4 * j * H, H] as const];
        addProduct(pool, { m, n, k: H, a, b, c: [pool.native(to + at), channels], transposeB: true });
        if (bias !== null) pool.call('startBlock', 0, m, to + at, channels, bias + 4 * j, to + at, channels, n);
      }
      if (withOutput) pool.call('swigluBlock', 0, m, of.gateAt + at, of.upAt + at, h + at, channels, n);
    });
    return h;
  });
  pool.run();
  if (!withOutput) return [y, ...kept];
  const [yAt, residualAt, bias] = [call.at(y), call.at(residual!), down.bias ? call.at(down.bias) : 0];
  for (const [index, { first, rows, channels, down }] of all.entries()) {
    eachPart(pool, { m: rows, n: H, k: channels }, ({ i, j, m, n }) => {
      const at = 4 * ((first + i) * H + j);
      pool.call('startBlock', 0, m, residualAt + at, H, bias && bias + 4 * j, yAt + at, H, n);
      const a = [pool.native(hs[index]! + 4 * i * channels), channels] as const;
      const [b, c] = [[down + 4 * j * channels, channels] as const, [pool.native(yAt + at), H] as const];
      addProduct(pool, { m, n, k: channels, a, b, c, transposeB: true, beta: 1 });
    });
  }
  pool.run();
  return [y, ...kept];
};

/** dx = dgate·Wgate + dup·Wup, where dh = dy·Wdown goes back through SwiGLU. */
export const gatedMlpGrad: BlasKernel<'SpftGatedMlpGrad'> = (call, inputs, { weights, keep, denseRows }) => {
  const { pool } = call;
  const [T, H] = inputs.dy!.shape as [number, number];
  const D = keep ? denseRows : T;
  const kept = [0, 1, 2, 3, 4].map((n) => inputs[`kept${n}`]!);
  const dx = call.output([T, H]);
  const all = [rowsOf(call, weights, [kept[0]!, kept[1]!, weights.down.weight], 0, null)];
  if (keep) all.push(rowsOf(call, weights, [kept[2]!, kept[3]!, kept[4]!], D, keep));
  const dyAt = call.native(inputs.dy!);
  const gradients = all.map(({ first, rows, channels, down, gateAt, upAt }) => {
    const [dgates, dups] = [call.scratch(rows * channels), call.scratch(rows * channels)];
    eachPart(pool, { m: rows, n: channels, k: H }, ({ i, j, m, n }) => {
      const at = 4 * (i * channels + j);
      const [a, b] = [[dyAt + 4 * (first + i) * H, H] as const, [down + 4 * j, channels] as const];
      addProduct(pool, { m, n, k: H, a, b, c: [pool.native(dups + at), channels] });
      const places = [gateAt + at, upAt + at, dups + at, dgates + at, dups + at];
      pool.call('swigluGradBlock', 0, m, ...places, channels, n);
    });
    return [dgates, dups] as const;
  });
  pool.run();
  const dxAt = call.native(dx);
  for (const [index, { first, rows, channels, gate, up }] of all.entries()) {
    eachPart(pool, { m: rows, n: H, k: 2 * channels }, ({ i, j, m, n }) => {
      const c = [dxAt + 4 * ((first + i) * H + j), H] as const;
      [gate, up].forEach((weight, layer) => {
        const a = [pool.native(gradients[index]![layer]! + 4 * i * channels), channels] as const;
        addProduct(pool, { m, n, k: channels, a, b: [weight + 4 * j, H], c, beta: layer });
      });
    });
  }
  pool.run();
  return dx;
};
