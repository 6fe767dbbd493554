/** @file The kernels of spft's ops on `cuda`, held to the contract of sparse-ops: in float and in bf16. */
import { checkBackend } from '@spft/sparse-ops/backend';
import { type CaseInput, describeConformance } from '@spft/sparse-ops/conformance';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { bf16Tensor, roundToBf16 } from '../../test/compare.js';
import { cuda, describeCuda } from '../../test/cuda.js';
import { failAllocation } from '../../test/failing-allocations.js';

const common = { backend: 'cuda', describe, it, failAllocation, held: () => cuda().memoryPool.bytes };

describeCuda('the kernels of cuda', () => {
  it('are all of the contract, with those that they need', () => {
    expect(checkBackend('cuda')).toEqual([]);
  });
});

describeCuda('in float, the', () => describeConformance(common));

describeCuda('in bf16, the', () =>
  describeConformance({
    ...common,
    round: roundToBf16,
    tensor: (values: ArrayLike<number>, { shape, kind }: CaseInput) =>
      kind === 'float'
        ? bf16Tensor(Array.from(values), shape)
        : tf.tensor(Array.from(values), [...shape], kind === 'int32' ? 'int32' : 'float32'),
    tolerance: { output: 3e-2, gradient: 5e-2 },
  }),
);
