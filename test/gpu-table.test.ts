/** @file The README's table and chart of GPU numbers are those that their result gives. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { gpuChart } from '../bench/cuda/chart.js';
import { GENERATIONS } from '../bench/cuda/generation.js';
import { PEER_MODES } from '../bench/cuda/peer.js';
import { ROWS } from '../bench/cuda/rows.js';
import { type GpuResult, gpuTable, TITLES } from '../bench/cuda/table.js';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

it("shows in the README's table what bench/results/h200.json holds", () => {
  const result = JSON.parse(read('bench/results/h200.json')) as GpuResult;
  expect(read('README.md')).toContain(gpuTable(result));
});

it('draws the chart from it, too', () => {
  const result = JSON.parse(read('bench/results/h200.json')) as GpuResult;
  expect(read('docs/images/h200.svg')).toBe(gpuChart(result));
  expect(read('README.md')).toContain('docs/images/h200.svg');
});

it('has a title for each row that the bench can write, and for no other', () => {
  const ours = [...ROWS, ...GENERATIONS].map(({ name }) => name);
  const peers = PEER_MODES.map((mode) => `torch_${mode}`);
  expect(Object.keys(TITLES).sort()).toEqual([...ours, ...peers].sort());
});
