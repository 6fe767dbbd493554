/**
 * @file docs/ACCURACY.md's tables and plot out of bench/results/accuracy-smollm2.json: what stands between its markers is replaced.
 *
 *   node scripts/dist/accuracy/pages.js
 */
import { readFile, writeFile } from 'node:fs/promises';
import { halfInterval, type ResultRow, type StudyResult } from './merge.js';

const RESULT = 'bench/results/accuracy-smollm2.json';
const PAGE = 'docs/ACCURACY.md';
const PLOT = 'docs/accuracy-smollm2.svg';

const percent = (share: number) => (100 * share).toFixed(1);

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

function markdown(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [row(head), row(head.map((_, n) => (n < 2 ? '---' : '--:'))), ...lines.map(row)].join('\n');
}

/** Accuracy against FLOPs, and against the time of a step: a panel each for a task. */
export function plotOf(rows: readonly ResultRow[]): string {
  const panels: string[] = [];
  let at = 0;
  for (const task of ['math', 'csr']) {
    for (const [axis, value] of [
      ['FLOPs of a step, % of LoRA', (row: ResultRow) => 100 * row.flopsShare],
      ['milliseconds a step', (row: ResultRow) => 1000 * (row.secondsPerStep ?? Number.NaN)],
    ] as const) {
      const points = rows.filter((row) => row.task === task && row.steps > 0 && !row.method.startsWith('ablation'));
      panels.push(panel(points, value, axis, task, (at % 2) * 460, Math.floor(at / 2) * 300));
      at++;
    }
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 600" font-family="sans-serif" font-size="11" role="img" aria-label="Accuracy against arithmetic and time of a step">
<rect width="920" height="600" fill="#fff"/>${panels.join('')}</svg>\n`;
}

function panel(
  rows: readonly ResultRow[],
  value: (row: ResultRow) => number,
  axis: string,
  task: string,
  left: number,
  top: number,
): string {
  const points = rows
    .map((row) => ({ row, x: value(row), y: 100 * row.mean }))
    .filter(({ x, y }) => Number.isFinite(x + y));
  if (points.length === 0) return '';
  const range = (values: readonly number[]) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = Math.max(1, (high - low) * 0.12);
    return [low - margin, high + margin] as const;
  };
  const [x0, x1] = range(points.map(({ x }) => x));
  const [y0, y1] = range(points.map(({ y }) => y));
  const X = (x: number) => (left + 50 + (380 * (x - x0)) / (x1 - x0)).toFixed(1);
  const Y = (y: number) => (top + 250 - (215 * (y - y0)) / (y1 - y0)).toFixed(1);
  const marks = points.map(({ row, x, y }) => {
    const name =
      row.estimator === 'none'
        ? row.method
        : `${row.estimator}, ${row.method.replace('SparseLoRA', '').replace(/^[, ]+/, '')}`;
    const bar =
      row.halfInterval === null
        ? ''
        : `<path d="M${X(x)} ${Y(Math.max(y0, y - 100 * row.halfInterval))}V${Y(Math.min(y1, y + 100 * row.halfInterval))}" stroke="#888"/>`;
    return `${bar}<circle cx="${X(x)}" cy="${Y(y)}" r="4" fill="#1f5fbf"/><text x="${Number(X(x)) + 7}" y="${Number(Y(y)) + 4}">${name}</text>`;
  });
  const ticks = [0, 0.5, 1].map((share) => {
    const [x, y] = [x0 + share * (x1 - x0), y0 + share * (y1 - y0)];
    return `<text x="${X(x)}" y="${top + 268}" text-anchor="middle">${x.toFixed(0)}</text><text x="${left + 44}" y="${Y(y)}" text-anchor="end">${y.toFixed(0)}</text>`;
  });
  return `<g><text x="${left + 50}" y="${top + 20}" font-weight="bold">${task}: accuracy, %</text>
<path d="M${left + 50} ${top + 30}V${top + 252}H${left + 430}" fill="none" stroke="#444"/>${ticks.join('')}
<text x="${left + 240}" y="${top + 284}" text-anchor="middle">${axis}</text>${marks.join('')}</g>`;
}

/** The text with what stands between `<!-- name -->` and `<!-- /name -->` replaced. */
export function between(page: string, name: string, content: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [page.indexOf(open), page.indexOf(close)];
  if (from < 0 || to < from) throw new Error(`${PAGE}: lacks ${open} … ${close}`);
  return `${page.slice(0, from + open.length)}\n\n${content}\n\n${page.slice(to)}`;
}

export async function writePages(): Promise<void> {
  const { rows, provenance } = JSON.parse(await readFile(RESULT, 'utf8')) as StudyResult;
  let page = await readFile(PAGE, 'utf8');
  const of = (part: string) => rows.filter((row) => row.part === part);
  for (const [mark, part] of [
    ['', 'rows'],
    ['final-', 'final'],
  ] as const) {
    page = between(page, `${mark}math`, tableOf(of(part), 'math'));
    page = between(page, `${mark}commonsense`, tableOf(of(part), 'csr'));
    page = between(page, `${mark}form`, formTable(of(part)));
  }
  page = between(page, 'ways-math', waysTable(of('screen'), 'math'));
  page = between(page, 'ways-commonsense', waysTable(of('screen'), 'csr'));
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
  const asked = of('screen').filter(({ accuracies }) => accuracies.length > 2);
  await writeFile(PLOT, plotOf([...of('final'), ...asked]));
}

if (process.argv[1]?.endsWith('pages.js')) await writePages();
