/** @file Bars beside each other as an SVG file of its own: a name, a length, an interval, a text. For light and dark pages, without script. */
import { coordinate, escapeHtml } from './html.js';

export interface Bar {
  readonly name: string;
  /** Null where there is none: the text says why. */
  readonly value: number | null;
  /** Drawn as a line across the end of the bar. */
  readonly interval?: readonly [low: number, high: number];
  /** Stands behind the bar. */
  readonly text: string;
  /** Which of the colours. */
  readonly colour: number;
}

const ROW = 34;
const WIDTH = 760;
const TOP = 46;
/** Pixels of a character, about: names and texts have to find room. */
const CHARACTER = 7.2;
/** Colours that stand on light and on dark pages. */
const COLOURS = ['#3f7fd9', '#d9762b', '#2f9e78', '#b8477d', '#8a5fd0', '#8a909a'] as const;
const INK = '#7b828c';

/** @returns a whole SVG file. */
export function barChart(bars: readonly Bar[], title: string): string {
  const left = 16 + CHARACTER * Math.max(...bars.map(({ name }) => name.length));
  const room = WIDTH - left - 16 - CHARACTER * Math.max(...bars.map(({ text }) => text.length));
  const longest = Math.max(...bars.map(({ value, interval }) => Math.max(value ?? 0, interval?.[1] ?? 0))) || 1;
  const height = TOP + ROW * bars.length + 12;
  const place = (value: number) => coordinate(left + (room * value) / longest);
  const rows = bars.map(({ name, value, interval, text, colour }, n) => {
    const [top, middle] = [TOP + ROW * n, TOP + ROW * n + ROW / 2];
    const end = coordinate(left + (room * Math.max(value ?? 0, interval?.[1] ?? 0)) / longest + 8);
    return [
      `<text x="${coordinate(left - 10)}" y="${middle}" dy="0.32em" text-anchor="end" fill="${INK}">${escapeHtml(name)}</text>`,
      value === null
        ? ''
        : `<rect x="${coordinate(left)}" y="${top + 5}" width="${coordinate((room * value) / longest)}" height="${ROW - 10}" rx="4" fill="${COLOURS[colour % COLOURS.length]}"/>`,
      interval
        ? `<path d="M${place(interval[0])} ${middle}H${place(interval[1])}M${place(interval[0])} ${middle - 5}v10M${place(interval[1])} ${middle - 5}v10" stroke="${INK}" stroke-width="1.5" fill="none"/>`
        : '',
      `<text class="n" x="${end}" y="${middle}" dy="0.32em" fill="${INK}">${escapeHtml(text)}</text>`,
    ].join('');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escapeHtml(title)}">`,
    '<style>text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}.n{font-variant-numeric:tabular-nums;font-weight:600}</style>',
    `<text x="0" y="18" fill="${INK}">${escapeHtml(title)}</text>`,
    ...rows,
    '</svg>',
    '',
  ].join('\n');
}
