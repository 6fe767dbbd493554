/** @file The kernels of spft's ops on `cuda`, held to the contract of sparse-ops: in float and in bf16. */
import { checkBackend, type KernelName } from '@spft/sparse-ops/backend';
import { type CaseInput, describeConformance, kernelsOf } from '@spft/sparse-ops/conformance';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bf16Tensor, roundToBf16 } from '../../test/compare.js';
import { cuda, describeCuda } from '../../test/cuda.js';
import { failAllocation } from '../../test/failing-allocations.js';

const common = { backend: 'cuda', describe, it, failAllocation, held: () => cuda().memoryPool.bytes };

describeCuda('the kernels of cuda', () => {
  it('are all of the contract, with those that they need', () => {
    expect(checkBackend('cuda')).toEqual([]);
  });
});

/** Makes layers of the cases gather their kept channels, or mask the others, whatever their size. */
function gathering(always: boolean): void {
  let before = 0;
  beforeAll(() => {
    before = cuda().masksBelow;
    cuda().masksBelow = always ? 0 : Number.POSITIVE_INFINITY;
  });
  afterAll(() => {
    cuda().masksBelow = before;
  });
}

// In float an MLP with branches is left to its parts, always.
const inFloat = (names: readonly KernelName[]) => names.filter((name) => name !== 'SpftLoraMlpGrad');
describeCuda('in float, the', () => {
  gathering(true);
  describeConformance({ ...common, only: inFloat(kernelsOf('cuda')) });
});

const bf16 = {
  ...common,
  round: roundToBf16,
  tensor: (values: ArrayLike<number>, { shape, kind }: CaseInput) =>
    kind === 'float'
      ? bf16Tensor(Array.from(values), shape)
      : tf.tensor(Array.from(values), [...shape], kind === 'int32' ? 'int32' : 'float32'),
  tolerance: { output: 3e-2, gradient: 5e-2 },
};

describeCuda('in bf16, the', () => {
  gathering(true);
  describeConformance(bf16);
});

// Of those that choose between the two.
const only: KernelName[] = [
  ...(['SpftProjectRows', 'SpftProjectRowsGrad', 'SpftProjectColumns', 'SpftProjectColumnsGrad'] as const),
  ...(['SpftLoraMlp', 'SpftLoraMlpGrad'] as const),
];
describeCuda('in float and with masks, the', () => {
  gathering(false);
  describeConformance({ ...common, only: inFloat(only) });
});
describeCuda('in bf16 and with masks, the', () => {
  gathering(false);
  describeConformance({ ...bf16, only });
});
