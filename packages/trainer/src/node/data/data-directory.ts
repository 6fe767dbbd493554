/**
 * @file A data set as a repository or a directory of files: one of the hub is brought into the cache that Hugging Face's libraries share, and
 * of either the files of one split are chosen.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { type DownloadOptions, downloadDataset, isRepoId } from '@spft/models/node';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import * as yaml from 'js-yaml';
import { DatasetError } from '../../data/dataset-error.js';
import { type ReadmeConfig, type SplitChoice, splitFiles } from '../../data/split-files.js';

export interface HubDataset {
  readonly repoId: string;
  /** Branch, tag or commit. */
  readonly revision: string | null;
}

/** `OWNER/NAME` or `OWNER/NAME@REVISION` of the hub; null for anything else. */
export function parseHubDataset(spec: string): HubDataset | null {
  const [repoId, revision, ...rest] = spec.split('@');
  if (rest.length > 0 || !repoId!.includes('/') || !isRepoId(repoId!)) return null;
  if (/\.(json|jsonl|csv|tsv|parquet|gz|txt)$/i.test(repoId!)) return null;
  return { repoId: repoId!, revision: revision ?? null };
}

type HubOptions = Pick<DownloadOptions, 'onProgress' | 'endpoint' | 'cacheDir' | 'offline' | 'env' | 'retryDelayMs'>;

const OPTIONS: OptionNames<HubOptions> = {
  ...{ onProgress: true, endpoint: true, cacheDir: true },
  ...{ offline: true, env: true, retryDelayMs: true },
};

/**
 * The files of a split, downloaded as far as they are missing.
 * @returns their paths, in the order of their names.
 * @throws HubError when the hub does not give them; DatasetError naming the subsets or splits that there are.
 */
export async function hubFiles(
  { repoId, revision }: HubDataset,
  choice: SplitChoice,
  options: HubOptions = {},
): Promise<string[]> {
  assertKnownOptions('hubFiles', options, OPTIONS);
  const given = { ...options, ...(revision === null ? {} : { revision }) };
  let files: readonly string[] | null = null;
  const snapshot = await downloadDataset(repoId, {
    ...given,
    choose: (all) => {
      files = all;
      return all.filter((file) => file === 'README.md');
    },
  });
  // Offline nobody asks which files there are: those of the cache are.
  const listed: readonly string[] = files ?? (await filesBelow(snapshot));
  const chosen = splitFiles(listed, await readmeConfigs(snapshot), choice, repoId);
  const directory = files === null ? snapshot : await downloadDataset(repoId, { ...given, choose: () => chosen });
  return chosen.map((file) => join(directory, file));
}

/** The files of a split in a directory. @throws DatasetError naming the subsets or splits that there are. */
export async function directoryFiles(directory: string, choice: SplitChoice): Promise<string[]> {
  const files = splitFiles(await filesBelow(directory), await readmeConfigs(directory), choice, directory);
  return files.map((file) => join(directory, file));
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));
}

/** `configs` of the YAML at a README's head; none where there is no README, or its head is no YAML. */
async function readmeConfigs(directory: string): Promise<readonly ReadmeConfig[]> {
  const text = await readFile(join(directory, 'README.md'), 'utf8').catch(() => '');
  const head = /^---\r?\n([\s\S]*?)\r?\n---/.exec(text)?.[1];
  if (head === undefined) return [];
  try {
    const { configs } = (yaml.load(head, { schema: yaml.CORE_SCHEMA }) ?? {}) as { configs?: unknown };
    return Array.isArray(configs) ? configs.filter((one) => typeof one === 'object' && one !== null) : [];
  } catch (cause) {
    throw new DatasetError(`${directory}/README.md: its head is no YAML (${(cause as Error).message})`, { cause });
  }
}
