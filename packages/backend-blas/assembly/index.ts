/** @file What the module exports: kernels over places (byte addresses) in the memory of the backend. A kernel of `from` and `to` does that part. */
export { causalExp2, causalExp2Grad, gatherHeads, scatterHeads } from './attention';
export { addColumnsAt, addGatedSquares, startBlock, swigluBlock, swigluGradBlock } from './blocks';
export {
  add,
  addRow,
  affine,
  copy,
  div,
  divideBy,
  dropout,
  mul,
  mulColumn,
  mulRow,
  relu,
  sigmoid,
  sub,
  zero,
} from './elementwise';
export { unpack4bit, unpack4bitColumns } from '../../sparse-ops/assembly/four-bit';
export {
  accumulate,
  addRowsAt,
  columnDots,
  gatherColumns,
  gatherRows,
  maskColumns,
  scatterColumns,
  transpose,
} from './moves';
export { adamw, sgd } from './optimizer';
export { crossEntropy, rmsNorm, rmsNormGrad, rope, softmax, squares, swiglu, swigluGrad } from './rows';
