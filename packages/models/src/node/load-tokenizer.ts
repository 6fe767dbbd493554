/** @file The tokenizer of a model directory. */
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { showValue } from '@spft/safetensors';
import { ModelError } from '../errors.js';
import { checkVocabulary, createTokenizer } from '../tokenizer/hugging-face-tokenizer.js';
import type { Tokenizer } from '../tokenizer/types.js';
import { adapterHint } from './adapter-hint.js';
import { readJsonIfThere, readJsonObjectIfThere, readTextIfThere } from './json-file.js';

/**
 * Loads tokenizer.json and what belongs to it: tokenizer_config.json, special_tokens_map.json, chat_template.jinja,
 * additional_chat_templates/*.jinja. Where config.json is there too, its ids stand in for tokens that the tokenizer does not name, and
 * its vocabulary must hold the tokenizer's.
 * @throws ModelError when there is no tokenizer.json, a file is no tokenizer's, or the vocabulary exceeds the embedding.
 */
export async function loadTokenizer(dir: string): Promise<Tokenizer> {
  const tokenizer = await readJsonIfThere(dir, 'tokenizer.json');
  if (tokenizer === undefined) {
    throw new ModelError(
      (await adapterHint(dir)) ??
        `${dir}: wanted tokenizer.json in it, found none; a directory with tokenizer.model alone gets one by transformers' AutoTokenizer.from_pretrained(…).save_pretrained(…)`,
    );
  }
  const [config, specialTokensMap, addedTokens, modelConfig, generationConfig] = [
    await readJsonIfThere(dir, 'tokenizer_config.json'),
    await readJsonIfThere(dir, 'special_tokens_map.json'),
    await readJsonIfThere(dir, 'added_tokens.json'),
    (await readJsonObjectIfThere(dir, 'config.json')) ?? {},
    (await readJsonObjectIfThere(dir, 'generation_config.json')) ?? {},
  ];
  const id = (key: string) =>
    firstId(generationConfig[key], `generation_config.json: ${key}`) ??
    firstId(modelConfig[key], `config.json: ${key}`);
  try {
    const made = createTokenizer({
      tokenizer,
      config,
      specialTokensMap,
      addedTokens,
      chatTemplates: await readChatTemplates(dir),
      bosTokenId: id('bos_token_id'),
      eosTokenId: id('eos_token_id'),
      padTokenId: id('pad_token_id'),
    });
    if (typeof modelConfig.vocab_size === 'number') checkVocabulary(made, modelConfig.vocab_size);
    return made;
  } catch (error) {
    if (error instanceof ModelError) throw new ModelError(`${dir}: ${error.message}`, { cause: error.cause });
    throw error;
  }
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
