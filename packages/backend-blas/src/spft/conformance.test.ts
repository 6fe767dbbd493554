/** @file The kernels of spft's ops on `blas`, held to the contract of sparse-ops. */
import { checkBackend } from '@spft/sparse-ops/backend';
import { describeConformance } from '@spft/sparse-ops/conformance';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { blasMissing, blasTitle } from '../../../../test/support/backends.js';
import type { BlasBackend } from '../backend.js';
import { BlasError } from '../errors.js';

const blas = () => tf.backend() as unknown as BlasBackend;

/** Fails where outputs and scratch are taken. */
function failAllocation(nth: number): () => boolean {
  const backend = blas();
  const { output } = backend;
  const { heap } = backend;
  const { takeScratch } = heap;
  let calls = 0;
  backend.output = (...args) => {
    if (++calls === nth) throw new BlasError('no memory for this output');
    return output.apply(backend, args);
  };
  heap.takeScratch = (bytes) => (++calls === nth ? null : takeScratch.call(heap, bytes));
  return () => {
    backend.output = output;
    heap.takeScratch = takeScratch;
    return calls >= nth;
  };
}

function poison(bytes: number): void {
  const { heap } = blas();
  const block = heap.allocate(bytes);
  if (!block) return;
  heap.f32(block.address, block.bytes / 4).fill(Number.NaN);
  heap.free(block);
}

describe.skipIf(blasMissing() !== null)(blasTitle('the kernels of blas'), () => {
  it('are all of the contract, with those that they need', () => {
    expect(checkBackend('blas')).toEqual([]);
  });

  describeConformance({ backend: 'blas', describe, it, failAllocation, poison, held: () => blas().heap.used });
});
