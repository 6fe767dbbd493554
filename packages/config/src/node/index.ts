export { loadSpftConfig, loadTrainConfig } from './load.js';
