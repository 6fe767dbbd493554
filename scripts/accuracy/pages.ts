/**
 * @file docs/ACCURACY.md's tables and plot out of bench/results/accuracy-smollm2.json: what stands between its markers is replaced.
 *
 *   node scripts/dist/accuracy/pages.js
 */
import { readFile, writeFile } from 'node:fs/promises';
import { markdown, percent } from './markdown.js';
import { halfInterval, type ResultRow, type StudyResult } from './merge.js';
import { methodsTable } from './methods-table.js';
import { plotOf } from './plot.js';
import { tableJobs } from './table.js';

const RESULT = 'bench/results/accuracy-smollm2.json';
const PAGE = 'docs/ACCURACY.md';
const PLOT = 'docs/accuracy-smollm2.svg';

export function tableOf(rows: readonly ResultRow[], task: string): string {
  const chosen = rows.filter((row) => row.task === task && !row.method.startsWith('ablation'));
  const sets = Object.keys(chosen[0]?.sets ?? {});
  const head = ['method', 'estimator', 'seeds', 'FLOPs', ...sets, 'mean', '± (95 %)', 'held-out loss', 's/step'];
  const lines = chosen.map((row) => [
    ...[row.method, row.estimator, String(row.seeds.length), `${percent(row.flopsShare)} %`],
    ...sets.map((set) => percent(row.sets[set]!)),
    ...[percent(row.mean), row.halfInterval === null ? '' : percent(row.halfInterval)],
    ...[row.denseHeldOutLoss?.toFixed(3) ?? '', row.steps > 0 ? (row.secondsPerStep?.toFixed(3) ?? '') : ''],
  ]);
  const majority = sets.map((set) => percent(chosen[0]!.majority[set] ?? Number.NaN));
  lines.push(['always the most frequent answer', '', '', '', ...majority, '', '', '', '']);
  return markdown(head, lines);
}

/** Form and content of the answers to MAWPS, apart. */
export function formTable(rows: readonly ResultRow[]): string {
  const chosen = rows.filter(({ form, task }) => form !== null && task === 'math');
  /** Right as what the answer says it is; where it was counted. */
  const right = ({ form }: ResultRow) => (form?.right === undefined ? '' : `${percent(form.right / form.questions)} %`);
  const head = [
    'trained with',
    'estimator',
    'seeds',
    'FLOPs',
    'equation',
    'right equation',
    'right number',
    'right as it says',
    'last training loss',
    'held-out loss',
    'the same, context sparse',
  ];
  return markdown(
    head,
    chosen.map((row) => [
      ...[
        row.method.replace('ablation: ', ''),
        row.estimator,
        String(row.seeds.length),
        `${percent(row.flopsShare)} %`,
      ],
      ...(['equation', 'rightEquation', 'rightNumber'] as const).map(
        (key) => `${percent(row.form![key] / row.form!.questions)} %`,
      ),
      ...[right(row), row.lastTrainLoss?.toFixed(3) ?? '', row.denseHeldOutLoss?.toFixed(4) ?? ''],
      row.sparseHeldOutLoss?.toFixed(4) ?? '',
    ]),
  );
}

