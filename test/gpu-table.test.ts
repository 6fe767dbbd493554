/** @file The README's table and chart of GPU numbers are those that their result gives. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { gpuChart } from '../bench/cuda/chart.js';
import { type GpuResult, gpuTable } from '../bench/cuda/table.js';

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
