/** @file Whether a directory may be replaced by a model: all that is in it is what a model's directory has, as whatever else were there would be lost. */
import { readdir, stat } from 'node:fs/promises';
import { ModelError } from '../errors.js';

/** Files beside the weights that are copied to where a model of the same tokenizer is written. */
export const COPIED = [
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'tokenizer.model',
  'chat_template.jinja',
];

/** A directory beside the weights that is copied too. */
export const TEMPLATES = 'additional_chat_templates';

/** What saveModel writes, and what repositories on the hub have besides. */
const OF_A_MODEL: readonly RegExp[] = [
  /^config\.json$/,
  /^(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)(\.index\.json)?$/,
  new RegExp(`^(${[...COPIED, TEMPLATES].join('|').replaceAll('.', '\\.')})$`),
  /^(vocab\.json|merges\.txt|README\.md|\.gitattributes|\.cache)$/,
  /^(LICENSE|USE_POLICY|NOTICE)(\.txt|\.md)?$/i,
];

/**
 * Whether there is a directory that may be replaced; false where there is nothing.
 * @throws ModelError when a file is there, or a directory that is not empty and has no config.json, or has something that is not a model's.
 */
export async function isReplaceable(target: string): Promise<boolean> {
  const found = await stat(target).catch(() => null);
  if (!found) return false;
  const files = found.isDirectory() ? await readdir(target) : null;
  if (files?.length === 0) return true;
  const others = files?.filter((file) => !OF_A_MODEL.some((pattern) => pattern.test(file))) ?? [];
  if (files?.includes('config.json') && others.length === 0) return true;
  const what = !files
    ? 'a file'
    : files.includes('config.json')
      ? `one that holds something else too, which would be lost (${others.slice(0, 3).join(', ')})`
      : `a directory of other files (${files.slice(0, 3).join(', ')})`;
  throw new ModelError(
    `${target}: wanted a new directory or one with a model to replace, found ${what}; choose another path`,
  );
}
