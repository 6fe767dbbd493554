/** @file Public names of what needs Node. */
export {
  ADAPTER_CONFIG_FILE,
  ADAPTER_MODEL_FILE,
  baseCodesOf,
  type LoadOptions,
  loadAdapterConfig,
  loadPretrained,
  savePretrained,
} from './adapter-directory.js';
export { combineAdapters } from './combine-adapters.js';
