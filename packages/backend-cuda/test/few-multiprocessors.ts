/** @file Tests of kernels whose blocks go on to other tiles: with few multiprocessors few tiles keep the GPU at work, and a block has several of them. */
import { afterEach, beforeEach } from 'vitest';
import { cuda } from './cuda.js';

/** In the tests of this block the GPU counts as one of so many multiprocessors. */
export function withMultiprocessors(count: number): void {
  const info = () => cuda().device.info as { multiprocessors: number };
  let own = 0;
  beforeEach(() => {
    own = info().multiprocessors;
    info().multiprocessors = count;
  });
  afterEach(() => {
    info().multiprocessors = own;
  });
}
