/** @file `@spft/sparse-ops/internals`: what other packages of spft need of this one. It may change with any version. */
export { ropeFrequencies } from '../attention/rope-tables.js';
export { addAll } from '../engine/add-all.js';
export { type ValueAndGradients, valueAndGradients } from '../engine/backward.js';
export { type GradientListener, withGradientListener } from '../engine/gradient-listener.js';
export { type Outliving, outliving } from '../engine/outliving.js';
export { recordOp } from '../engine/record-op.js';
export { constant, isConstant, isRecording, orForgetTape, takesKeptForLeak } from '../engine/tape.js';
export { gradientsOnOwnTape } from '../engine/tfjs-internals.js';
export { CODE_BOOKS } from '../forms/code-books.js';
export { STORED_FORMS } from '../forms/forms.js';
export {
  linear4bit,
  type PackedArraysOf,
  type PackedMatrix,
  unpack4bit,
  unpack4bitColumns,
  unpack4bitRows,
  unpackedArrays,
} from '../forms/four-bit.js';
export { type PackedKind, packedTensor, partsOf } from '../forms/packed-tensor.js';
export { quantisesByRows, RowsIn4Bits } from '../forms/rows-in-4-bits.js';
export { formBytes, formOf, packedArrays, packedKind, requireForm, storePacked } from '../forms/stored-form.js';
export { anotherOf, storedMatrixOf, unpacked } from '../forms/stored-matrix.js';
export { STORED_BYTES, writeStored } from '../forms/stored-values.js';
export { askForSimd, runsSimd, simdThreads } from '../kernels/simd/module.js';
export { registerSimdKernels, unregisterSimdKernels } from '../kernels/simd/register.js';
export { defaultChunkRows } from '../loss/linear-cross-entropy.js';
export { keepTransposed, releaseTransposed } from '../project/frozen-product.js';
export { frozenGradient } from '../project/plain-product.js';
export { gramScoresOfAll } from '../select/gram-scores-of-all.js';
export { fitsShape, type LayoutShape, longestSequence, paddingSequences, padLayout } from '../tokens/pad-layout.js';
export { joinSlices, type RowSlices, sliceRows } from '../tokens/row-slices.js';
export { adamwNumbers, sgdNumbers } from '../update/optimizer-update.js';
