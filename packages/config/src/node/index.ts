export { type AnyConfig, loadAnyConfig, loadSpftConfig, loadTrainConfig } from './load.js';
