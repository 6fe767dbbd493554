/**
 * @file What the kernels of several products share: rows that compute the same channels, and the branches of adapters, of all layers of one input together.
 *
 * What a layer's output begins with is written first, by blocks of rows: a bias, a residual, and the branch's thin products while the block is in a
 * thread's cache. Frozen products are added to that, so that no sum is a pass of its own.
 */
import type { KernelBranch, KernelLayer, KernelSelection } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs-core';
import type { Place } from '../../backend.js';
import type { NativeAddress } from '../../library/blas.js';
import type { Call } from '../../shared/call.js';
import { addParts, addProduct } from '../../shared/product.js';
import { rescaling } from './dora-linear.js';

/** Rows [first, first + rows), which compute the same channels; all where `keep` is null. */
export interface LayerRows {
  readonly first: number;
  readonly rows: number;
  readonly keep: KernelSelection | null;
}

/** T rows as their dense and sparse ones, as far as there are any. */
export function rowsOfLayer(T: number, denseRows: number, keep: KernelSelection | null): LayerRows[] {
  const D = keep ? denseRows : T;
  return [
    { first: 0, rows: D, keep: null },
    { first: D, rows: T - D, keep },
  ].filter(({ rows }) => rows > 0);
}

/** Calls `add` for blocks of rows, of which none has both dense and sparse ones, each a chunk, and runs them. */
export function eachBlockOfRows(
  call: Call,
  T: number,
  denseRows: number,
  add: (from: number, rows: number, isSparse: boolean) => void,
): void {
  const step = Math.max(16, Math.ceil(T / (2 * call.pool.threads) / 16) * 16);
  for (const [begin, end] of [
    [0, denseRows],
    [denseRows, T],
  ] as const) {
    for (let from = begin; from < end; from += step) {
      add(from, Math.min(step, end - from), begin === denseRows);
      call.pool.endChunk();
    }
  }
  call.pool.run();
}

/** A layer's branch among those of all. */
interface BranchPlace extends KernelBranch {
  readonly layer: number;
  /** Its rank, and where its columns of h begin. */
  readonly r: number;
  readonly at: number;
}

/** The branches of layers of one input. */
export interface Branches {
  readonly all: readonly BranchPlace[];
  /** Of each layer, or null. */
  readonly of: readonly (BranchPlace | null)[];
  /** Σr, and all A's below each other: [Σr, in]. */
  readonly width: number;
  readonly a: NativeAddress;
}

/** Null where no layer has one. */
export function branchesOf(call: Call, layers: readonly Pick<KernelLayer, 'lora'>[]): Branches | null {
  const all: BranchPlace[] = [];
  let width = 0;
  const of = layers.map(({ lora }, layer) => {
    if (!lora) return null;
    const place = { ...lora, layer, r: lora.b.shape[1]!, at: width };
    all.push(place);
    width += place.r;
    return place;
  });
  const [first] = all;
  if (!first) return null;
  if (all.length === 1) return { all, of, width, a: call.native(first.a) };
  const inputs = first.a.shape[1]!;
  const together = call.scratch(width * inputs);
  const values = call.backend.heap.f32(together, width * inputs);
  for (const { a, at } of all) values.set(call.values(a), at * inputs);
  return { all, of, width, a: call.pool.native(together) };
}

/** Adds h = x·[A…]ᵀ for rows of a block. */
export function addH(
  { pool }: Call,
  { width, a }: Branches,
  x: NativeAddress,
  inputs: number,
  h: NativeAddress,
  from: number,
  rows: number,
): void {
  const [left, c] = [[x + 4 * from * inputs, inputs] as const, [h + 4 * from * width, width] as const];
  addProduct(pool, { m: rows, n: width, k: inputs, a: left, b: [a, inputs], c, transposeB: true });
}

/** Adds y = s·h·Bᵀ for rows of a block, or `beta: 1` to what y is. */
export function addBranchOutput(
  call: Call,
  { b, r, at, scaling }: BranchPlace,
  { width }: Branches,
  h: NativeAddress,
  y: Place,
  [from, rows]: readonly [number, number],
  beta: 0 | 1,
): void {
  const { pool } = call;
  const out = b.shape[0]!;
  const [left, c] = [[h + 4 * (from * width + at), width] as const, [pool.native(y + 4 * from * out), out] as const];
  const product = { m: rows, n: out, k: r, a: left, b: [call.native(b), r] as const, c };
  addProduct(pool, { ...product, transposeB: true, alpha: scaling, beta });
}

