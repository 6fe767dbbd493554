/** @file The files of a tokenizer, among those of a model. */
import { type FileSet, showValue } from '@spft/safetensors';
import { adapterHint } from '../adapter-hint.js';
import { ModelError } from '../errors.js';
import { readJsonIfThere, readJsonObjectIfThere, readTextIfThere } from '../json-file.js';
import type { TokenizerFiles } from './hugging-face-tokenizer.js';

/**
 * The files of which `createTokenizer` makes the tokenizer, among those of a model.
 * @throws ModelError when there is no tokenizer.json, or a file is no JSON.
 */
export async function readTokenizerFiles(files: FileSet): Promise<TokenizerFiles> {
  const tokenizer = await readJsonIfThere(files, 'tokenizer.json');
  if (tokenizer === undefined) {
    throw new ModelError(
      (await adapterHint(files)) ??
        `${files.name}: wanted tokenizer.json in it, found none; a directory with tokenizer.model alone gets one by transformers' AutoTokenizer.from_pretrained(…).save_pretrained(…)`,
    );
  }
  const [config, specialTokensMap, addedTokens, modelConfig, generationConfig] = [
    await readJsonIfThere(files, 'tokenizer_config.json'),
    await readJsonIfThere(files, 'special_tokens_map.json'),
    await readJsonIfThere(files, 'added_tokens.json'),
    (await readJsonObjectIfThere(files, 'config.json')) ?? {},
    (await readJsonObjectIfThere(files, 'generation_config.json')) ?? {},
  ];
  const id = (key: string) =>
    firstId(generationConfig[key], `generation_config.json: ${key}`) ??
    firstId(modelConfig[key], `config.json: ${key}`);
  return {
    ...{ tokenizer, config, specialTokensMap, addedTokens },
    chatTemplates: await readChatTemplates(files),
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
async function readChatTemplates(files: FileSet): Promise<Map<string, string>> {
  const templates = new Map<string, string>();
  const single = await readTextIfThere(files, 'chat_template.jinja');
  if (single !== undefined) templates.set('default', single);
  const folder = 'additional_chat_templates';
  const names = await files.list(folder);
  for (const name of names.filter((one) => one.endsWith('.jinja')).sort()) {
    const text = await readTextIfThere(files, `${folder}/${name}`);
    if (text !== undefined) templates.set(name.slice(0, -'.jinja'.length), text);
  }
  return templates;
}
