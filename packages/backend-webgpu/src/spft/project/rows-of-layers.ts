/** @file What the kernels of several products have in common: rows of frozen layers, dense and sparse, and their branches of low rank. */
import type { KernelBranch, KernelLayer, KernelSelection } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs';
import { type Backend, forEach, output } from '../../shared/call.js';
import { Gather, multiply, plain, transposed } from '../../shared/product.js';

type Info = tf.TensorInfo;

/** Rows [from, to) of a matrix. */
export interface Rows {
  readonly x: Info;
  readonly from: number;
  readonly to: number;
}

/** The dense rows of T, and the sparse ones; those that there are none of are left out. */
export function partsOf(T: number, denseRows: number, keep: KernelSelection | null) {
  const D = keep ? denseRows : T;
  const parts = [
    { from: 0, to: D, keep: null },
    { from: D, to: T, keep },
  ];
  return parts.filter(({ from, to }) => to > from);
}

/** Zeros rows [from, to). */
export function zeroRows(backend: Backend, { x, from, to }: Rows): void {
  const width = x.shape[1]!;
  forEach(backend, 'zero', [(to - from) * width, from * width], [x]);
}

/** Branches side by side in one h [T, Σr]. */
export interface Branches {
  readonly rank: number;
  readonly all: readonly (KernelBranch & { readonly layer: number; readonly r: number; readonly at: number })[];
}

export function branchesOf(layers: readonly KernelLayer[]): Branches {
  let rank = 0;
  const all = layers.flatMap(({ lora }, layer) => {
    if (!lora) return [];
    const r = lora.a.shape[0]!;
    rank += r;
    return [{ ...lora, layer, r, at: rank - r }];
  });
  return { rank, all };
}

const within = (h: Info, rank: number, at: number) => ({ x: h, row: rank, column: 1, offset: at });

/** h = x · [A…]ᵀ, and y + s · h · Bᵀ of each layer with a branch. @returns h, null without branches. */
export function addBranches(backend: Backend, x: Info, { rank, all }: Branches, ys: readonly Info[]): Info | null {
  if (rank === 0) return null;
  const [T, k] = x.shape as [number, number];
  const h = output(backend, [T, rank]);
  for (const { a, b, r, at, layer, scaling } of all) {
    multiply(backend, { m: T, n: r, k, a: plain(x), b: transposed(a), c: { x: h, row: rank, offset: at } });
    const c = { x: ys[layer]! };
    const n = b.shape[0]!;
    multiply(backend, {
      ...{ m: T, n, k: r, a: within(h, rank, at), b: transposed(b), c },
      ...{ alpha: scaling, accumulate: true },
    });
  }
  return h;
}

/**
 * The gradients of the branches, and theirs of x, which is added to dx.
 * @param dys of the layers.
 * @returns dA and dB of each branch, in their order.
 */
export function branchGradients(
  backend: Backend,
  x: Info,
  h: Info,
  { rank, all }: Branches,
  dys: readonly Info[],
  dx: Info | null,
): Info[][] {
  const [T, width] = x.shape as [number, number];
  const gradients = all.map(({ a, b }) => [output(backend, a.shape), output(backend, b.shape)]);
  const dh = output(backend, [T, rank]);
  all.forEach(({ a, b, r, at, layer, scaling }, n) => {
    const dy = dys[layer]!;
    const out = b.shape[0]!;
    const ofH = within(h, rank, at);
    const ofDh = within(dh, rank, at);
    const turned = { ...ofDh, row: 1, column: rank };
    const [dA, dB] = gradients[n]!;
    multiply(backend, {
      ...{ m: T, n: r, k: out, a: plain(dy), b: plain(b), alpha: scaling },
      c: { x: dh, row: rank, offset: at },
    });
    if (dx) multiply(backend, { m: T, n: width, k: r, a: ofDh, b: plain(a), c: { x: dx }, accumulate: true });
    multiply(backend, { m: r, n: width, k: T, a: turned, b: plain(x), c: { x: dA! } });
    multiply(backend, { m: out, n: r, k: T, a: transposed(dy), b: ofH, c: { x: dB! }, alpha: scaling });
  });
  backend.disposeData(dh.dataId);
  return gradients;
}

/** x·Wᵀ + bias of rows whose kept output channels, or all, are computed; zeros are in the others. */
export function timesRows(
  backend: Backend,
  x: Info,
  { weight, bias }: KernelLayer,
  y: Rows,
  keep: KernelSelection | null,
) {
  const { from, to } = y;
  const [out, k] = weight.shape as [number, number];
  const c = { x: y.x, row: out, offset: from * out };
  const product = { m: to - from, k, a: plain(x, from), b: transposed(weight), c, bias };
  if (!keep) {
    multiply(backend, { ...product, n: out });
    return;
  }
  zeroRows(backend, y);
  const { indices, kept } = keep;
  multiply(backend, { ...product, n: kept, indices, gather: Gather.columnsOfB, scatter: true });
}

/** dx = or += dy·W of rows whose kept output channels, or all, were computed. */
export function timesRowsGrad(
  backend: Backend,
  dy: Info,
  weight: Info,
  { x: dx, from, to }: Rows,
  keep: KernelSelection | null,
  accumulate: boolean,
): void {
  const [out, n] = weight.shape as [number, number];
  const c = { x: dx, row: n, offset: from * n };
  const product = { m: to - from, n, a: plain(dy, from), b: plain(weight), c, accumulate };
  if (!keep) multiply(backend, { ...product, k: out });
  else {
    const { indices, kept } = keep;
    multiply(backend, { ...product, k: kept, indices, gather: Gather.columnsOfAAndRowsOfB });
  }
}
