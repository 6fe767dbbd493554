import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { blasMissing, blasTitle } from '../../../test/support/backends.js';

const program = fileURLToPath(new URL('../conformance/main.mjs', import.meta.url));

function conformance(...flags: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [program, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text) => {
        output += text;
      });
    }
    child.on('close', (code) => resolve({ code, output }));
  });
}

describe.skipIf(blasMissing())(blasTitle("tfjs-core's own tests"), { timeout: 300_000 }, () => {
  it('pass on blas wherever they pass on cpu', async () => {
    const { code, output } = await conformance();
    expect(output).toMatch(/^\d{4} passed, 0 failed$/m);
    expect(output).toContain('left out for a reason: 2\n');
    expect(code).toBe(0);
  });

  it('notice a kernel that is wrong in one number', async () => {
    const { code, output } = await conformance('--broken', 'BatchMatMul');
    expect(output).toMatch(/^FAILED matmul /m);
    expect(output).toMatch(/^\d{4} passed, [1-9]\d* failed$/m);
    expect(code).toBe(1);
  });
});
