/**
 * @file The gated MLP of a decoder layer in one job: a thread takes some rows through gate and up, SwiGLU, down and on to the residual while they are in its
 * cache, sparse rows by the kept channels alone. Nobody waits for anybody between the products, and no rows are copied to take dense and sparse apart.
 */
import type * as tf from '@tensorflow/tfjs';
import type { KernelWeight } from '../../contract/layers.js';
import { share } from './kernels.js';
import type { Address, SimdCall, SimdRun } from './module.js';
import {
  addProduct,
  biasOf,
  callProduct,
  keptBiasOf,
  type Operand,
  type Product,
  type SelectedOperand,
  stretches,
  whole,
} from './products.js';
import { inScratch } from './threads/pool.js';

const FLOAT = 4;

/** Rows that a thread takes through at a time: few enough to stay in its cache, enough that packing weights for them costs little. */
const MOST_ROWS = 96;
/** Below so many rows for each thread there is more to gain by parts of weights: one product after the other, all threads at each. */
const LEAST_ROWS = 24;

/** Rows that compute the same channels: all, or the dense ones, or the sparse ones. */
interface Part {
  readonly first: number;
  readonly rows: number;
  readonly channels: number;
  /** As second operands of x and of what SwiGLU gives: [H, channels] and [channels, H]. */
  readonly gate: SelectedOperand;
  readonly up: SelectedOperand;
  readonly down: Operand;
  readonly gateAt: Address;
  readonly upAt: Address;
}

/** Down's kept columns, transposed: [channels, H]. */
function gatherDown(call: SimdCall, weight: tf.TensorInfo, indices: tf.TensorInfo, to: tf.TensorInfo): void {
  const [H, I] = weight.shape as [number, number];
  const kept = indices.shape[0]!;
  const [from, list, y] = [call.at(weight), call.at(indices), call.at(to)];
  share(call, H, kept, 8, (first, end) =>
    call.pool.call('gatherColumnsTransposed', from, I, list, kept, y, H, first, end),
  );
}

/** A matrix without its first rows. */
const below = (operand: Operand, rows: number): Operand => ({
  ...operand,
  at: operand.at + FLOAT * rows * operand.stride,
});

/**
 * Adds the rows [from, to) of a product to the chunk, whose operands begin with them. It keeps the number of all its rows, by which the way of a product is
 * chosen: so that a small piece goes the way of the others, and its bits do not depend on how rows are cut.
 */
const rowsOf = (call: SimdCall, product: Product, [from, to]: readonly [number, number]): void =>
  callProduct(call, product, [0, to - from], [0, product.n]);

/** Rows [from, to) of a part, cut for the threads: alike, and as many for each of them. */
const pieces = ({ pool }: SimdCall, { rows }: Part): [number, number][] =>
  stretches(rows, pool.threads * Math.ceil(rows / MOST_ROWS / pool.threads), 4);

const byRows = (call: SimdCall, { rows }: Part): boolean => rows >= LEAST_ROWS * call.pool.threads;

export const gatedMlp: SimdRun<'SpftGatedMlp'> = (
  call,
  { x, residual },
  { weights, keep, denseRows, withOutput = true },
) => {
  const { gate, down } = weights;
  const [T, H] = x!.shape as [number, number];
  const I = gate.weight.shape[0]!;
  const y = call.output([T, H]);
  const D = keep ? denseRows : T;
  const kept: tf.TensorInfo[] = [];
  const output = (rows: number, columns: number) => {
    const info = call.output([rows, columns]);
    kept.push(info);
    return info;
  };
  const activations = [output(D, I), output(D, I)];
  const parts: Part[] = [partOf(call, weights, activations, 0)];
  const biases = [biasesOf(call, weights, null)];
  if (keep) {
    const { indices, kept: channels } = keep;
    const sparse = [output(T - D, channels), output(T - D, channels)];
    const gathered = output(channels, H);
    gatherDown(call, down.weight, indices as tf.TensorInfo, gathered);
    parts.push(partOf(call, weights, sparse, D, { indices: indices as tf.TensorInfo, down: gathered }));
    biases.push(biasesOf(call, weights, indices as tf.TensorInfo));
  }
  const [xs, ys, residuals, bias] = [
    whole(call, x!),
    whole(call, y),
    whole(call, residual!),
    biasOf(call, down.bias ?? undefined),
  ];
  call.pool.reserve(call.module.multiplyScratch() + FLOAT * MOST_ROWS * I);
  const h = inScratch(call.module.multiplyScratch());
  for (const [n, part] of parts.entries()) {
    const { first, rows, channels } = part;
    if (rows === 0) continue;
    const [gateBias, upBias] = biases[n]!;
    const [input, output, added] = [below(xs, first), below(ys, first), below(residuals, first)];
    const product = { m: rows, k: H, n: channels, a: input };
    const gates = { ...product, b: part.gate, c: { at: part.gateAt, stride: channels }, added: gateBias ?? null };
    const ups = { ...product, b: part.up, c: { at: part.upAt, stride: channels }, added: upBias ?? null };
    const downs = { m: rows, k: channels, n: H, b: part.down, c: output, added };
    const finish = (from: number, to: number) => {
      if (bias) call.pool.call('addRow', bias.at, below(output, from).at, to - from, H);
    };
    if (!byRows(call, part)) {
      addProduct(call, gates);
      addProduct(call, ups);
      call.pool.run();
      if (!withOutput) continue;
      const silu = call.scratch(rows * channels);
      call.module.swiglu(part.gateAt, part.upAt, silu, rows * channels);
      addProduct(call, { ...downs, a: { at: silu, stride: channels } });
      call.pool.run();
      finish(0, rows);
      call.pool.endChunk();
      continue;
    }
    for (const piece of pieces(call, part)) {
      const [from, to] = piece;
      const at = FLOAT * from * channels;
      const a = below(input, from);
      const [g, u] = [part.gateAt + at, part.upAt + at];
      rowsOf(call, { ...gates, a, c: { at: g, stride: channels } }, piece);
      rowsOf(call, { ...ups, a, c: { at: u, stride: channels } }, piece);
      if (withOutput) {
        call.pool.call('swiglu', g, u, h, (to - from) * channels);
        const ends = { c: below(output, from), added: below(added, from) };
        rowsOf(call, { ...downs, a: { at: h, stride: channels }, ...ends }, piece);
        finish(from, to);
      }
      call.pool.endChunk();
    }
  }
  call.pool.run();
  return [y, ...kept];
};

