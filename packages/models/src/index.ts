export { ModelError } from './errors.js';
export {
  type FlopsMethod,
  type FlopsShape,
  type FlopsTokens,
  flopsShare,
  type StepFlops,
  stepFlops,
} from './flops.js';
export { type GeneratedToken, type GenerateOptions, generate } from './generation/generate.js';
export { type SamplingOptions, sampleToken } from './generation/sampling.js';
export type { DensePromptTokens } from './generation/token-decoder.js';
export { EXPORT_TYPES, type ExportableModel, type ExportType } from './gguf/export-tensors.js';
export { type GgufContent, type GgufContentOptions, ggufOfAdapter, ggufOfModel } from './gguf/gguf-content.js';
export { ggufTokenizerFiles } from './gguf/open-gguf.js';
export type { PartialFile, PartialWriter } from './hub/fetch-file.js';
export { type FetchModelOptions, fetchModelFiles, type ModelStore } from './hub/fetch-model.js';
export { HubError } from './hub/hub-error.js';
export type { FileInfo } from './hub/listing.js';
export { countLabelledTokens, type LabelledRows, labelledRows, UnlabelledBatchError } from './labelled-rows.js';
export { LinearLayer } from './linear-layer.js';
export { LlamaForCausalLM } from './llama.js';
export { type ClassifierOptions, floatLabel, LlamaForSequenceClassification, SCORE } from './llama-classifier.js';
export { type LlamaConfig, llamaConfigJson, llamaTensors, parseLlamaConfig } from './llama-config.js';
export { BASE_PRECISIONS, type BasePrecision, type LoadOptions } from './load-options.js';
export type { LlamaBody, LlamaParts } from './load-weights.js';
export type { ModelWeights } from './model-weights.js';
export { type OpenedModel, openGgufModel, openModel } from './open-model.js';
export { deriveSeed } from './seed.js';
export { checkVocabulary, createTokenizer, type TokenizerFiles } from './tokenizer/hugging-face-tokenizer.js';
export { readTokenizerFiles } from './tokenizer/read-tokenizer-files.js';
export type {
  ChatMessage,
  ChatTemplateOptions,
  DecodeOptions,
  EncodeOptions,
  Tokenizer,
} from './tokenizer/types.js';
export * from './types.js';
export { type WeightMemory, weightMemory } from './weight-memory.js';
