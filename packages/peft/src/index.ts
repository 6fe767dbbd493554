/** @file Public names. */
export {
  adapterConfigText,
  type ParseAdapterOptions,
  PEFT_VERSION,
  parseAdapterConfig,
} from './adapter-config-file.js';
export {
  ADAPTER_METADATA,
  adapterFromSafetensors,
  adapterTensors,
  adapterToSafetensors,
} from './adapter-file.js';
export type { AdapterTensor } from './adapter-tensor.js';
export type { BaseCodes } from './base-codes.js';
export { AdapterError } from './errors.js';
export { baseFingerprint } from './fingerprint.js';
export { type LinearMatch, LinearRegExp } from './linear-regexp.js';
export {
  completeLoraConfig,
  type InitLoraWeights,
  LORA_DEFAULTS,
  type LoraConfig,
  type LoraConfigInput,
} from './lora-config.js';
export { getPeftModel, type ParameterCount, PeftModel, type PeftOptions } from './peft-model.js';
export { adapterMethodNames, registerAdapterMethod } from './registry.js';
export { findTargets, type Target } from './target-modules.js';
export type * from './types.js';
