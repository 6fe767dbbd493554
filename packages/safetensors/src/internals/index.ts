/** @file `@spft/safetensors/internals`: what every package of spft needs and none of its users. It may change with any version. */
export { assertKnownOptions, type OptionNames } from '../known-options.js';
export { nearestName, nearestNames } from '../nearest.js';
