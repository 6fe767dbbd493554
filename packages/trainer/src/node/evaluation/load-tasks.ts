/** @file Evaluation sets from disk: upstream's by name, downloaded where they are missing, and files of the same format. */
import { existsSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { testSet } from '../../data/catalog.js';
import { type BadRow, DatasetError } from '../../data/dataset-error.js';
import { parseRecord } from '../../data/record.js';
import {
  type EvaluationTask,
  findTaskKind,
  inferTaskKind,
  type TaskKind,
  taskKind,
  toExample,
} from '../../evaluation/tasks.js';
import { DATASET_OPTIONS, type DatasetOptions, locate, readParsed, specParts } from '../data/dataset.js';

export interface LoadedTask extends EvaluationTask {
  readonly file: string;
  /** Rows that were skipped. */
  readonly badRows: readonly BadRow[];
}

/**
 * Loads evaluation sets joined by `+`. Each is a name (`gsm8k`, `social-iqa`, …), the path of a file in the original's format, or `name=path`
 * for a file of that kind. The kind of a bare path is that of its directory's or its own name (`…/ARC-Easy/test.json`, `svamp.json`), else
 * that of its answers.
 * @throws DatasetError when there is no such set, it cannot be fetched or read, or a row has no answer of its kind.
 */
export async function loadTasks(spec: string, options: DatasetOptions = {}): Promise<LoadedTask[]> {
  assertKnownOptions('loadTasks', options, DATASET_OPTIONS);
  const tasks: LoadedTask[] = [];
  for (const part of specParts(spec)) tasks.push(await loadTask(part, options));
  return tasks;
}

async function loadTask(part: string, options: DatasetOptions): Promise<LoadedTask> {
  const { kind, file, name } = await find(part, options);
  const answers = kind?.answers ?? null;
  const { rows: examples, badRows } = await readParsed(file, options, (value) => {
    const record = parseRecord(value, 'answer');
    return typeof record === 'string' ? record : toExample(record, answers);
  });
  const { maxNewTokens, answers: rule } =
    kind ??
    inferTaskKind(
      examples.map((e) => e.answer),
      file,
    );
  return { name, answers: rule, maxNewTokens, examples, file, badRows };
}

/** What a part of the spec names: its file and, as far as names tell, its kind. */
async function find(
  part: string,
  options: DatasetOptions,
): Promise<{ kind: TaskKind | null; file: string; name: string }> {
  const [, kindName, path] = /^([\w-]+)=(.+)$/s.exec(part) ?? [];
  if (path !== undefined && !existsSync(part)) {
    if (!existsSync(path)) throw new DatasetError(`${path}: there is no such file; check the path`, { file: path });
    const kind = taskKind(kindName!);
    return { kind, file: path, name: kind.name };
  }
  // A name before a path: `gsm8k` is the set even where a directory of that name is at hand.
  const named = findTaskKind(part);
  if (named !== null)
    return { kind: named, file: await locate(testSet(named.name, named.aliases), options), name: named.name };
  if (!existsSync(part)) {
    if (!/[./\\]/.test(part)) taskKind(part);
    throw new DatasetError(`${part}: there is no such file; check the path, or give the name of an evaluation set`, {
      file: part,
    });
  }
  const stem = basename(part).replace(/\.jsonl?(\.gz)?$/i, '');
  const kind = findTaskKind(stem) ?? findTaskKind(basename(dirname(part)));
  return { kind, file: part, name: kind?.name ?? stem };
}
