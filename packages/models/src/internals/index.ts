/** @file `@spft/models/internals`: what the command line, benchmarks and tests need of this one. It may change with any version. */
export { isNamedBy } from '../converted-modules.js';
export { type FrozenNumbers, frozenNumbers } from '../frozen-numbers.js';
export { Decoder } from '../generation/decoder.js';
export { RecordedDecoder, type RecordedDecoderOptions } from '../generation/recorded-decoder.js';
export type { TokenDecoder } from '../generation/token-decoder.js';
