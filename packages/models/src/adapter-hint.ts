/** @file What to say of a directory that was given as a model's and is an adapter's. */
import type { FileSet } from '@spft/safetensors';
import { readJsonIfThere, readTextIfThere } from './json-file.js';

/** The sentence, or null where the directory is no adapter's, or a whole model's too. */
export async function adapterHint(files: FileSet): Promise<string | null> {
  if ((await readTextIfThere(files, 'config.json')) !== undefined) return null;
  const config = await readJsonIfThere(files, 'adapter_config.json').catch(() => ({}));
  if (config === undefined) return null;
  const base = (config as { base_model_name_or_path?: unknown } | null)?.base_model_name_or_path;
  const named =
    typeof base === 'string' && base !== '' ? ` ('${base.slice(0, 200)}', says its adapter_config.json)` : '';
  return `${files.name}: is an adapter's directory, no model's: give its base model${named} as the model (--model), and this directory as the adapter (--adapter)`;
}
