/** @file Reductions over any axes as reductions of a tensor [outer, n, inner] over its middle. */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { transpose } from './movement.js';

/** A tensor that is reduced over n; with more than one group of reduced axes it is a transposed copy. */
export interface Reducible {
  /** Owned by the caller. */
  readonly x: tf.TensorInfo;
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
  /** Shape of the result. */
  readonly shape: readonly number[];
}

/** `x` such that the axes to reduce over are its middle; the result keeps them as ones if `keepDims`. */
export function reducible(
  backend: CudaBackend,
  x: tf.TensorInfo,
  axis: number | number[] | null | undefined,
  keepDims = false,
): Reducible {
  const axes = tf.util.parseAxisParam((axis ?? x.shape.map((_, n) => n)) as number[], x.shape).sort((a, b) => a - b);
  const reduced = (n: number) => axes.includes(n);
  const kept = x.shape.map((_, n) => n).filter((n) => !reduced(n));
  const shape = keepDims ? x.shape.map((size, n) => (reduced(n) ? 1 : size)) : kept.map((n) => x.shape[n]!);
  const sizeOf = (some: readonly number[]) => some.reduce((product, n) => product * x.shape[n]!, 1);
  const n = sizeOf(axes);
  // Axes of one index are wherever they are wanted.
  const real = axes.filter((place) => x.shape[place] !== 1);
  const [first, last] = [real[0] ?? 0, real.at(-1) ?? 0];
  const together = kept.every((place) => place < first || place > last || x.shape[place] === 1);
  if (together) {
    const before = sizeOf(kept.filter((place) => place < first));
    const inner = sizeOf(kept.filter((place) => place > last));
    // Without real axes everything is before them.
    return real.length === 0
      ? { x: backend.share(x), outer: sizeOf(kept), n, inner: 1, shape }
      : { x: backend.share(x), outer: before, n, inner, shape };
  }
  return { x: transpose(backend, x, [...kept, ...axes]), outer: sizeOf(kept), n, inner: 1, shape };
}