/** Adds dh = s·dz·B of each branch, and dx = dh·[A…] where it is wanted, for rows of a block. @param dzs of each layer. */
export function addBranchGradient(
  call: Call,
  { all, width, a }: Branches,
  dzs: readonly NativeAddress[],
  dh: NativeAddress,
  dx: NativeAddress | null,
  [from, rows]: readonly [number, number],
): void {
  const { pool } = call;
  for (const { layer, b, r, at, scaling } of all) {
    const out = b.shape[0]!;
    const [left, c] = [[dzs[layer]! + 4 * from * out, out] as const, [dh + 4 * (from * width + at), width] as const];
    addProduct(pool, { m: rows, n: r, k: out, a: left, b: [call.native(b), r], c, alpha: scaling });
  }
  const inputs = all[0]!.a.shape[1]!;
  if (dx === null) return;
  const [left, c] = [[dh + 4 * from * width, width] as const, [dx + 4 * from * inputs, inputs] as const];
  addProduct(pool, { m: rows, n: inputs, k: width, a: left, b: [a, inputs], c });
}

/** Adds dA and dB of each branch to the job, which need all rows of dh. @returns them. */
export function addBranchParameters(
  call: Call,
  { all, width }: Branches,
  x: tf.TensorInfo,
  h: tf.TensorInfo,
  dh: NativeAddress,
  dzs: readonly NativeAddress[],
): [dA: tf.TensorInfo, dB: tf.TensorInfo][] {
  const { pool } = call;
  const [T, inputs] = x.shape as [number, number];
  // Those of all A's are one product, which reads and packs x once; each is rows of it.
  const dAs = call.output([width, inputs]);
  const gradients = all.map(({ a, b, at }): [tf.TensorInfo, tf.TensorInfo] => [
    call.view(dAs, a.shape, at * inputs),
    call.output(b.shape),
  ]);
  if (T === 0) for (const gradient of [dAs, ...gradients.map(([, dB]) => dB)]) call.values(gradient).fill(0);
  else {
    const ofA = { m: width, n: inputs, k: T, a: [dh, width], b: [call.native(x), inputs] } as const;
    addParts(pool, { ...ofA, c: [call.native(dAs), inputs], transposeA: true });
    all.forEach(({ layer, b, r, at, scaling }, n) => {
      const out = b.shape[0]!;
      const ofB = { m: out, n: r, k: T, a: [dzs[layer]!, out], b: [call.native(h) + 4 * at, width] } as const;
      addParts(pool, { ...ofB, c: [call.native(gradients[n]![1]), r], transposeA: true, alpha: scaling });
    });
  }
  call.release(dAs);
  return gradients;
}

/** y = z ⊙ magnitude / norms; DoRA's. */
export function rescaled(call: Call, z: tf.TensorInfo, magnitude: tf.TensorInfo, norms: tf.TensorInfo): tf.TensorInfo {
  const [T, out] = z.shape as [number, number];
  const y = call.output([T, out]);
  call.share('mulRow', T, out, call.at(z), rescaling(call, magnitude, norms).place, call.at(y), out);
  return y;
}

/** dz = dy ⊙ magnitude / norms [T, out] in scratch, and dmagnitude [out]. */
export function rescaledGradient(
  call: Call,
  dy: tf.TensorInfo,
  z: tf.TensorInfo,
  magnitude: tf.TensorInfo,
  norms: tf.TensorInfo,
): { dz: Place; dm: tf.TensorInfo } {
  const [T, out] = dy.shape as [number, number];
  const [dz, dm] = [call.scratch(T * out), call.output([out])];
  call.share('mulRow', T, out, call.at(dy), rescaling(call, magnitude, norms).place, dz, out);
  call.share('columnDots', out, T, call.at(dy), call.at(z), T, out, call.at(dm));
  const [sums, lengths] = [call.values(dm), call.values(norms)];
  for (let o = 0; o < out; o++) sums[o] = lengths[o] === 0 ? 0 : sums[o]! / lengths[o]!;
  return { dz, dm };
}
