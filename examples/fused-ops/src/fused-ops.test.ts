/** @file The example says what its README says. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { run } from './fused-ops.js';

it('fused-ops says what its README says', async () => {
  const lines: string[] = [];
  await run((line) => lines.push(line));
  expect(lines[1]).toMatch(/: true$/);
  expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(lines.join('\n'));
});
