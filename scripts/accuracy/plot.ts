/** @file The plot of docs/ACCURACY.md: accuracy and held-out loss against FLOPs, and accuracy against the time of a step; a row of panels a task. */
import { halfInterval, type ResultRow } from './merge.js';

/** What a point's look says: who chooses channels, or that nothing is sparse. */
interface Series {
  readonly name: string;
  readonly colour: string;
  readonly shape: 'circle' | 'square' | 'diamond';
  /** Joined by a line, in the order of their FLOPs. */
  readonly isLine: boolean;
  readonly holds: (row: ResultRow) => boolean;
}

const planned = (row: ResultRow, estimator: string) =>
  /^SparseLoRA, planned(, \d+ %)?$/.test(row.method) && row.estimator === estimator;

const SERIES: readonly Series[] = [
  {
    ...{ name: 'LoRA, all steps and fewer', colour: '#1f5fbf', shape: 'circle', isLine: true },
    holds: ({ method }) => /^LoRA(, \d+ % of the steps)?$/.test(method),
  },
  {
    ...{ name: 'LoRA, 12 rows a step', colour: '#6fb1e8', shape: 'circle', isLine: false },
    holds: ({ method }) => method.startsWith('LoRA, 12 rows a step'),
  },
  {
    ...{ name: 'SparseLoRA, planned, calibrated_8', colour: '#c8501e', shape: 'square', isLine: true },
    holds: (row) => planned(row, 'calibrated_8'),
  },
  {
    ...{ name: 'planned, svd_8', colour: '#2d8a4e', shape: 'diamond', isLine: false },
    holds: (row) => planned(row, 'svd_8'),
  },
  {
    ...{ name: 'planned, random', colour: '#888888', shape: 'diamond', isLine: false },
    holds: (row) => planned(row, 'random'),
  },
  {
    ...{ name: 'DoRA', colour: '#1f5fbf', shape: 'diamond', isLine: false },
    holds: ({ method }) => method === 'DoRA',
  },
  {
    ...{ name: 'as the paper, svd_8', colour: '#7a3fa0', shape: 'square', isLine: false },
    holds: ({ method }) => method === 'SparseLoRA as the paper',
  },
];

interface Axis {
  readonly label: string;
  readonly of: (row: ResultRow) => number;
  /** Half of the 95 % interval, where there is one. */
  readonly half?: (row: ResultRow) => number | null;
  /** Behind the point, of a value that is told at a panel's edge. */
  readonly digits: number;
}

const ACCURACY: Axis = {
  ...{ label: 'accuracy, %', of: (row) => 100 * row.mean, digits: 0 },
  half: ({ halfInterval: half }) => (half === null ? null : 100 * half),
};
const LOSS: Axis = {
  ...{ label: 'held-out loss', of: (row) => row.denseHeldOutLoss ?? Number.NaN, digits: 3 },
  half: (row) => halfInterval(row.denseHeldOutLosses),
};
const FLOPS: Axis = { label: 'FLOPs of the run, % of LoRA', of: (row) => 100 * row.flopsShare, digits: 0 };

const TITLES: Readonly<Record<string, string>> = { math: 'math', csr: 'commonsense' };
const [WIDTH, HEIGHT] = [320, 270];

/**
 * Panels of both tasks.
 * @param milliseconds a step takes by itself, by row; NaN where that was not measured.
 */
