/** @file The table of the leak's trials (leak.ts), over seeds. */
import type { LeakNumbers } from './leak-trial.js';

export interface LeakRow extends LeakNumbers {
  readonly model: string;
  readonly method: string;
  readonly copies: number;
  /** Different questions; each comes again and again, with an answer drawn anew. */
  readonly prompts: number;
  readonly batchSize: number;
  readonly steps: number;
  readonly seed: number;
  readonly seconds: number;
}

/** What is one row of the table. */
const groupOf = ({ model, method, copies, prompts, batchSize }: LeakRow) =>
  [
    model,
    ...[prompts, copies, batchSize].map(String),
    ...(method.includes('; ') ? method.split('; ') : [method, '']),
  ] as const;

const meanOf = (values: readonly (number | null)[]): number | null => {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
};

/** Markdown; losses below chance are bold. */
export function leakTable(rows: readonly LeakRow[]): string {
  const groups = new Map<string, LeakRow[]>();
  for (const row of rows) {
    const key = groupOf(row).join('|');
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  const line = (ofGroup: readonly LeakRow[]) => {
    const [{ chance }] = ofGroup as [LeakRow];
    const shown = (value: number | null) =>
      value === null ? '' : value < chance ? `**${value.toFixed(3)}**` : value.toFixed(3);
    const of = (key: 'training' | 'asTrained' | 'fromContext' | 'dense') =>
      shown(meanOf(ofGroup.map((row) => row[key])));
    const seeds = String(new Set(ofGroup.map(({ seed }) => seed)).size);
    return [...groupOf(ofGroup[0]!), seeds, of('training'), of('asTrained'), of('fromContext'), of('dense')];
  };
  const head = ['model', 'questions', 'labels a row', 'rows a choice', 'channels chosen by', 'sparsity', 'seeds'];
  const losses = ['training, last half', 'new rows, chosen so', 'chosen from the context', 'densely'];
  const cells = [
    [...head, ...losses],
    [...head.map(() => '---'), ...losses.map(() => '--:')],
  ];
  return [...cells, ...[...groups.values()].map(line)].map((row) => `| ${row.join(' | ')} |`).join('\n');
}
