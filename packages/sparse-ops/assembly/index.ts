/** @file What the module exports: kernels over places (byte addresses) in the memory of tfjs's wasm backend. */
export { attention, attentionGrad, attentionScratch } from './attention';
export { unpack4bit, unpack4bitColumns } from './four-bit';
export { add, addColumnsAt, addRow, gatherColumns, gatherColumnsTransposed } from './moves';
export { multiply, multiplyFew, multiplyScratch } from './multiply';
export { deepProduct, product, transpose } from './product';
export { gatedScores } from './scores';
export { adamw, rmsNorm, rmsNormGrad, rope, swiglu, swigluGrad } from './rows';
