/** @file What to say of a directory that was given as a model's and is an adapter's. */
import { join } from 'node:path';
import { readJsonIfThere, readTextIfThere } from './json-file.js';

/** The sentence, or null where the directory is no adapter's, or a whole model's too. */
export async function adapterHint(dir: string): Promise<string | null> {
  if ((await readTextIfThere(join(dir, 'config.json'))) !== undefined) return null;
  const config = await readJsonIfThere(dir, 'adapter_config.json').catch(() => ({}));
  if (config === undefined) return null;
  const base = (config as { base_model_name_or_path?: unknown } | null)?.base_model_name_or_path;
  const named =
    typeof base === 'string' && base !== '' ? ` ('${base.slice(0, 200)}', says its adapter_config.json)` : '';
  return `${dir}: is an adapter's directory, no model's: give its base model${named} as the model (--model), and this directory as the adapter (--adapter)`;
}
