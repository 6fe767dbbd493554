import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const bin = fileURLToPath(new URL('../bin/spft.js', import.meta.url));
const program = fileURLToPath(new URL('../dist/bin.js', import.meta.url));
const run = (...argv: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...argv], { encoding: 'utf8' });
  return { status, stdout, stderr };
};

describe.skipIf(!existsSync(program))('the built command (needs npm run build)', () => {
  it('prints its version', () => {
    expect(run('--version')).toEqual({ status: 0, stdout: '0.0.0\n', stderr: '' });
  });

  it('exits 1 with one line for what it does not know', () => {
    const { status, stdout, stderr } = run('generate', '--model', '/no/such/model', '--prompt', 'x', '--quiet');
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(/^error: \/no\/such\/model: there is no such directory.*\n$/);
  });
});
