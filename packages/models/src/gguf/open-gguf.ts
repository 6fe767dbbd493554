/** @file A GGUF file as a model: its config, weights and tokenizer as a directory's are. */
import { type GgufFile, isQuantized, openGgufSource } from '@spft/gguf';
import type { ByteSource } from '@spft/safetensors';
import { parseLlamaConfig } from '../llama-config.js';
import type { ModelWeights } from '../model-weights.js';
import type { TokenizerFiles } from '../tokenizer/hugging-face-tokenizer.js';
import { configOfGguf, requireLlama } from './config-of-gguf.js';
import { tokenizerOfGguf } from './tokenizer-of-gguf.js';
import { weightsOfGguf } from './weights-of-gguf.js';

/** What of a GGUF file stands for config.json and weights. */
export interface GgufParts {
  readonly configJson: Readonly<Record<string, unknown>>;
  readonly weights: ModelWeights;
  readonly notices: readonly string[];
}

/**
 * @param source closed with the weights, or where this throws.
 * @throws GgufError when it is no valid file; ModelError when it is no Llama's.
 */
export async function openGgufParts(source: ByteSource): Promise<GgufParts> {
  try {
    const file = await openGgufSource(source);
    const configJson = await configOfGguf(file);
    const { headDim } = parseLlamaConfig(configJson, source.name ?? 'the GGUF file');
    const weights = weightsOfGguf(file, headDim);
    return { configJson, weights, notices: noticesOf(file) };
  } catch (error) {
    await source.close();
    throw error;
  }
}

function noticesOf(file: GgufFile): string[] {
  const types = new Set(file.names.map((name) => file.entry(name).type).filter(isQuantized));
  if (types.size === 0) return [];
  return [`${file.name}: its weights in ${[...types].join(', ')} are dequantised, and take the room of plain ones`];
}

/**
 * The tokenizer's files that a GGUF file stands for.
 * @param source stays open.
 * @throws GgufError or ModelError when it has no tokenizer that can be used here.
 */
export async function ggufTokenizerFiles(source: ByteSource): Promise<TokenizerFiles> {
  const file = await openGgufSource(source);
  requireLlama(file);
  return tokenizerOfGguf(file.metadata, source.name ?? 'the GGUF file');
}
