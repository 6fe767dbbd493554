/** @file Public names of what needs Node. */

export type { LazyGgufTensor } from '../write-to.js';
export { openGguf, openGgufBytes } from './open-gguf.js';
export { type WriteGgufOptions, writeGguf } from './write-gguf.js';
