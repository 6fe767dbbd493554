/** @file Configs from files. */
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { configKindOf } from '../config-kind.js';
import { parseTrainConfig, type TrainOverrides } from '../parse-train-config.js';
import { parseConfigText } from '../source-text.js';
import { SpftConfig, type SpftConfigOptions } from '../spft-config.js';
import type { TrainConfig } from '../train-config.js';
import { readConfigText } from './read-text.js';

/**
 * Reads a sparsity file, or a hub layout.
 * @param path of a YAML or JSON file, or of a directory with a hub layout's `config.json` or a saved `sparselora_config.json`.
 * @throws ConfigError with every problem, each with file and line.
 */
export async function loadSpftConfig(
  path: string,
  options: Omit<SpftConfigOptions, 'directory'> = {},
): Promise<SpftConfig> {
  assertKnownOptions('loadSpftConfig', options, { train: true, flags: true, hubMode: true });
  const file = await fileOf(path);
  return SpftConfig.fromText(await readConfigText(file), file, { ...options, directory: dirname(file) });
}

/**
 * Reads a training file and lets flags override it.
 * @param path of a YAML or JSON file; null for defaults and flags alone.
 * @throws ConfigError with every problem, each with file and line, or flag.
 */
export async function loadTrainConfig(path: string | null, overrides: TrainOverrides = {}): Promise<TrainConfig> {
  const text = path === null ? null : await readConfigText(path);
  return parseTrainConfig(text, path ?? '', overrides);
}

/** A config of either kind. */
export type AnyConfig =
  | { readonly kind: 'sparsity'; readonly config: SpftConfig }
  | { readonly kind: 'train'; readonly config: TrainConfig };

/**
 * Reads a file of either kind, told by its keys.
 * @param path of a YAML or JSON file, or of a directory with a hub layout's `config.json` or a saved `sparselora_config.json`.
 * @throws ConfigError with every problem, each with file and line.
 */
export async function loadAnyConfig(path: string): Promise<AnyConfig> {
  const file = await fileOf(path);
  const { value } = parseConfigText(await readConfigText(file), file);
  return configKindOf(value) === 'sparsity'
    ? { kind: 'sparsity', config: await loadSpftConfig(file) }
    : { kind: 'train', config: await loadTrainConfig(file) };
}

/** The file of a directory: a hub layout's, or what the newer generation saves beside an adapter. */
async function fileOf(path: string): Promise<string> {
  if (!(await isDirectory(path))) return path;
  const layout = join(path, 'config.json');
  const saved = join(path, 'sparselora_config.json');
  const isThere = (file: string) =>
    stat(file).then(
      () => true,
      () => false,
    );
  return !(await isThere(layout)) && (await isThere(saved)) ? saved : layout;
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}
