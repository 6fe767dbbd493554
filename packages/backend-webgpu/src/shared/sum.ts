/** @file Sums of all numbers of a tensor, in two steps where there are many: always in the same order. */
import type * as tf from '@tensorflow/tfjs';
import { type Backend, withScratch, words } from './call.js';

const LANES = 256;
/** Numbers of a workgroup. */
const SHARE = 2 ** 14;

interface Options {
  readonly root?: boolean;
}

const run = (
  backend: Backend,
  x: tf.TensorInfo,
  size: number,
  share: number,
  to: tf.TensorInfo,
  at: number,
  o: Options,
) =>
  backend.dispatch(
    'sum',
    { LANES, ROOT: !!o.root },
    words(size, share, at),
    [x, to],
    [Math.max(1, Math.ceil(size / share))],
  );

/** to[at] = Σ of the first `size` numbers of x, or its root. */
export function sumInto(
  backend: Backend,
  x: tf.TensorInfo,
  size: number,
  to: tf.TensorInfo,
  at = 0,
  options: Options = {},
): void {
  if (size <= SHARE) {
    run(backend, x, size, SHARE, to, at, options);
    return;
  }
  const groups = Math.ceil(size / SHARE);
  withScratch(backend, [groups], (parts) => {
    run(backend, x, size, SHARE, parts!, 0, {});
    run(backend, parts!, groups, groups, to, at, { root: options.root });
  });
}
