/**
 * @file The table's times as a bar chart (SVG), drawn from a result of this bench: `node bench/dist/bench/cuda/chart.js bench/results/h200.json`
 * writes what docs/images/h200.svg must be. Rows of one shape only, so that lengths may be compared.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { RowResult } from './measure.js';
import type { GpuResult } from './table.js';

/** The bars, top to bottom: rows of 8 × 512 tokens of Llama-3-8B's shape. */
const BARS: readonly (readonly [row: string, title: string])[] = [
  ['torch_hf', 'PyTorch + transformers + PEFT, LoRA'],
  ['torch_liger', 'PyTorch + PEFT + Liger, LoRA'],
  ['dense_lora', 'spft, LoRA'],
  ['dense_lora_fp8', 'spft, LoRA, FP8 base'],
  ['sparselora_csr', 'spft, SparseLoRA csr'],
  ['sparselora_csr_fp8', 'spft, SparseLoRA csr, FP8 base'],
  ['sparselora_math10k', 'spft, SparseLoRA math10k'],
  ['sparselora_math10k_fp8', 'spft, SparseLoRA math10k, FP8 base'],
];

const ROW = 34;
const LEFT = 268;
const WIDTH = 760;
const ROOM = WIDTH - LEFT - 74;
const TOP = 46;

/** Colours that stand on light and on dark pages. */
const COLOURS = { peer: '#8a909a', dense: '#3f7fd9', sparse: '#d9762b', ink: '#7b828c' } as const;

/** @returns a whole SVG file; rows that the result lacks are left out. */
export function gpuChart({ rows, device }: Pick<GpuResult, 'rows' | 'device'>): string {
  const bars = BARS.flatMap(([name, title]) => {
    const row = rows.find((candidate) => candidate.name === name);
    return row ? [{ name, title, row }] : [];
  });
  const longest = Math.max(...bars.map(({ row }) => row.msPerStep));
  const height = TOP + ROW * bars.length + 12;
  const body = bars.map(({ name, title, row }, n) => bar(name, title, row, TOP + ROW * n, longest));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Milliseconds a training step">`,
    '<style>text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}.n{font-variant-numeric:tabular-nums;font-weight:600}</style>',
    `<text x="0" y="18" fill="${COLOURS.ink}">Milliseconds a training step, Llama-3-8B's shape, 8 × 512 tokens, one ${device.replace(/[<&]/g, '')}; shorter is better</text>`,
    ...body,
    '</svg>',
    '',
  ].join('\n');
}

function bar(name: string, title: string, { msPerStep }: RowResult, y: number, longest: number): string {
  const colour = name.startsWith('torch') ? COLOURS.peer : name.startsWith('sparse') ? COLOURS.sparse : COLOURS.dense;
  const width = ((ROOM * msPerStep) / longest).toFixed(1);
  const middle = y + ROW / 2;
  return (
    `<text x="${LEFT - 10}" y="${middle}" dy="0.32em" text-anchor="end" fill="${COLOURS.ink}">${title}</text>` +
    `<rect x="${LEFT}" y="${y + 5}" width="${width}" height="${ROW - 10}" rx="4" fill="${colour}"/>` +
    `<text class="n" x="${LEFT + Number(width) + 8}" y="${middle}" dy="0.32em" fill="${COLOURS.ink}">${msPerStep.toFixed(1)}</text>`
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(gpuChart(JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as GpuResult));
}
