/** @file Public names of what needs Node. */
export { openGguf, openGgufBytes } from './open-gguf.js';
export { type LazyGgufTensor, type WriteGgufOptions, writeGguf } from './write-gguf.js';
