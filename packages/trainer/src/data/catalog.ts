/**
 * @file The datasets with names of their own: what upstream's scripts/setup/data.sh fetches from LLM-Adapters, and where it puts it.
 */

/** A file of LLM-Adapters. */
export interface CatalogFile {
  /** Path in the datasets directory, as upstream lays it out. */
  readonly path: string;
  /** Path in the LLM-Adapters repository. */
  readonly remote: string;
  /** Other places in the datasets directory where it may lie, e.g. where the repository was copied as it is. */
  readonly alternatives: readonly string[];
}

/** What `SPFT_DATASETS_URL` replaces. */
export const DATASETS_URL = 'https://raw.githubusercontent.com/AGI-Edgerunners/LLM-Adapters/refs/heads/main';

const TRAINING_SETS: Readonly<Record<string, readonly string[]>> = {
  math_10k: ['math10k'],
  commonsense_170k: ['csr170k'],
  commonsense_15k: ['csr15k'],
};

/** Names of the training sets, as `--dataset` takes them. */
export const TRAINING_SET_NAMES: readonly string[] = Object.entries(TRAINING_SETS).flatMap(([file, names]) => [
  ...names,
  file,
]);

/** The training set of a name, or null. */
export function findTrainingSet(name: string): CatalogFile | null {
  const file = Object.keys(TRAINING_SETS).find((f) => f === name || TRAINING_SETS[f]!.includes(name));
  if (file === undefined) return null;
  return { path: `${file}.json`, remote: `ft-training_set/${file}.json`, alternatives: [] };
}

/** The test set of a task: `name` is upstream's directory, `spellings` others, LLM-Adapters' first. */
export function testSet(name: string, spellings: readonly string[]): CatalogFile {
  return {
    path: `${name}/test.json`,
    remote: `dataset/${spellings[0] ?? name}/test.json`,
    alternatives: spellings.map((s) => `${s}/test.json`),
  };
}
