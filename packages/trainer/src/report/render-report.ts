/**
 * @file The report: one HTML page that needs nothing but itself. Several methods side by side: what they reached and cost, how their loss
 * fell, and what sparsity kept.
 */
import type { ReportData, ReportMethod } from './data.js';
import { escapeHtml, percent, short } from './html.js';
import { lineChart, PALETTE_SIZE, type Point, type Series } from './line-chart.js';
import { sparsityMap } from './sparsity-map.js';
import { STYLE } from './style.js';

/** @returns a whole HTML document. */
export function renderReport(data: ReportData): string {
  const { title, summary, facts = {}, methods } = data;
  const sections = [cards(methods), comparison(methods), evaluations(methods), charts(methods), maps(methods)];
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<header>
<h1>${escapeHtml(title)}</h1>
${summary ? `<p class="summary">${escapeHtml(summary)}</p>` : ''}
${factList(facts)}
</header>
${sections.filter((section) => section !== '').join('\n')}
<footer>Written by spft.</footer>
</main>
</body>
</html>
`;
}

function factList(facts: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(facts).map(
    ([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`,
  );
  return pairs.length === 0 ? '' : `<dl class="facts">${pairs.join('')}</dl>`;
}

const colourOf = (n: number) => `c${n % PALETTE_SIZE}`;

/** Relative to the first method; undefined for the first itself. */
function speedUp(methods: readonly ReportMethod[], n: number): number | undefined {
  const [first, own] = [methods[0]?.secondsPerStep, methods[n]?.secondsPerStep];
  return n > 0 && first && own ? first / own : undefined;
}

/** The headline of each method. */
function cards(methods: readonly ReportMethod[]): string {
  const items = methods.map((method, n) => {
    const { name, accuracyBefore, accuracyAfter, secondsPerStep, flopsShare } = method;
    const lastLoss = method.logHistory.filter(({ loss }) => Number.isFinite(loss)).at(-1)?.loss;
    const [big, says] =
      accuracyAfter !== undefined
        ? [
            percent(accuracyAfter),
            accuracyBefore === undefined ? 'correct' : `correct, ${percent(accuracyBefore)} before`,
          ]
        : lastLoss !== undefined
          ? [short(lastLoss), 'loss at the end']
          : ['–', 'nothing logged'];
    const faster = speedUp(methods, n);
    const cost = [
      secondsPerStep === undefined ? null : `${short(secondsPerStep)} s a step`,
      faster === undefined ? null : `${faster.toFixed(2)}× as fast as ${methods[0]!.name}`,
      flopsShare === undefined ? null : `${percent(flopsShare, 0)} of the arithmetic`,
    ].filter((part) => part !== null);
    return `<section class="card ${colourOf(n)}"><h3>${escapeHtml(name)}</h3><p class="big">${big}</p><p>${says}</p><p>${escapeHtml(cost.join(', '))}</p></section>`;
  });
  return items.length === 0 ? '' : `<h2>Result</h2>\n<div class="cards">${items.join('')}</div>`;
}

interface Column {
  readonly title: string;
  readonly value: (method: ReportMethod, n: number) => string | undefined;
}

const given = (value: number | undefined, text: (value: number) => string) =>
  value === undefined ? undefined : text(value);

