/** @file The tokenizer of a model directory, or of a GGUF file. */
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { showValue } from '@spft/safetensors';
import { ModelError } from '../errors.js';
import { checkVocabulary, createTokenizer, type TokenizerFiles } from '../tokenizer/hugging-face-tokenizer.js';
import type { Tokenizer } from '../tokenizer/types.js';
import { adapterHint } from './adapter-hint.js';
import { isGgufFile, readGgufTokenizer } from './gguf/open-gguf-model.js';
import { readJsonIfThere, readJsonObjectIfThere, readTextIfThere } from './json-file.js';

/**
 * Loads tokenizer.json and what belongs to it: tokenizer_config.json, special_tokens_map.json, chat_template.jinja,
 * additional_chat_templates/*.jinja. Where config.json is there too, its ids stand in for tokens that the tokenizer does not name, and
 * its vocabulary must hold the tokenizer's. Of a GGUF file the tokenizer is made of its metadata.
 * @throws ModelError when there is no tokenizer.json, a file is no tokenizer's, or the vocabulary exceeds the embedding.
 */
export async function loadTokenizer(path: string): Promise<Tokenizer> {
  const files = await readTokenizerFiles(path);
  const modelConfig = (await isGgufFile(path)) ? {} : ((await readJsonObjectIfThere(path, 'config.json')) ?? {});
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
  if (await isGgufFile(path)) return readGgufTokenizer(path);
  const tokenizer = await readJsonIfThere(path, 'tokenizer.json');
  if (tokenizer === undefined) {
    throw new ModelError(
      (await adapterHint(path)) ??
        `${path}: wanted tokenizer.json in it, found none; a directory with tokenizer.model alone gets one by transformers' AutoTokenizer.from_pretrained(…).save_pretrained(…)`,
    );
  }
  const [config, specialTokensMap, addedTokens, modelConfig, generationConfig] = [
    await readJsonIfThere(path, 'tokenizer_config.json'),
    await readJsonIfThere(path, 'special_tokens_map.json'),
    await readJsonIfThere(path, 'added_tokens.json'),
    (await readJsonObjectIfThere(path, 'config.json')) ?? {},
    (await readJsonObjectIfThere(path, 'generation_config.json')) ?? {},
  ];
  const id = (key: string) =>
    firstId(generationConfig[key], `generation_config.json: ${key}`) ??
    firstId(modelConfig[key], `config.json: ${key}`);
  return {
    ...{ tokenizer, config, specialTokensMap, addedTokens },
    chatTemplates: await readChatTemplates(path),
    bosTokenId: id('bos_token_id'),
    eosTokenId: id('eos_token_id'),
    padTokenId: id('pad_token_id'),
  };
}

/** One id, or the first of several; −1 and null mean none. @throws ModelError when it is no whole number. */
function firstId(value: unknown, where: string): number | undefined {
  const id: unknown = Array.isArray(value) ? value[0] : value;
  if (id === null || id === undefined) return undefined;
  if (Number.isSafeInteger(id)) return (id as number) >= 0 ? (id as number) : undefined;
  throw new ModelError(`${where}: wanted a token id, a list of them or null, found ${showValue(value)}`);
}

/** `chat_template.jinja` as `default`, the others by their file's name, as transformers saves them. */
async function readChatTemplates(dir: string): Promise<Map<string, string>> {
  const templates = new Map<string, string>();
  const single = await readTextIfThere(join(dir, 'chat_template.jinja'));
  if (single !== undefined) templates.set('default', single);
  const folder = join(dir, 'additional_chat_templates');
  const files = await readdir(folder).catch(() => []);
  for (const file of files.filter((f) => f.endsWith('.jinja')).sort()) {
    const text = await readTextIfThere(join(folder, file));
    if (text !== undefined) templates.set(basename(file, '.jinja'), text);
  }
  return templates;
}
