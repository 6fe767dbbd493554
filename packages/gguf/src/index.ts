/** @file Public names. */
export { GgufError } from './errors.js';
export { type GgufFile, openGgufSource, parseGguf } from './file.js';
export { bytesOf, GGML_TYPES, type GgmlTypeName } from './ggml-types.js';
export type { TensorEntry } from './head.js';
export * from './metadata.js';
export { DECODED_TYPES, type DecodedType, decode, isDecoded, isQuantized } from './quants/decode.js';
export { ENCODED_TYPES, type EncodedType, encode } from './quants/encode.js';
export { layoutGguf, serializeGguf, type TensorSpec } from './serialize.js';
export { type ByteSink, type LazyGgufTensor, writeGgufTo } from './write-to.js';
