/**
 * @file Matrices in codes of four bits as loose parts (`forms/four-bit.ts` of sparse-ops): quantised, unpacked, multiplied by, and made a matrix in this
 * backend's own form (`src/forms/four-bit.ts`), which is how models hold them.
 */
import type { KernelInputsOf, Packed4bitAttributes } from '@spft/sparse-ops/backend';
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { columnsOfFourBit, fourBitMatrix, rowsOfFourBit } from '../../forms/four-bit.js';
import { partsOf } from '../../forms/four-bit-parts.js';
import { inScope } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE } from '../../storage.js';
import type { CudaKernel, CudaKernels } from '../contract.js';
import { linear, linearGrad } from '../project/linear.js';

/** What numbers are unpacked to here: no less than they were rounded to. */
const typeOf = ({ dtype }: Packed4bitAttributes) => (dtype === 'BF16' ? 'bf16' : 'f32');

/** Runs `f` with the matrix of loose parts. */
function withMatrix<T>(
  backend: CudaBackend,
  parts: KernelInputsOf<'SpftUnpack4bit'>,
  attributes: Packed4bitAttributes,
  f: (matrix: TensorInfo) => T,
): T {
  return inScope(backend, (scope) => f(scope.temporary(fourBitMatrix(backend, parts, attributes))));
}

/** Numbers of x [out, in], in blocks, to codes [out·in/2] and their scales; owned by the caller. */
const quantise4bit: CudaKernel<'SpftQuantise4bit'> = ({ backend, inputs: { x }, attributes: { type, blockSize } }) => {
  const size = x.shape[0]! * x.shape[1]!;
  const blocks = size / blockSize;
  const codes = backend.output([size / 2], 'bool');
  const absmax = backend.output([blocks]);
  if (blocks > 0) {
    const defines = { X: C_TYPE[backend.physical(x)], BOOK: type === 'nf4' ? 0 : 1 };
    const kernel = backend.kernel('quantise-4bit', 'quantise_4bit', 'pppli', defines);
    const addresses = [x, codes, absmax].map((info) => backend.address(info));
    backend.launch(kernel, [Math.min(4096, Math.ceil(blocks / 8))], [256], [...addresses, blocks, blockSize]);
  }
  return [codes, absmax];
};

declareVariants('quantise-4bit', combinations({ X: FLOATS, BOOK: [0, 1] }));

/** Kernels of the contract. */
export const fourBitKernels = {
  SpftQuantise4bit: quantise4bit,
  SpftUnpack4bit: ({ backend, inputs, attributes }) =>
    withMatrix(backend, inputs, attributes, (matrix) => backend.as(matrix, typeOf(attributes))),
  SpftUnpack4bitRows: ({ backend, inputs, attributes }) =>
    withMatrix(backend, inputs, attributes, (matrix) =>
      rowsOfFourBit(backend, [matrix], [inputs.indices], typeOf(attributes)),
    ),
  SpftUnpack4bitColumns: ({ backend, inputs, attributes }) =>
    withMatrix(backend, inputs, attributes, (matrix) =>
      columnsOfFourBit(backend, matrix, inputs.indices, typeOf(attributes)),
    ),
  SpftLinear4bit: ({ backend, inputs, attributes }) =>
    withMatrix(backend, inputs, attributes, (matrix) => linear(backend, inputs.x, matrix)),
  SpftLinear4bitGrad: ({ backend, inputs, attributes }) =>
    withMatrix(backend, inputs, attributes, (matrix) => linearGrad(backend, inputs.dy, matrix)),
  SpftStore4bit: ({ backend, inputs, attributes }) => fourBitMatrix(backend, inputs, attributes),
  SpftParts4bit: ({ backend, inputs: { x } }) => partsOf(backend, x),
} satisfies CudaKernels;
