/**
 * @file A line chart as inline SVG: several series told apart by colour and by dash, ticks at round numbers, no script.
 */
import { assertKnownOptions } from '@spft/safetensors/internals';
import { coordinate, escapeHtml, short } from './html.js';

export type Point = readonly [x: number, y: number];

export interface Series {
  readonly name: string;
  /** Which of the palette's colours; series of one method share it. */
  readonly colour: number;
  readonly points: readonly Point[];
  /** Measured now and then: drawn dotted, with a mark at each point. */
  readonly marks?: boolean;
  /** Noisy: a smoothed line over a faint one. */
  readonly smooth?: boolean;
}

export interface ChartOptions {
  /** Unique in the page. */
  readonly id: string;
  /** Says what the y axis measures, too. */
  readonly title: string;
  /** Takes the whole width of the page. */
  readonly wide?: boolean;
  /** Begin the axis at 0. */
  readonly fromZero?: boolean;
}

/** Units are about pixels, so that text has one size in all charts. */
const SIZE = { wide: [1040, 360], half: [510, 260] } as const;
const MARGIN = { left: 52, right: 20, top: 12, bottom: 40 };
/** More points than a line of this width can show are averaged. */
const MAX_POINTS = 400;
/** Lines of fewer points are drawn as they are. */
const SMOOTH_FROM = 40;
/** Share of all points that the smoothed line averages around each. */
const SMOOTH_WINDOW = 0.05;

export function lineChart(given: readonly Series[], options: ChartOptions): string {
  assertKnownOptions('lineChart', options, { id: true, title: true, wide: true, fromZero: true });
  const { id, title, wide = false, fromZero = false } = options;
  const [width, height] = wide ? SIZE.wide : SIZE.half;
  const series = given
    .map((one) => ({ ...one, points: thin(one.points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y))) }))
    .filter(({ points }) => points.length > 0);
  if (series.length === 0) return '';
  const all = series.flatMap(({ points }) => points);
  const xs = all.map(([x]) => x);
  const ys = all.map(([, y]) => y);
  const x = axis(Math.min(...xs), Math.max(...xs), MARGIN.left, width - MARGIN.right, wide ? 10 : 6);
  const y = axis(fromZero ? 0 : Math.min(...ys), Math.max(...ys), height - MARGIN.bottom, MARGIN.top, 5);
  const grid = y.ticks.map((tick) => {
    const at = coordinate(y.place(tick));
    return (
      `<line class="grid" x1="${MARGIN.left}" x2="${width - MARGIN.right}" y1="${at}" y2="${at}"/>` +
      `<text class="tick" x="${MARGIN.left - 8}" y="${at}" dy="0.32em" text-anchor="end">${short(tick)}</text>`
    );
  });
  const below = x.ticks.map(
    (tick) =>
      `<text class="tick" x="${coordinate(x.place(tick))}" y="${height - MARGIN.bottom + 18}" text-anchor="middle">${short(tick)}</text>`,
  );
  const lines = series.map((one) => drawSeries(one, x.place, y.place));
  const summary = series
    .map(({ name, points }) => `${name} from ${short(points[0]![1])} to ${short(points.at(-1)![1])}`)
    .join('; ');
  return `<figure class="chart">
<figcaption><h3>${escapeHtml(title)}</h3>${legend(series)}</figcaption>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}-title ${id}-desc">
<title id="${id}-title">${escapeHtml(title)}</title><desc id="${id}-desc">${escapeHtml(summary)}</desc>
${grid.join('')}${below.join('')}
<text class="axis" x="${(MARGIN.left + width - MARGIN.right) / 2}" y="${height - 4}" text-anchor="middle">step</text>
${lines.join('\n')}
</svg>
</figure>`;
}

function drawSeries(
  { name, colour, points, marks, smooth }: Series,
  x: (value: number) => number,
  y: (value: number) => number,
): string {
  const path = (values: readonly Point[]) =>
    values.map(([px, py], n) => `${n === 0 ? 'M' : 'L'}${coordinate(x(px))} ${coordinate(y(py))}`).join('');
  const look = `c${colour % PALETTE_SIZE}`;
  const parts: string[] = [];
  if (smooth && points.length >= SMOOTH_FROM) {
    parts.push(`<path class="line faint ${look}" d="${path(points)}"/>`);
    parts.push(`<path class="line ${look}" d="${path(smoothed(points))}"/>`);
  } else if (points.length > 1) {
    parts.push(`<path class="line ${marks ? 'dotted ' : ''}${look}" d="${path(points)}"/>`);
  }
  if (marks || points.length === 1) {
    for (const [px, py] of points) {
      parts.push(
        `<circle class="mark ${look}" cx="${coordinate(x(px))}" cy="${coordinate(y(py))}" r="4">` +
          `<title>${escapeHtml(name)}, step ${short(px)}: ${short(py)}</title></circle>`,
      );
    }
  }
  return parts.join('');
}

/** Colours (and dashes) that the style sheet has. */
export const PALETTE_SIZE = 6;

function legend(series: readonly Series[]): string {
  const items = series.map(
    ({ name, colour, marks }) =>
      `<li><svg class="swatch" viewBox="0 0 28 10" aria-hidden="true"><path class="line ${marks ? 'dotted ' : ''}c${colour % PALETTE_SIZE}" d="M1 5H27"/></svg>${escapeHtml(name)}</li>`,
  );
  return `<ul class="legend">${items.join('')}</ul>`;
}

function axis(low: number, high: number, from: number, to: number, wanted: number) {
  const pad = high > low ? 0 : Math.abs(high) * 0.1 || 1;
  const [min, max] = [low - pad, high + pad];
  const ticks = roundTicks(min, max, wanted);
  const [first, last] = [Math.min(min, ticks[0] ?? min), Math.max(max, ticks.at(-1) ?? max)];
  return { ticks, place: (value: number) => from + ((value - first) / (last - first)) * (to - from) };
}

/** Multiples of 1, 2 or 5 times a power of ten within [min, max], about `wanted` of them. */
export function roundTicks(min: number, max: number, wanted: number): number[] {
  const rough = (max - min) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((multiple) => multiple * power >= rough * 0.75) ?? 10);
  const ticks: number[] = [];
  for (let n = Math.ceil(min / step - 1e-9); n * step <= max + step * 1e-9; n++) {
    ticks.push(Number((n * step).toPrecision(12)));
  }
  return ticks;
}

/** At most MAX_POINTS points, each the mean of its neighbours. */
function thin(points: readonly Point[]): readonly Point[] {
  if (points.length <= MAX_POINTS) return points;
  return Array.from({ length: MAX_POINTS }, (_, n): Point => {
    const from = Math.floor((n * points.length) / MAX_POINTS);
    const group = points.slice(from, Math.floor(((n + 1) * points.length) / MAX_POINTS));
    const mean = (part: 0 | 1) => group.reduce((sum, point) => sum + point[part], 0) / group.length;
    return [mean(0), mean(1)];
  });
}

/** Centred moving average; the window shrinks at both ends, so that the line neither lags nor stops short. */
function smoothed(points: readonly Point[]): Point[] {
  const reach = Math.max(2, Math.round((points.length * SMOOTH_WINDOW) / 2));
  return points.map(([x], n): Point => {
    const around = Math.min(reach, n, points.length - 1 - n);
    const window = points.slice(n - around, n + around + 1);
    return [x, window.reduce((sum, [, y]) => sum + y, 0) / window.length];
  });
}
