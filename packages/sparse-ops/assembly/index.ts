/** @file What the module exports: kernels over places (byte addresses) in the memory of tfjs's wasm backend. */
export { attention, attentionGrad, attentionScratch } from './attention';
export { deepProduct, product, transpose } from './product';
export { adamw, rmsNorm, rmsNormGrad, rope, swiglu, swigluGrad } from './rows';