export function plotOf(
  rows: readonly ResultRow[],
  milliseconds: (row: ResultRow) => number = () => Number.NaN,
): string {
  const time: Axis = { label: 'milliseconds a step, alone on the GPU', of: milliseconds, digits: 1 };
  // Where no times are known there is no room for them either.
  const isTimed = rows.some((row) => Number.isFinite(milliseconds(row)));
  const panels: string[] = [];
  for (const [n, task] of Object.keys(TITLES).entries()) {
    const shown = rows.filter((row) => row.task === task && row.steps > 0);
    const of = [[FLOPS, ACCURACY], [FLOPS, LOSS], ...(isTimed ? [[time, ACCURACY] as const] : [])] as const;
    for (const [m, [x, y]] of of.entries())
      panels.push(panel(shown, x, y, TITLES[task]!, m * WIDTH, n * HEIGHT, x !== time));
  }
  const columns = isTimed ? 3 : 2;
  const across = columns;
  const legend = SERIES.map(({ name, colour, shape }, n) => {
    const [left, top] = [20 + (n % across) * 300, 2 * HEIGHT + 16 + Math.floor(n / across) * 20];
    return `${mark(shape, left, top, colour)}<text x="${left + 10}" y="${top + 4}">${name}</text>`;
  });
  const [width, height] = [columns * WIDTH, 2 * HEIGHT + 16 + 20 * Math.ceil(SERIES.length / across)];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11" role="img" aria-label="Accuracy and held-out loss against arithmetic and time of a step">
<rect width="${width}" height="${height}" fill="#fff"/>${panels.join('')}${legend.join('')}</svg>\n`;
}

/** Where an axis begins and ends, with room round the values. */
function range(values: readonly number[]): readonly [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = Math.max(1e-3 * Math.abs(high), (high - low) * 0.08);
  return [low - margin, high + margin];
}

/** Times the median distance from the median, beyond which a point is shown at the panel's edge with its value: it would make the others one. */
const FAR = 8;

function isNear(values: readonly number[]): (point: { readonly y: number }) => boolean {
  const middle = median(values)!;
  const most = FAR * median(values.map((value) => Math.abs(value - middle)))!;
  return ({ y }) => Math.abs(y - middle) <= most;
}

function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function stepWithin(low: number, high: number): number {
  const power = 10 ** Math.floor(Math.log10((high - low) / 4));
  return [5, 2, 1].map((n) => n * power).find((one) => (high - low) / one >= 4)!;
}

/** Behind the point, so that no two ticks read alike. */
const digitsOf = (low: number, high: number) => Math.max(0, -Math.floor(Math.log10(stepWithin(low, high)) + 1e-9));

/** Round values between two, four to eight of them. */
function ticksWithin(low: number, high: number): number[] {
  const step = stepWithin(low, high);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, n) => (first + n) * step);
}

function mark(shape: Series['shape'], x: number, y: number, colour: string): string {
  if (shape === 'circle') return `<circle cx="${x}" cy="${y}" r="4" fill="${colour}"/>`;
  if (shape === 'square') return `<rect x="${x - 4}" y="${y - 4}" width="8" height="8" fill="${colour}"/>`;
  return `<path d="M${x} ${y - 5}L${x + 5} ${y}L${x} ${y + 5}L${x - 5} ${y}Z" fill="${colour}"/>`;
}

function panel(
  rows: readonly ResultRow[],
  x: Axis,
  y: Axis,
  title: string,
  left: number,
  top: number,
  hasLines: boolean,
): string {
  const points = SERIES.flatMap((series) =>
    rows
      .filter(series.holds)
      .map((row) => ({ series, x: x.of(row), y: y.of(row), half: y.half?.(row) ?? 0 }))
      .filter((point) => Number.isFinite(point.x + point.y)),
  );
  if (points.length === 0) return '';
  const framed = points.filter(isNear(points.map((one) => one.y)));
  const [x0, x1] = range(points.map((one) => one.x));
  const [y0, y1] = range(framed.flatMap((one) => [one.y - one.half, one.y + one.half]));
  const within = (value: number) => Math.max(y0, Math.min(y1, value));
  const X = (value: number) => Number((left + 46 + ((WIDTH - 66) * (value - x0)) / (x1 - x0)).toFixed(1));
  const Y = (value: number) => Number((top + 215 - (180 * (within(value) - y0)) / (y1 - y0)).toFixed(1));
  const lines = SERIES.filter(({ isLine }) => isLine && hasLines).map((series) => {
    const path = points.filter((one) => one.series === series).sort((a, b) => a.x - b.x);
    if (path.length < 2) return '';
    return `<path d="M${path.map((one) => `${X(one.x)} ${Y(one.y)}`).join('L')}" fill="none" stroke="${series.colour}"/>`;
  });
  const marks = points.map(({ series: { shape, colour }, ...one }) => {
    const bar = `<path d="M${X(one.x)} ${Y(one.y - one.half)}V${Y(one.y + one.half)}" stroke="${colour}" stroke-opacity="0.5"/>`;
    const isOutside = one.y !== within(one.y);
    const value = `<text x="${X(one.x) + 8}" y="${Y(one.y) + (one.y > y1 ? 12 : -4)}" fill="${colour}">${one.y > y1 ? '↑' : '↓'} ${one.y.toFixed(Math.max(1, y.digits))}</text>`;
    return (one.half > 0 && !isOutside ? bar : '') + mark(shape, X(one.x), Y(one.y), colour) + (isOutside ? value : '');
  });
  const ticks = [
    ...ticksWithin(x0, x1).map(
      (at) => `<text x="${X(at)}" y="${top + 233}" text-anchor="middle">${at.toFixed(digitsOf(x0, x1))}</text>`,
    ),
    ...ticksWithin(y0, y1).map(
      (at) =>
        `<path d="M${left + 46} ${Y(at)}H${left + WIDTH - 14}" stroke="#ddd"/><text x="${left + 42}" y="${Y(at) + 4}" text-anchor="end">${at.toFixed(digitsOf(y0, y1))}</text>`,
    ),
  ];
  return `<g><text x="${left + 46}" y="${top + 20}" font-weight="bold">${title}: ${y.label}</text>
<path d="M${left + 46} ${top + 30}V${top + 217}H${left + WIDTH - 14}" fill="none" stroke="#444"/>${ticks.join('')}
<text x="${left + WIDTH / 2 + 15}" y="${top + 250}" text-anchor="middle">${x.label}</text>${lines.join('')}${marks.join('')}</g>`;
}
