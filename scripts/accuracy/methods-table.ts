/** @file The table of methods of a task: accuracies and losses over seeds, and how far they are from LoRA's. */
import { markdown, percent } from './markdown.js';
import { halfInterval, type ResultRow } from './merge.js';

const withSpread = (value: number, half: number | null, write: (value: number) => string) =>
  write(value) + (half === null ? '' : ` ± ${write(half)}`);

/**
 * How far a row is from another, over the seeds that both have: each seed's difference, as its data and adapters begin alike. Its mean ± half of its 95 % interval.
 * @param values by seed, in the order of `seeds`.
 */
function fromOther(
  row: ResultRow,
  other: ResultRow | undefined,
  values: (row: ResultRow) => readonly number[],
  difference: (own: number, others: number) => number,
): string {
  if (!other || row === other) return '';
  const [own, others] = [values(row), values(other)];
  const differences = row.seeds.flatMap((seed, n) => {
    const m = other.seeds.indexOf(seed);
    return m < 0 || own[n] === undefined || others[m] === undefined ? [] : [difference(own[n], others[m])];
  });
  if (differences.length === 0) return '';
  const mean = differences.reduce((sum, one) => sum + one, 0) / differences.length;
  const sign = mean < 0 ? '−' : '+';
  return sign + withSpread(Math.abs(mean), halfInterval(differences), (value) => value.toFixed(1));
}

/** Milliseconds of a step: the median one, and the mean over the whole run; not a number where it is not known. */
export interface StepTimes {
  readonly median: number;
  readonly mean: number;
}

/**
 * Methods of a task. Of a frontier (`byFlops`) the one that takes the least first.
 * @param times of a row's steps by themselves: last columns, where one is known.
 */
export function methodsTable(
  rows: readonly ResultRow[],
  task: string,
  { byFlops = false, times }: { byFlops?: boolean; times?: (row: ResultRow) => StepTimes } = {},
): string {
  const chosen = rows.filter((row) => row.task === task);
  if (byFlops)
    chosen.sort((a, b) => Math.round(100 * (a.flopsShare - b.flopsShare)) || a.method.localeCompare(b.method));
  const sets = Object.keys(chosen.find((row) => Object.keys(row.sets).length > 0)?.sets ?? {});
  const lora = chosen.find(({ method }) => method === 'LoRA');
  const isTimed = times !== undefined && chosen.some((row) => Number.isFinite(times(row).median));
  // Not noted by runs of long ago.
  const hasMeans = isTimed && chosen.some((row) => Number.isFinite(times(row).mean));
  const time = (row: ResultRow) => {
    if (!isTimed) return [];
    const { median, mean } = times(row);
    return [median, ...(hasMeans ? [mean] : [])].map((value) => (Number.isFinite(value) ? value.toFixed(1) : ''));
  };
  const lines = chosen.map((row) => [
    ...[row.method, row.estimator, String(row.seeds.length), `${percent(row.flopsShare)} %`],
    ...[...sets.map((set) => percent(row.sets[set]!)), withSpread(row.mean, row.halfInterval, percent)],
    fromOther(
      row,
      lora,
      ({ accuracies }) => accuracies,
      (own, dense) => 100 * (own - dense),
    ),
    row.denseHeldOutLoss === null
      ? ''
      : withSpread(row.denseHeldOutLoss, halfInterval(row.denseHeldOutLosses), (value) => value.toFixed(4)),
    fromOther(
      row,
      lora,
      ({ denseHeldOutLosses }) => denseHeldOutLosses,
      (own, dense) => 100 * (own / dense - 1),
    ),
    ...time(row),
  ]);
  if (!byFlops) {
    const majority = sets.map((set) => chosen[0]!.majority[set] ?? Number.NaN);
    const mean = majority.reduce((sum, share) => sum + share, 0) / sets.length;
    const none = Array.from({ length: 3 + Number(isTimed) + Number(hasMeans) }, () => '');
    lines.push(['always the most frequent answer', '', '', '', ...[...majority, mean].map(percent), ...none]);
  }
  const head = ['trained with', 'estimator', 'seeds', 'FLOPs', ...sets, 'mean', 'from LoRA, points', 'held-out loss'];
  return markdown(
    [...head, 'from LoRA, %', ...(isTimed ? ['ms a step'] : []), ...(hasMeans ? ['of the whole run'] : [])],
    lines,
  );
}