/** What rows from `first` on are multiplied by, and where their activations lie. */
function partOf(
  call: SimdCall,
  { gate, up, down }: { readonly gate: KernelWeight; readonly up: KernelWeight; readonly down: KernelWeight },
  [gates, ups]: readonly tf.TensorInfo[],
  first: number,
  selected: { readonly indices: tf.TensorInfo; readonly down: tf.TensorInfo } | null = null,
): Part {
  const [rows, channels] = gates!.shape as [number, number];
  const list = selected && { rows: call.at(selected.indices) };
  return {
    ...{ first, rows, channels },
    gate: { ...whole(call, gate.weight as tf.TensorInfo, true), ...list },
    up: { ...whole(call, up.weight as tf.TensorInfo, true), ...list },
    down: selected ? whole(call, selected.down) : whole(call, down.weight as tf.TensorInfo, true),
    ...{ gateAt: call.at(gates!), upAt: call.at(ups!) },
  };
}

/** What is added to gate's and up's products. The gradient asks for none of it, by when a bias that is no weight may be gone. */
const biasesOf = (
  call: SimdCall,
  { gate, up }: { readonly gate: KernelWeight; readonly up: KernelWeight },
  indices: tf.TensorInfo | null,
): (Operand | null)[] =>
  [gate, up].map(({ bias }) =>
    indices ? keptBiasOf(call, bias ?? undefined, indices) : biasOf(call, bias ?? undefined),
  );

/** dx = dgate·Wgate + dup·Wup, where dh = dy·Wdown goes back through SwiGLU. */
export const gatedMlpGrad: SimdRun<'SpftGatedMlpGrad'> = (call, inputs, { weights, keep, denseRows }) => {
  const [T, H] = inputs.dy!.shape as [number, number];
  const D = keep ? denseRows : T;
  const kept = [0, 1, 2, 3, 4].map((n) => inputs[`kept${n}`]!);
  const dx = call.output([T, H]);
  const parts = [partOf(call, weights, kept.slice(0, 2), 0)];
  if (keep) {
    parts.push(partOf(call, weights, kept.slice(2, 4), D, { indices: keep.indices as tf.TensorInfo, down: kept[4]! }));
  }
  const [dys, dxs] = [whole(call, inputs.dy!), whole(call, dx)];
  const widest = Math.max(...parts.map(({ channels }) => channels));
  call.pool.reserve(call.module.multiplyScratch() + 2 * FLOAT * MOST_ROWS * widest);
  const dup = inScratch(call.module.multiplyScratch());
  for (const part of parts) {
    const { first, rows, channels } = part;
    if (rows === 0) continue;
    const [dy, result] = [below(dys, first), below(dxs, first)];
    // What x is multiplied by is stored as its transpose, so these are plain; and down's transpose is what h is not multiplied by.
    const [back, gate, up] = [part.down, part.gate, part.up].map((b) => ({ ...b, transposed: !b.transposed }));
    const through = { k: H, n: channels, b: back! };
    const out = { k: channels, n: H };
    if (!byRows(call, part)) {
      const [dh, dgates] = [call.scratch(rows * channels), call.scratch(rows * channels)];
      addProduct(call, { ...through, m: rows, a: dy, c: { at: dh, stride: channels } });
      call.pool.run();
      call.module.swigluGrad(part.gateAt, part.upAt, dh, dgates, dh, rows * channels);
      addProduct(call, { ...out, m: rows, a: { at: dgates, stride: channels }, b: gate!, c: result });
      call.pool.run();
      addProduct(call, { ...out, m: rows, a: { at: dh, stride: channels }, b: up!, c: result, added: result });
      call.pool.run();
      continue;
    }
    for (const piece of pieces(call, part)) {
      const [from, to] = piece;
      const at = FLOAT * from * channels;
      const dgate = dup + FLOAT * MOST_ROWS * widest;
      const [dgates, dups] = [dgate, dup].map((at) => ({ at, stride: channels }));
      const c = below(result, from);
      rowsOf(call, { ...through, m: rows, a: below(dy, from), c: dups! }, piece);
      const places = [part.gateAt + at, part.upAt + at, dup, dgate, dup];
      call.pool.call('swigluGrad', ...places, (to - from) * channels);
      rowsOf(call, { ...out, m: rows, a: dgates!, b: gate!, c }, piece);
      rowsOf(call, { ...out, m: rows, a: dups!, b: up!, c, added: c }, piece);
      call.pool.endChunk();
    }
  }
  call.pool.run();
  return dx;
};
