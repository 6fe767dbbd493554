/**
 * @file GLUE's data: from the hub (parquet), from a directory of GLUE's own files (`RTE/train.tsv`, …), or from the user's files of any format.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { type BadRow, DatasetError } from '../../data/dataset-error.js';
import { type GlueExample, parseGlueRow } from '../../glue/examples.js';
import type { GlueTask } from '../../glue/tasks.js';
import { hubFiles, parseHubDataset } from '../data/data-directory.js';
import { readDataRows } from '../data/data-rows.js';
import type { DatasetOptions } from '../data/dataset.js';
import { readTable, type TableOptions } from '../data/read-table.js';

/** Where GLUE lies on the hub. */
export const GLUE_DATASET = 'nyu-mll/glue';

export interface GlueDataOptions {
  /** `OWNER/NAME[@REVISION]` on the hub, or a directory of GLUE's own files. Default `GLUE_DATASET`. */
  readonly data?: string;
  /** Files of the user's, instead. */
  readonly trainFile?: string;
  readonly validationFile?: string;
  readonly skipBadRows?: boolean;
  readonly onHubProgress?: DatasetOptions['onHubProgress'];
}

const OPTIONS: OptionNames<GlueDataOptions> = {
  ...{ data: true, trainFile: true, validationFile: true },
  ...{ skipBadRows: true, onHubProgress: true },
};

export interface GlueData {
  readonly train: readonly GlueExample[];
  /** By the name of their metrics: `rte`, or `mnli` and `mnli-mm`. */
  readonly evaluated: ReadonlyMap<string, readonly GlueExample[]>;
  readonly badRows: readonly BadRow[];
}

/** @throws DatasetError naming file and line, or what is missing; HubError of the hub. */
export async function loadGlue(task: GlueTask, options: GlueDataOptions = {}): Promise<GlueData> {
  assertKnownOptions('loadGlue', options, OPTIONS);
  const badRows: BadRow[] = [];
  const read = async (files: readonly string[], what: string): Promise<GlueExample[]> => {
    const examples: GlueExample[] = [];
    for (const file of files) {
      for await (const { line, value, problem } of rowsOf(task, file)) {
        const source = { file, line };
        const parsed = problem ?? parseGlueRow(task, value);
        if (typeof parsed !== 'string') examples.push({ ...parsed, source });
        else if (options.skipBadRows) badRows.push({ ...source, problem: parsed });
        else
          throw new DatasetError(
            `${file}:${line}: ${parsed}; mend the row, or skip such rows (--skip_bad_rows)`,
            source,
          );
      }
    }
    const labelled = examples.filter(({ label }) => label !== null);
    if (labelled.length > 0) return labelled;
    throw new DatasetError(
      `${files.join(', ')}: the ${what} split of ${task.name} has no row with a label${examples.length > 0 ? `, as test splits have none (${examples.length} rows)` : ''}`,
      { file: files[0] },
    );
  };
  const { trainFile, validationFile } = options;
  if (trainFile !== undefined || validationFile !== undefined) {
    if (trainFile === undefined || validationFile === undefined) {
      throw new DatasetError('files of your own: give both --train_file and --validation_file');
    }
    const train = await read([trainFile], 'train');
    const evaluated = new Map([[task.name, await read([validationFile], 'validation')]]);
    return { train, evaluated, badRows };
  }
  const locate = await locator(task, options);
  const train = await read(await locate('train'), 'train');
  const evaluated = new Map<string, GlueExample[]>();
  for (const [name, split] of Object.entries(task.evaluated))
    evaluated.set(name, await read(await locate(split), split));
  return { train, evaluated, badRows };
}

/** The files of a split. */
async function locator(task: GlueTask, { data = GLUE_DATASET, onHubProgress }: GlueDataOptions) {
  if (existsSync(data)) return async (split: string) => [ownFile(data, task, split)];
  const hub = parseHubDataset(data);
  if (hub === null) {
    throw new DatasetError(
      `--data ${data}: wanted a directory of GLUE's files or OWNER/NAME on the hub, found neither`,
    );
  }
  return (split: string) => hubFiles(hub, { config: task.name, split }, { onProgress: onHubProgress });
}

/** GLUE's names of a split's file; validation is `dev` there, of MRPC as Microsoft has it the test file. */
function ownFile(directory: string, task: GlueTask, split: string): string {
  const names =
    split === 'train'
      ? ['train.tsv', 'msr_paraphrase_train.txt', 'stsb-en-train.csv', 'train.csv', 'train.jsonl']
      : [
          ...[`${split.replace('validation', 'dev')}.tsv`, `${split}.tsv`],
          ...['msr_paraphrase_test.txt', 'stsb-en-dev.csv', 'dev.csv', 'dev.jsonl', 'validation.csv'],
        ];
  const folders = [...new Set([task.folder, task.name, task.folder.toUpperCase(), '.'])];
  for (const folder of folders) {
    for (const name of names) if (existsSync(join(directory, folder, name))) return join(directory, folder, name);
  }
  throw new DatasetError(
    `${directory}: wanted ${join(task.folder, names[0]!)} in it, found none; is it a directory of GLUE's own files?`,
    { file: directory },
  );
}

/** What GLUE's own files call a column. */
const RENAMED: Readonly<Record<string, string>> = {
  ...{
    gold_label: 'label',
    Quality: 'label',
    '#1 String': 'sentence1',
    '#2 String': 'sentence2',
    is_duplicate: 'label',
    score: 'label',
  },
};

/** Rows of a file by the task's column names; files without a header are known by their names. */
async function* rowsOf(task: GlueTask, file: string) {
  const rows = await headerless(task, file);
  for await (const row of rows ?? readDataRows(file)) {
    if (typeof row.value !== 'object' || row.value === null) {
      yield row;
      continue;
    }
    const entries = Object.entries(row.value).map(
      ([name, value]) => [RENAMED[name.replace(/^\ufeff/, '')] ?? name, value] as const,
    );
    const value: Record<string, unknown> = Object.fromEntries(entries);
    // GLUE's MNLI calls its texts otherwise than the hub.
    if (task.name === 'mnli' && !('premise' in value))
      Object.assign(value, { premise: value.sentence1, hypothesis: value.sentence2 });
    yield { ...row, value };
  }
}

async function headerless(task: GlueTask, file: string) {
  const isTsv = /\.tsv$/i.test(file);
  const table = (format: 'csv' | 'tsv', options: TableOptions = {}) => readTable(file, format, options);
  if (/msr_paraphrase_\w+\.txt$/.test(file)) return table('tsv');
  if (/stsb-en-\w+\.csv$/.test(file)) return table('csv', { columns: ['sentence1', 'sentence2', 'label'] });
  if (task.name === 'cola' && isTsv && !(await firstLineHas(file, 'sentence'))) {
    return table('tsv', { columns: ['source', 'label', 'mark', 'sentence'] });
  }
  if (task.name === 'sst2' && isTsv && !(await firstLineHas(file, 'sentence'))) {
    return table('tsv', { columns: ['sentence', 'label'] });
  }
  return null;
}

async function firstLineHas(file: string, word: string): Promise<boolean> {
  for await (const { value } of readTable(file, 'tsv', { columns: ['a', 'b'] })) {
    return Object.values(value ?? {}).includes(word);
  }
  return false;
}
