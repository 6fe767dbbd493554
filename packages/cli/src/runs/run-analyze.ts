/** @file `spft analyze` and `spft compare`: what runs have come to, over their seeds or beside each other, from the files that they left. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { writeFileAtomically } from '@spft/safetensors/node';
import { type MetricStatistics, statisticsByMetric } from '@spft/trainer/benchmarks';
import { CliError } from '../errors.js';
import { preparePath, writeJson } from '../terminal/json-file.js';
import type { Output } from '../terminal/output.js';
import { table } from '../terminal/table.js';
import { RUN_FILE } from './run-file.js';

export interface AnalyzeFlags {
  readonly json?: string;
  readonly csv?: string;
  readonly html?: string;
}

interface FoundRun {
  readonly directory: string;
  readonly metrics: Readonly<Record<string, number>>;
  /** Logged losses by step. */
  readonly losses: readonly (readonly [step: number, loss: number])[];
}

/** Where results lie, the first that is there counts. */
const RESULTS = ['metrics.json', 'eval_results.json', 'all_results.json'];

export async function runAnalyze(paths: readonly string[], flags: AnalyzeFlags, output: Output): Promise<void> {
  for (const path of [flags.json, flags.csv, flags.html]) await preparePath(path);
  const runs: FoundRun[] = [];
  for (const path of paths) runs.push(...(await findRuns(path)));
  const statistics = statisticsByMetric(runs.map(({ metrics }) => metrics));
  const head = ['metric', 'n', 'mean', '± (n − 1)', 'median', 'mean-80%', 'mean-60%', 'min', 'max'];
  const cells = Object.entries(statistics).map(([name, s]) => [name, s.n, ...ORDER.map((key) => s[key])]);
  output.print(
    table(
      head,
      cells.map((row) => row.map((cell, n) => (typeof cell === 'number' && n > 1 ? cell.toFixed(4) : String(cell)))),
    ),
  );
  output.note(`${runs.length} runs: ${runs.map(({ directory }) => directory).join(', ')}`);
  if (flags.csv !== undefined)
    await writeText(flags.csv, `${[head, ...cells].map((row) => row.join(',')).join('\n')}\n`);
  if (flags.html !== undefined) await writeText(flags.html, page(runs, statistics));
  await writeJson(
    flags.json,
    { runs: runs.map(({ directory, metrics }) => ({ directory, metrics })), statistics },
    output,
  );
}

const ORDER = [
  'mean',
  'std',
  'median',
  'mean80',
  'mean60',
  'min',
  'max',
] as const satisfies readonly (keyof MetricStatistics)[];

/** The run in a directory, or those in the directories below it (one for each seed). @throws CliError where there is none. */
async function findRuns(path: string): Promise<FoundRun[]> {
  const isDirectory = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isDirectory)
    throw new CliError(
      `${path}: there is no such directory; name the output_dir of a run, or the directory above its seeds`,
    );
  const own = await readRun(path);
  if (own) return [own];
  const below = (await readdir(path, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  const runs = await Promise.all(below.sort().map((name) => readRun(join(path, name))));
  const found = runs.filter((run) => run !== null);
  if (found.length > 0) return found;
  throw new CliError(
    `${path}: has no results (${RESULTS.join(', ')}), nor has a directory in it; was the run evaluated?`,
  );
}

async function readRun(directory: string): Promise<FoundRun | null> {
  for (const name of RESULTS) {
    const json = await readJson(join(directory, name));
    if (json === null) continue;
    const metrics = Object.fromEntries(
      Object.entries(json).filter((entry): entry is [string, number] => Number.isFinite(entry[1])),
    );
    return { directory, metrics, losses: await readLosses(join(directory, 'log.jsonl')) };
  }
  return null;
}

/** @throws CliError where the file is no JSON object. */
async function readJson(path: string): Promise<Record<string, unknown> | null> {
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new CliError(`${path}: is no JSON object; was it written to the end?`);
}

async function readLosses(path: string): Promise<[number, number][]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.split('\n').flatMap((line) => {
    try {
      const { step, loss } = JSON.parse(line) as { step?: unknown; loss?: unknown };
      return typeof step === 'number' && typeof loss === 'number' ? [[step, loss] as [number, number]] : [];
    } catch {
      return [];
    }
  });
}

