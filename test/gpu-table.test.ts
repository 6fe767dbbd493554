/** @file The README's table of GPU numbers is the one that its result gives. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { type GpuResult, gpuTable } from '../bench/cuda/table.js';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

it("shows in the README's table what bench/results/h200.json holds", () => {
  const result = JSON.parse(read('bench/results/h200.json')) as GpuResult;
  expect(read('README.md')).toContain(gpuTable(result));
});
