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
  /** [channels, H] each; of sparse rows up's lies below gate's, so that both are one matrix of twice the channels. */
  readonly gate: NativeAddress;
  readonly up: NativeAddress;
  /** [H, channels]. */
  readonly down: NativeAddress;
  /** Before SwiGLU, [rows, channels] each with `stride` numbers from one row to the next; of sparse rows up's beside gate's. */
  readonly gateAt: Place;
  readonly upAt: Place;
  readonly stride: number;
  readonly keep: KernelSelection | null;
}

function denseRowsOf(
  call: Call,
  { gate, up, down }: KernelMlpWeights,
  [gates, ups]: readonly [tf.TensorInfo, tf.TensorInfo],
): Rows {
  const [rows, channels] = gates.shape as [number, number];
  return {
    ...{ first: 0, rows, channels, keep: null, gateAt: call.at(gates), upAt: call.at(ups), stride: channels },
    ...{ gate: call.native(gate.weight), up: call.native(up.weight), down: call.native(down.weight) },
  };
}

/** @param both gate's and up's outputs beside each other, [rows, 2 · kept]. @param down kept columns of its weight, [H, kept]. */
function sparseRowsOf(
  call: Call,
  { gate, up }: KernelMlpWeights,
  [both, down]: readonly [tf.TensorInfo, tf.TensorInfo],
  first: number,
  keep: KernelSelection,
): Rows {
  const [rows, stride] = both.shape as [number, number];
  const [channels, H] = [keep.kept, gate.weight.shape[1]!];
  const weights = call.pool.native(keptRows(call, keep.indices, gate.weight, up.weight));
  const gateAt = call.at(both);
  return {
    ...{ first, rows, channels, keep, gateAt, upAt: gateAt + 4 * channels, stride },
    ...{ gate: weights, up: weights + 4 * channels * H, down: call.native(down) },
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
  const all = [denseRowsOf(call, weights, [kept[0]!, kept[1]!])];
  if (keep && D < T) {
    const [both, gathered] = [call.output([T - D, 2 * keep.kept]), call.output([H, keep.kept])];
    gatherColumnsTo(call, down.weight, keep.indices, call.at(gathered));
    kept.push(both, gathered);
    all.push(sparseRowsOf(call, weights, [both, gathered], D, keep));
  }
  const xAt = call.native(x!);
  const hs = all.map(({ rows, channels, stride, ...of }) => {
    const h = withOutput ? call.scratch(rows * stride) : 0;
    const biases = [gate, up].map(
      ({ bias }) => bias && (of.keep ? keptOf(call, bias, of.keep.indices) : call.at(bias)),
    );
    eachPart(pool, { m: rows, n: channels, k: H }, ({ i, j, m, n }) => {
      const at = 4 * (i * stride + j);
      const a = [xAt + 4 * (of.first + i) * H, H] as const;
      // Of all channels, what lies in one matrix is one product.
      const together = of.keep !== null && n === channels;
      for (const layer of together ? [0] : [0, 1]) {
        const [weight, to] = layer === 0 ? [of.gate, of.gateAt] : [of.up, of.upAt];
        const product = { m, n: together ? 2 * n : n, k: H, a, b: [weight + 4 * j * H, H] as const };
        addProduct(pool, { ...product, c: [pool.native(to + at), stride], transposeB: true });
      }
      biases.forEach((bias, layer) => {
        const to = (layer === 0 ? of.gateAt : of.upAt) + at;
        if (bias !== null) pool.call('startBlock', 0, m, to, stride, bias + 4 * j, to, stride, n);
      });
      if (withOutput) pool.call('swigluBlock', 0, m, of.gateAt + at, of.upAt + at, h + at, stride, n);
    });
    return h;
  });
  pool.run();
  if (!withOutput) return [y, ...kept];
  const [yAt, residualAt, bias] = [call.at(y), call.at(residual!), down.bias ? call.at(down.bias) : 0];
  for (const [index, { first, rows, channels, stride, down }] of all.entries()) {
    eachPart(pool, { m: rows, n: H, k: channels }, ({ i, j, m, n }) => {
      const at = 4 * ((first + i) * H + j);
      pool.call('startBlock', 0, m, residualAt + at, H, bias && bias + 4 * j, yAt + at, H, n);
      const a = [pool.native(hs[index]! + 4 * i * stride), stride] as const;
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
  const kept = [0, 1, 2, 3].map((n) => inputs[`kept${n}`]!);
  const dx = call.output([T, H]);
  const all = [denseRowsOf(call, weights, [kept[0]!, kept[1]!])];
  if (keep && D < T) all.push(sparseRowsOf(call, weights, [kept[2]!, kept[3]!], D, keep));
  const dyAt = call.native(inputs.dy!);
  const gradients = all.map(({ first, rows, channels, down, gateAt, upAt, stride, keep }) => {
    // As gate's and up's outputs lie.
    const dgates = call.scratch(rows * stride);
    const dups = keep ? dgates + 4 * channels : call.scratch(rows * stride);
    eachPart(pool, { m: rows, n: channels, k: H }, ({ i, j, m, n }) => {
      const at = 4 * (i * stride + j);
      const [a, b] = [[dyAt + 4 * (first + i) * H, H] as const, [down + 4 * j, channels] as const];
      addProduct(pool, { m, n, k: H, a, b, c: [pool.native(dups + at), stride] });
      const places = [gateAt + at, upAt + at, dups + at, dgates + at, dups + at];
      pool.call('swigluGradBlock', 0, m, ...places, stride, n);
    });
    return [dgates, dups] as const;
  });
  pool.run();
  const dxAt = call.native(dx);
  for (const [index, { first, rows, channels, gate, up, stride, keep }] of all.entries()) {
    const [dgates, dups] = gradients[index]!;
    const layers = keep
      ? [{ from: dgates, weight: gate, k: 2 * channels }]
      : [
          { from: dgates, weight: gate, k: channels },
          { from: dups, weight: up, k: channels },
        ];
    eachPart(pool, { m: rows, n: H, k: 2 * channels }, ({ i, j, m, n }) => {
      const c = [dxAt + 4 * ((first + i) * H + j), H] as const;
      layers.forEach(({ from, weight, k }, layer) => {
        const a = [pool.native(from + 4 * i * stride), stride] as const;
        addProduct(pool, { m, n, k, a, b: [weight + 4 * j, H], c, beta: layer });
      });
    });
  }
  pool.run();
  return dx;
};