const COLOURS = ['#1f77b4', '#ff7f0e', '#2ca02c', '#d62728', '#9467bd', '#8c564b', '#e377c2', '#17becf'];
const [WIDTH, HEIGHT] = [760, 320];
const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** Curves of loss over each other, and the table. */
function page(runs: readonly FoundRun[], statistics: Readonly<Record<string, MetricStatistics>>): string {
  const points = runs.flatMap(({ losses }) => losses);
  const lastStep = Math.max(1, ...points.map(([step]) => step));
  const [low, high] = [Math.min(...points.map(([, loss]) => loss)), Math.max(...points.map(([, loss]) => loss))];
  const place = ([step, loss]: readonly [number, number]) =>
    `${((step / lastStep) * WIDTH).toFixed(1)},${(HEIGHT - ((loss - low) / (high - low || 1)) * HEIGHT).toFixed(1)}`;
  const curves = runs.map(
    ({ losses }, n) =>
      `<polyline fill="none" stroke="${COLOURS[n % COLOURS.length]}" points="${losses.map(place).join(' ')}"/>`,
  );
  const legend = runs.map(
    ({ directory }, n) => `<li style="color:${COLOURS[n % COLOURS.length]}">${escaped(basename(directory))}</li>`,
  );
  const rows = Object.entries(statistics).map(
    ([name, s]) =>
      `<tr><td>${escaped(name)}</td><td>${s.n}</td>${ORDER.map((key) => `<td>${s[key].toFixed(4)}</td>`).join('')}</tr>`,
  );
  const range =
    points.length === 0
      ? '<p>No losses are logged.</p>'
      : `<p>Loss from ${low.toFixed(4)} to ${high.toFixed(4)} over ${lastStep} steps</p>`;
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Runs</title><style>body{font:14px system-ui;margin:2em}td,th{padding:.2em .8em;text-align:right}td:first-child{text-align:left}svg{border:1px solid #ccc}</style><h1>${runs.length} runs</h1>${range}<svg width="${WIDTH}" height="${HEIGHT}" role="img">${curves.join('')}</svg><ul>${legend.join('')}</ul><table><tr><th>metric</th><th>n</th>${ORDER.map((key) => `<th>${key}</th>`).join('')}</tr>${rows.join('')}</table></html>\n`;
}

const writeText = (path: string, text: string) => writeFileAtomically(path, (handle) => handle.writeFile(text));

export interface CompareFlags {
  readonly json?: string;
}

/** Settings that differ and results beside each other. @returns nothing; the differences are printed. */
export async function runCompare(a: string, b: string, flags: CompareFlags, output: Output): Promise<void> {
  await preparePath(flags.json);
  const [first, second] = await Promise.all([a, b].map(readSettings));
  const settings = differences(first!.settings, second!.settings);
  const results = differences(first!.metrics, second!.metrics);
  const print = (title: string, rows: readonly Difference[]) => {
    if (rows.length === 0) output.print(`${title}: alike`);
    else
      output.print(
        table(
          [title, a, b],
          rows.map(({ key, a, b }) => [key, shown(a), shown(b)]),
        ),
      );
  };
  print('settings', settings);
  print('results', results);
  await writeJson(
    flags.json,
    { a, b, alike: settings.length === 0 && results.length === 0, settings, results },
    output,
  );
}

interface Difference {
  readonly key: string;
  readonly a: unknown;
  readonly b: unknown;
}

/** Says where a run lies, and nothing of what it is. */
const PLACES = new Set(['train.output_dir', 'train.run_name', 'train.resume_from_checkpoint', 'run_name']);

async function readSettings(directory: string) {
  const run = await readJson(join(directory, RUN_FILE));
  if (run === null) throw new CliError(`${directory}: has no ${RUN_FILE}; name the output_dir of a run`);
  return { settings: flat(run), metrics: (await readRun(directory))?.metrics ?? {} };
}

/** `{train: {seed: 1}}` as `{'train.seed': 1}`. */
function flat(value: Readonly<Record<string, unknown>>, path = ''): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, one]) =>
      typeof one === 'object' && one !== null && !Array.isArray(one)
        ? Object.entries(flat(one as Record<string, unknown>, `${path}${key}.`))
        : [[`${path}${key}`, one] as const],
    ),
  );
}

function differences(a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>): Difference[] {
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((key) => !PLACES.has(key)).sort();
  return keys.flatMap((key) =>
    JSON.stringify(a[key]) === JSON.stringify(b[key]) ? [] : [{ key, a: a[key] ?? null, b: b[key] ?? null }],
  );
}

const shown = (value: unknown) =>
  typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? '-').slice(0, 40);
