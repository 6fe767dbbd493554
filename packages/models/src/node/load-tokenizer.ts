/** @file The tokenizer of a model directory, or of a GGUF file. */
import { directoryFiles } from '@spft/safetensors/node';
import { ModelError } from '../errors.js';
import { readJsonObjectIfThere } from '../json-file.js';
import { checkVocabulary, createTokenizer, type TokenizerFiles } from '../tokenizer/hugging-face-tokenizer.js';
import { readTokenizerFiles as readFiles } from '../tokenizer/read-tokenizer-files.js';
import type { Tokenizer } from '../tokenizer/types.js';
import { isGgufFile, readGgufTokenizer } from './gguf/open-gguf-model.js';

/**
 * Loads tokenizer.json and what belongs to it: tokenizer_config.json, special_tokens_map.json, chat_template.jinja,
 * additional_chat_templates/*.jinja. Where config.json is there too, its ids stand in for tokens that the tokenizer does not name, and
 * its vocabulary must hold the tokenizer's. Of a GGUF file the tokenizer is made of its metadata.
 * @throws ModelError when there is no tokenizer.json, a file is no tokenizer's, or the vocabulary exceeds the embedding.
 */
export async function loadTokenizer(path: string): Promise<Tokenizer> {
  const files = await readTokenizerFiles(path);
  const modelConfig = (await isGgufFile(path))
    ? {}
    : ((await readJsonObjectIfThere(directoryFiles(path), 'config.json')) ?? {});
  try {
    const made = createTokenizer(files);
    if (typeof modelConfig.vocab_size === 'number') checkVocabulary(made, modelConfig.vocab_size);
    return made;
  } catch (error) {
    if (error instanceof ModelError) throw new ModelError(`${path}: ${error.message}`, { cause: error.cause });
    throw error;
  }
}

/**
 * The files of which `createTokenizer` makes the tokenizer: a directory's, or what a GGUF file has instead of them.
 * @throws ModelError when there is no tokenizer.json, or a file is no JSON.
 */
export async function readTokenizerFiles(path: string): Promise<TokenizerFiles> {
  return (await isGgufFile(path)) ? readGgufTokenizer(path) : readFiles(directoryFiles(path));
}
