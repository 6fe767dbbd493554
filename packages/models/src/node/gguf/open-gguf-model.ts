/** @file A GGUF file as a model: its config, weights and tokenizer as a directory's are. */
import { open } from 'node:fs/promises';
import { type GgufFile, isQuantized } from '@spft/gguf';
import { openGguf } from '@spft/gguf/node';
import { configOfGguf, requireLlama } from '../../gguf/config-of-gguf.js';
import { tokenizerOfGguf } from '../../gguf/tokenizer-of-gguf.js';
import { weightsOfGguf } from '../../gguf/weights-of-gguf.js';
import { parseLlamaConfig } from '../../llama-config.js';
import type { ModelWeights } from '../../model-weights.js';
import type { TokenizerFiles } from '../../tokenizer/hugging-face-tokenizer.js';

/** Whether a file is a GGUF file by its first four bytes; false where there is no file. */
export async function isGgufFile(path: string): Promise<boolean> {
  const handle = await open(path, 'r').catch(() => null);
  if (handle === null) return false;
  try {
    const { buffer, bytesRead } = await handle
      .read(new Uint8Array(4), 0, 4, 0)
      .catch(() => ({ buffer: null, bytesRead: 0 }));
    return bytesRead === 4 && String.fromCharCode(...buffer!) === 'GGUF';
  } finally {
    await handle.close();
  }
}

/** What of a GGUF file stands for config.json and weights. */
export interface GgufParts {
  readonly configJson: Readonly<Record<string, unknown>>;
  readonly weights: ModelWeights;
  readonly notices: readonly string[];
}

/** @throws GgufError when it is no valid file; ModelError when it is no Llama's. */
export async function openGgufParts(path: string): Promise<GgufParts> {
  const file = await openGguf(path);
  try {
    const configJson = await configOfGguf(file);
    const { headDim } = parseLlamaConfig(configJson, path);
    const weights = weightsOfGguf(file, headDim);
    return { configJson, weights, notices: noticesOf(file) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function noticesOf(file: GgufFile): string[] {
  const types = new Set(file.names.map((name) => file.entry(name).type).filter(isQuantized));
  if (types.size === 0) return [];
  return [`${file.name}: its weights in ${[...types].join(', ')} are dequantised, and take the room of plain ones`];
}

/** The tokenizer's files that a GGUF file stands for. @throws GgufError or ModelError when it has no tokenizer that can be used here. */
export async function readGgufTokenizer(path: string): Promise<TokenizerFiles> {
  const file = await openGguf(path);
  try {
    requireLlama(file);
    return tokenizerOfGguf(file.metadata, path);
  } finally {
    await file.close();
  }
}
