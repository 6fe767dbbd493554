/** @file `@spft/models/internals`: what benchmarks and tests of other packages need of this one. It may change with any version. */
export { Decoder } from '../generation/decoder.js';
export { RecordedDecoder, type RecordedDecoderOptions } from '../generation/recorded-decoder.js';
export type { TokenDecoder } from '../generation/token-decoder.js';