/** Columns that no method fills are left out. */
function comparison(methods: readonly ReportMethod[]): string {
  const columns: Column[] = [
    { title: 'accuracy before', value: (m) => given(m.accuracyBefore, percent) },
    { title: 'accuracy after', value: (m) => given(m.accuracyAfter, percent) },
    { title: 's/step', value: (m) => given(m.secondsPerStep, short) },
    { title: 'speed-up', value: (_, n) => given(speedUp(methods, n), (value) => `${value.toFixed(2)}×`) },
    { title: 'tokens/s', value: (m) => given(m.tokensPerSecond, short) },
    { title: 'FLOPs', value: (m) => given(m.flopsShare, (value) => percent(value)) },
    { title: 'trainable', value: (m) => given(m.trainableParameters, (value) => value.toLocaleString('en')) },
  ];
  const rows = methods.map((method, n) => ({ method, n, cells: columns.map(({ value }) => value(method, n)) }));
  const used = columns.map((_, c) => rows.some(({ cells }) => cells[c] !== undefined));
  if (!used.includes(true)) return '';
  return table(
    'Methods',
    'Time of a step is the median without the first steps; speed-up is relative to the first row.',
    ['method', ...columns.filter((_, c) => used[c]).map(({ title }) => title)],
    rows.map(({ method, n, cells }) => [
      `<span class="dot ${colourOf(n)}" aria-hidden="true"></span>${escapeHtml(method.name)}`,
      ...cells.filter((_, c) => used[c]).map((cell) => escapeHtml(cell ?? '–')),
    ]),
  );
}

function evaluations(methods: readonly ReportMethod[]): string {
  const sets = [...new Set(methods.flatMap((method) => (method.evaluations ?? []).map(({ set }) => set)))];
  if (sets.length === 0) return '';
  const rows = sets.map((set) => {
    const found = methods.map((method) => method.evaluations?.find((one) => one.set === set));
    const questions = found.find((one) => one?.questions !== undefined)?.questions;
    return [
      escapeHtml(set),
      questions === undefined ? '–' : questions.toLocaleString('en'),
      ...found.map((one) => {
        const after = given(one?.after, percent);
        const before = given(one?.before, percent);
        return before && after ? `${before} → ${after}` : (after ?? before ?? '–');
      }),
    ];
  });
  const head = ['set', 'questions', ...methods.map(({ name }) => escapeHtml(name))];
  return table('Accuracy by set', 'Before → after fine-tuning.', head, rows);
}

/** Cells are HTML. */
function table(title: string, caption: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  const heads = head.map((cell) => `<th scope="col">${cell}</th>`).join('');
  const body = rows.map(
    ([first, ...rest]) => `<tr><th scope="row">${first}</th>${rest.map((cell) => `<td>${cell}</td>`).join('')}</tr>`,
  );
  return `<h2>${escapeHtml(title)}</h2>
<section class="scroll" aria-label="${escapeHtml(title)}" tabindex="0"><table><caption>${escapeHtml(caption)}</caption><thead><tr>${heads}</tr></thead><tbody>${body.join('')}</tbody></table></section>`;
}

function charts(methods: readonly ReportMethod[]): string {
  const points = (method: ReportMethod, key: string): Point[] =>
    method.logHistory.filter((entry) => entry[key] !== undefined).map((entry) => [entry.step!, entry[key]!]);
  const series = (key: string, more: Partial<Series> = {}): Series[] =>
    methods.map((method, colour) => ({ name: method.name, colour, points: points(method, key), ...more }));
  const heldOut = series('eval_loss', { marks: true }).map((one) => ({ ...one, name: `${one.name}, held-out` }));
  const drawn = [
    lineChart([...series('loss', { smooth: true }), ...heldOut], {
      id: 'loss',
      title: 'Loss of a labelled token',
      wide: true,
    }),
    lineChart(series('learning_rate'), { id: 'rate', title: 'Learning rate', fromZero: true }),
    lineChart(series('tokens_per_second', { smooth: true }), { id: 'speed', title: 'Tokens a second', fromZero: true }),
  ].filter((chart) => chart !== '');
  return drawn.length === 0 ? '' : `<h2>Training</h2>\n<div class="charts">\n${drawn.join('\n')}\n</div>`;
}

function maps(methods: readonly ReportMethod[]): string {
  const drawn = methods.flatMap(({ name, sparsity }) =>
    sparsity && sparsity.layers.length > 0 ? [sparsityMap(name, sparsity)] : [],
  );
  return drawn.length === 0 ? '' : `<h2>What sparsity kept</h2>\n${drawn.join('\n')}`;
}
