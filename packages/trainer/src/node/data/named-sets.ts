/**
 * @file Data sets of the original's benchmarks by name: `codefeedback`, `wizardlm`, `arc-agi`, from the hub or, as `name=FILE` (`arc-agi=DIRECTORY`),
 * from where they lie.
 */
import { existsSync, statSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DownloadOptions } from '@spft/models/node';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { type ArcTask, arcMessages, parseArcTask } from '../../benchmarks/arc.js';
import { arcRows } from '../../benchmarks/arc-augment.js';
import { INSTRUCTION_SETS, type InstructionSet } from '../../benchmarks/instruction-sets.js';
import { type DataRecord, parseDataRecord } from '../../data/data-record.js';
import { at, type BadRow, DatasetError } from '../../data/dataset-error.js';
import { subset } from '../../data/split.js';
import { hubFiles } from './data-directory.js';
import { readDataRows } from './data-rows.js';

const ARC_NAME = 'arc-agi';
/** BARC's sets, and which share of each is used. */
const BARC = [
  ['barc0/transduction_formatted_test_time_finetune_for_evaluation', 1],
  ['barc0/transduction_formatted_rearc_dataset_100k', 0.05],
  ['barc0/transduction_heavy_100k_jsonl', 0.05],
] as const;
const BARC_SPLIT = 'train_sft';
/** Of the original's shuffle. */
const BARC_SEED = 42;

export const NAMED_SETS: readonly string[] = [...INSTRUCTION_SETS.map(({ name }) => name), ARC_NAME];

export interface NamedSetOptions {
  readonly skipBadRows?: boolean;
  readonly limit?: number;
  readonly onHubProgress?: DownloadOptions['onProgress'];
}

export interface NamedSetRows {
  readonly records: DataRecord[];
  readonly badRows: BadRow[];
  readonly files: string[];
}

/** The rows of a set by name; null where the name is none of these. @throws DatasetError; HubError of the hub. */
export async function loadNamedSet(part: string, options: NamedSetOptions = {}): Promise<NamedSetRows | null> {
  assertKnownOptions('loadNamedSet', options, { skipBadRows: true, limit: true, onHubProgress: true });
  const [name, path] = part.split(/=(.*)/s) as [string, string?];
  if (path !== undefined && !existsSync(path)) {
    if (!NAMED_SETS.includes(name)) return null;
    throw new DatasetError(`${part}: there is no such file or directory; check the path`, { file: path });
  }
  const set = INSTRUCTION_SETS.find((one) => one.name === name);
  if (set) return instructionRows(set, path, options);
  if (name !== ARC_NAME) return null;
  return path === undefined ? barcRows(options) : arcDirectoryRows(path, options);
}

async function instructionRows(
  set: InstructionSet,
  path: string | undefined,
  options: NamedSetOptions,
): Promise<NamedSetRows> {
  const choice = { config: null, split: 'train' };
  const files =
    path !== undefined
      ? [path]
      : await hubFiles({ repoId: set.repoId, revision: null }, choice, { onProgress: options.onHubProgress });
  return rowsOf(files, { ...options, limit: Math.min(options.limit ?? Infinity, set.most) }, set.parse);
}

async function barcRows(options: NamedSetOptions): Promise<NamedSetRows> {
  const all: NamedSetRows = { records: [], badRows: [], files: [] };
  for (const [repoId, share] of BARC) {
    const files = await hubFiles(
      { repoId, revision: null },
      { config: null, split: BARC_SPLIT },
      { onProgress: options.onHubProgress },
    );
    const { records, badRows } = await rowsOf(files, options, (row) => parseDataRecord(row));
    const used = share === 1 ? records : subset(records, Math.max(1, Math.round(share * records.length)), BARC_SEED);
    for (const record of used) all.records.push(record);
    for (const bad of badRows) all.badRows.push(bad);
    all.files.push(...files);
  }
  return all;
}

async function arcDirectoryRows(directory: string, options: NamedSetOptions): Promise<NamedSetRows> {
  // A file is BARC's rows.
  if (!statSync(directory).isDirectory()) return rowsOf([directory], options, (row) => parseDataRecord(row));
  const { tasks, badRows } = await readArcTasks(directory, options.skipBadRows);
  const rows = tasks.flatMap((task) => arcRows(task));
  const records = rows.map(({ task, examples, test }) => ({
    messages: arcMessages(examples, test.input, test.output, 'training').map((message) =>
      message.role === 'assistant' ? { ...message, learned: true } : message,
    ),
    source: { file: join(directory, `${task}.json`), line: 1 },
  }));
  if (records.length > 0) return { records: records.slice(0, options.limit), badRows, files: [directory] };
  throw new DatasetError(
    `${directory}: none of its ${tasks.length} tasks has more than two training pairs, of which rows could be made`,
  );
}

/** Every task file of a directory, by name. @throws DatasetError for a file that is no task, unless such are skipped, or where there is none. */
export async function readArcTasks(
  directory: string,
  skipBad = false,
): Promise<{ tasks: ArcTask[]; badRows: BadRow[] }> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.json')).sort();
  const tasks: ArcTask[] = [];
  const badRows: BadRow[] = [];
  for (const name of names) {
    const source = { file: join(directory, name), line: 1 };
    const task = await readFile(source.file, 'utf8').then(
      (text) => parseArcText(name.replace(/\.json$/, ''), text),
      (error: Error) => `cannot be read: ${error.message}`,
    );
    if (typeof task !== 'string') tasks.push(task);
    else if (skipBad) badRows.push({ ...source, problem: task });
    else throw new DatasetError(`${source.file}: ${task}`, source);
  }
  if (tasks.length > 0) return { tasks, badRows };
  throw new DatasetError(
    `${directory}: wanted task files of ARC (*.json) in it, found ${names.length === 0 ? 'none' : 'none that can be used'}`,
  );
}

function parseArcText(id: string, text: string): ArcTask | string {
  try {
    return parseArcTask(id, JSON.parse(text));
  } catch (error) {
    return `is no valid JSON (${(error as Error).message.slice(0, 120)})`;
  }
}

async function rowsOf(
  files: readonly string[],
  { skipBadRows = false, limit = Infinity }: NamedSetOptions,
  parse: (row: unknown) => DataRecord | null | string,
): Promise<NamedSetRows> {
  const all: NamedSetRows = { records: [], badRows: [], files: [...files] };
  for (const file of files) {
    for await (const { line, value, problem } of readDataRows(file)) {
      if (all.records.length >= limit) return all;
      const source = { file, line };
      const record = problem ?? parse(value);
      if (record === null) continue;
      if (typeof record !== 'string') all.records.push({ ...record, source });
      else if (skipBadRows) all.badRows.push({ ...source, problem: record });
      else
        throw new DatasetError(`${at(source)}: ${record}; mend the row, or skip such rows (--skip-bad-rows)`, source);
    }
  }
  if (all.records.length > 0) return all;
  throw new DatasetError(
    `${files.join(', ')}: no row can be used (${all.badRows.length} are bad, the others are filtered out)`,
  );
}
