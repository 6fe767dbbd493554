import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { fails, scratch, works } from '../../test/run-cli.js';

const at = scratch();
async function run(name: string, metrics: Record<string, number>, train: Record<string, unknown>): Promise<string> {
  const directory = at.path('runs', name);
  await mkdir(directory, { recursive: true });
  await writeFile(`${directory}/metrics.json`, JSON.stringify(metrics));
  await writeFile(
    `${directory}/spft_run.json`,
    JSON.stringify({ spft: '0', train: { output_dir: directory, ...train }, sparsity: null }),
  );
  await writeFile(
    `${directory}/log.jsonl`,
    '{"event":"log","step":1,"loss":2}\n{"event":"log","step":2,"loss":1}\n{"half',
  );
  return directory;
}

describe('spft analyze', () => {
  it('takes the seeds below a directory, and writes table, CSV, page and JSON', async () => {
    await run('42', { gsm8k: 0.5 }, { seed: 42 });
    await run('43', { gsm8k: 0.7, mawps: 0.9 }, { seed: 43 });
    const files = ['--csv', at.path('a.csv'), '--html', at.path('a.html'), '--json', at.path('a.json')];
    const { stdout } = await works(['analyze', at.path('runs'), ...files]);
    expect(stdout).toMatch(/gsm8k +│ +2 │ +0\.6000 │ +0\.1414/);
    expect(await readFile(at.path('a.csv'), 'utf8')).toContain('mawps,1,0.9,0,0.9');
    expect(await readFile(at.path('a.html'), 'utf8')).toContain('<polyline');
    expect(JSON.parse(await readFile(at.path('a.json'), 'utf8')).statistics.gsm8k).toMatchObject({ n: 2, mean: 0.6 });
    await mkdir(at.path('empty'), { recursive: true });
    expect(await fails(['analyze', at.path('empty')])).toContain('has no results (metrics.json');
    expect(await fails(['analyze', at.path('nowhere')])).toContain('there is no such directory');
  });
});

describe('spft compare', () => {
  it('says where settings and results differ, and that they are alike', async () => {
    const a = await run('a', { gsm8k: 0.5 }, { seed: 42, learning_rate: 1e-4 });
    const b = await run('b', { gsm8k: 0.6 }, { seed: 43, learning_rate: 1e-4 });
    const { stdout } = await works(['compare', a, b, '--json', at.path('c.json')]);
    expect(stdout).toMatch(/train\.seed +│ +42 │ +43/);
    expect(stdout).not.toContain('learning_rate');
    expect(JSON.parse(await readFile(at.path('c.json'), 'utf8'))).toMatchObject({
      alike: false,
      results: [{ key: 'gsm8k', a: 0.5, b: 0.6 }],
    });
    expect((await works(['compare', a, a])).stdout).toContain('settings: alike\nresults: alike');
    expect(await fails(['compare', a, at.path('empty')])).toContain('has no spft_run.json');
  });
});
