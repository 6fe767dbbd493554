import { readFile, stat } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { BASE, fails, scratch, works } from '../../test/run-cli.js';

const at = scratch();
const build = (...more: string[]) => ['predictor', 'build', '--model', BASE, ...more];

describe('spft predictor build', () => {
  it('builds what a sparsity file needs, then the rest, and keeps what is there', async () => {
    const out = ['--out', at.path('predictors')];
    const first = await works(build('--sparsity', at.sparsity, ...out));
    expect(first.stderr).toContain('predictors of rank 8: 7 built, 0 were there');
    expect(first.stdout).toMatch(/predictors: [\d.]+ KiB\n$/);
    const rest = await works(build('--rank', '8', ...out, '--json', '-', '--quiet'));
    const summary = JSON.parse(rest.stdout.slice(rest.stdout.indexOf('{')));
    expect(summary).toMatchObject({ rank: 8, built: 13, reused: 7 });
    expect(summary.bytes).toBe((await stat(at.path('predictors', 'model.safetensors'))).size);
    expect((await works(build(...out))).stderr).toContain('0 built, 20 were there');
    expect(JSON.parse(await readFile(at.path('predictors', 'config.json'), 'utf8'))).toEqual({ predictor_rank: 8 });
  });

  it('says what it cannot do', async () => {
    expect(await fails(build('--rank', '8', '--sparsity', at.sparsity))).toContain('give one');
    expect(await fails(build('--rank', '4096', '--out', at.path('high')))).toMatch(/rank/);
    expect(await fails(build('--rank', '8', '--out', BASE))).toMatch(/base/);
    expect((await stat(`${BASE}/model.safetensors`)).size).toBe(5905792);
  });
});
