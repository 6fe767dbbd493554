/** @file What the kernels of several products have in common: rows of frozen layers, dense and sparse, and their branches of low rank. */
import type { KernelBranch, KernelLayer, KernelSelection } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs';
import { type Backend, forEach, output } from '../../shared/call.js';
import { Gather, multiply, multiplyTogether, plain, transposed } from '../../shared/product.js';

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
  multiplyTogether(
    backend,
    all.map(({ a, r, at }) => ({
      ...{ m: T, n: r, k, a: plain(x), b: transposed(a) },
      c: { x: h, row: rank, offset: at },
    })),
  );
  multiplyTogether(
    backend,
    all.map(({ b, r, at, layer, scaling }) => ({
      ...{ m: T, n: b.shape[0]!, k: r, a: within(h, rank, at), b: transposed(b) },
      ...{ c: { x: ys[layer]! }, alpha: scaling },
    })),
    { accumulate: true },
  );
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
): (readonly [dA: Info, dB: Info])[] {
  const [T, width] = x.shape as [number, number];
  const gradients = all.map(({ a, b }) => [output(backend, a.shape), output(backend, b.shape)] as const);
  const dh = output(backend, [T, rank]);
  const turned = (at: number) => ({ ...within(dh, rank, at), row: 1, column: rank });
  multiplyTogether(
    backend,
    all.map(({ b, r, at, layer, scaling }) => ({
      ...{ m: T, n: r, k: b.shape[0]!, a: plain(dys[layer]!), b: plain(b), alpha: scaling },
      c: { x: dh, row: rank, offset: at },
    })),
  );
  if (dx) {
    multiplyTogether(
      backend,
      all.map(({ a, r, at }) => ({ m: T, n: width, k: r, a: within(dh, rank, at), b: plain(a), c: { x: dx } })),
      { accumulate: true, sum: true },
    );
  }
  multiplyTogether(
    backend,
    all.map(({ r, at }, n) => ({ m: r, n: width, k: T, a: turned(at), b: plain(x), c: { x: gradients[n]![0]! } })),
  );
  multiplyTogether(
    backend,
    all.map(({ b, r, at, layer, scaling }, n) => ({
      ...{ m: b.shape[0]!, n: r, k: T, a: transposed(dys[layer]!), b: within(h, rank, at), alpha: scaling },
      c: { x: gradients[n]![1]! },
    })),
  );
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