/** Ways to spend a budget, the least held-out loss first. */
export function waysTable(rows: readonly ResultRow[], task: string): string {
  const chosen = rows.filter((row) => row.task === task);
  const sets = [...new Set(chosen.flatMap((row) => Object.keys(row.sets)))];
  const spread = (half: number | null, write: (value: number) => string) => (half === null ? '' : ` ± ${write(half)}`);
  const lines = [...chosen]
    .sort((a, b) => a.denseHeldOutLoss! - b.denseHeldOutLoss!)
    .map((row) => [
      ...[row.method, row.estimator, `${percent(row.flopsShare)} %`, String(row.denseHeldOutLosses.length)],
      row.denseHeldOutLoss!.toFixed(4) + spread(halfInterval(row.denseHeldOutLosses), (value) => value.toFixed(4)),
      row.sparseHeldOutLoss?.toFixed(4) ?? '',
      ...(row.accuracies.length === 0
        ? ['', ...sets.map(() => ''), '']
        : [
            String(row.accuracies.length),
            ...sets.map((set) => percent(row.sets[set]!)),
            percent(row.mean) + spread(row.halfInterval, percent),
          ]),
      row.form?.right === undefined ? '' : `${percent(row.form.right / row.form.questions)} %`,
    ]);
  const head = ['trained with', 'estimator', 'FLOPs', 'seeds', 'held-out loss', 'the same, context sparse'];
  const last = task === 'math' ? ['right as it says'] : [];
  return markdown(
    [...head, 'asked', ...(sets.length > 1 ? [...sets, 'mean'] : sets), ...last],
    lines.map((line) => {
      const cells = sets.length > 1 ? line : [...line.slice(0, 7), ...line.slice(8)];
      return task === 'math' ? cells : cells.slice(0, -1);
    }),
  );
}

/** The text with what stands between `<!-- name -->` and `<!-- /name -->` replaced. */
export function between(page: string, name: string, content: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [page.indexOf(open), page.indexOf(close)];
  if (from < 0 || to < from) throw new Error(`${PAGE}: lacks ${open} … ${close}`);
  return `${page.slice(0, from + open.length)}\n\n${content}\n\n${page.slice(to)}`;
}

const rowKey = ({ task, method, estimator }: Pick<ResultRow, 'task' | 'method' | 'estimator'>) =>
  [task, method, estimator].join('|');

export async function writePages(): Promise<void> {
  const { rows, provenance } = JSON.parse(await readFile(RESULT, 'utf8')) as StudyResult;
  let page = await readFile(PAGE, 'utf8');
  const of = (part: string) => rows.filter((row) => row.part === part);
  /** A run's steps, by itself on a GPU. */
  const times = (row: ResultRow) => {
    const timed = of('times').find((one) => rowKey(one) === rowKey(row));
    const milliseconds = (seconds: number | null | undefined) => 1000 * (seconds ?? Number.NaN);
    return { median: milliseconds(timed?.secondsPerStep), mean: milliseconds(timed?.meanSecondsPerStep) };
  };
  // In the order of the study, the base first; results are in that of their ends.
  const order = tableJobs([0]).map(rowKey);
  const rank = (row: ResultRow) => (row.method === 'base' ? -1 : order.indexOf(rowKey(row)));
  const all = of('table').sort((a, b) => rank(a) - rank(b));
  // The plan and LoRA at one share after the other, those of the table's own share among them.
  const isOfFrontier = ({ method, estimator }: ResultRow) =>
    /^LoRA(,|$)/.test(method) || (method === 'SparseLoRA, planned' && estimator === 'calibrated_8');
  const frontier = [...all.filter(isOfFrontier), ...of('frontier')];
  for (const [mark, task] of [
    ['math', 'math'],
    ['commonsense', 'csr'],
  ] as const) {
    page = between(page, `table-${mark}`, methodsTable(all, task, { times }));
    page = between(page, `frontier-${mark}`, methodsTable(frontier, task, { byFlops: true }));
  }
  page = between(page, 'table-form', formTable(all));
  page = between(page, 'ways-math', waysTable(of('screen'), 'math'));
  page = between(page, 'ablations', formTable(of('ablations')));
  page = between(page, 'qlora', tableOf(of('qlora'), 'math'));
  const facts = Object.entries(provenance).map(
    ([part, each]) =>
      `- ${part}: ${Object.entries(each)
        .map(([key, value]) => `${key}: ${value}`)
        .join('; ')}`,
  );
  page = between(page, 'provenance', facts.join('\n'));
  await writeFile(PAGE, page);
  await writeFile(
    PLOT,
    plotOf([...all, ...of('frontier')], (row) => times(row).median),
  );
}

if (process.argv[1]?.endsWith('pages.js')) await writePages();
