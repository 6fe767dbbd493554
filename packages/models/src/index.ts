export { ModelError } from './errors.js';
export { type LlamaConfig, llamaTensors, parseLlamaConfig } from './llama-config.js';
export { checkVocabulary, createTokenizer, type TokenizerFiles } from './tokenizer/hugging-face-tokenizer.js';
export type {
  ChatMessage,
  ChatTemplateOptions,
  DecodeOptions,
  EncodeOptions,
  Tokenizer,
} from './tokenizer/types.js';
export * from './types.js';
