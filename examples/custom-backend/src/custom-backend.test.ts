/** @file The example's backend passes the conformance suite, and the example says what its README says. */
import { readFileSync } from 'node:fs';
import { describeConformance } from '@spft/sparse-ops/conformance';
import { describe, expect, it } from 'vitest';
import { BACKEND_NAME, registerMyBackend } from './backend.js';
import { run } from './custom-backend.js';

registerMyBackend();

describe('custom-backend', () => {
  describeConformance({ backend: BACKEND_NAME, describe, it });

  it('says what its README says', async () => {
    const lines: string[] = [];
    await run((line) => lines.push(line));
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    expect(readme).toContain(lines.join('\n'));
    expect(lines.at(-1)).toBe('as the composition: true; its gradient: true');
  });
});
