import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { BASE, fails, scratch, works } from '../../test/run-cli.js';

const at = scratch();
const evaluate = (...more: string[]) => [
  'eval',
  '--model',
  BASE,
  '--dataset',
  at.test,
  '--max_new_tokens',
  '8',
  ...more,
];

describe('spft eval', () => {
  it('prints accuracy by set, and writes summary and predictions', async () => {
    const { stdout } = await works(
      evaluate('--json', at.path('sub', 'e.json'), '--predictions', at.path('sub', 'p.jsonl'), '--limit', '3'),
    );
    expect(stdout).toMatch(/│ test │ +[\d.]+ % +│ +\d of 3 │/);
    const summary = JSON.parse(await readFile(at.path('sub', 'e.json'), 'utf8'));
    expect(summary).toMatchObject({ command: 'eval', adapter: null, backend: 'wasm', template: 'sparselora' });
    expect(summary.evaluations).toMatchObject([{ set: 'test', total: 3 }]);
    const lines = (await readFile(at.path('sub', 'p.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toHaveLength(3);
    expect(lines[0].prompt).toContain('### Instruction:');
    expect(lines.filter(({ correct }) => correct)).toHaveLength(summary.evaluations[0].correct);
  });

  it('joins sets, and takes the kind of a file from its name', async () => {
    const { stdout } = await works([...evaluate('--limit', '1'), '--dataset', `${at.test}+mawps=${at.test}`]);
    expect(stdout).toMatch(/│ mawps │/);
    expect(stdout).toMatch(/│ mean {2}│/);
  });

  it('uses the template that the adapter was trained with', async () => {
    const train = ['train', '--model', BASE, '--dataset', at.train, '--output_dir', at.path('plain'), '--lora_r', '2'];
    await works([...train, '--max_steps', '1', '--per_device_train_batch_size', '1', '--template', 'plain']);
    const { stdout } = await works(evaluate('--adapter', at.path('plain'), '--limit', '1', '--json', '-', '--quiet'));
    expect(JSON.parse(stdout.slice(stdout.indexOf('{'))).template).toBe('plain');
  });

  it('reads the questions as a sparse step does where a sparsity file is given', async () => {
    const env = { SPFT_PREDICTORS: at.path('predictors') };
    const layers = [0, 1, 2, 3].map((n) => `  layers.${n}.mlp: 0.97`).join('\n');
    await writeFile(
      at.path('calibrated.yaml'),
      `mode: calibrated_4\nskip_output_tokens: true\nskip_tail_tokens: 4\nsparsity:\n${layers}\n`,
    );
    const few = ['--limit', '2', '--predictions', at.path('sparse.jsonl'), '--sparsity', at.path('calibrated.yaml')];
    expect(await fails(evaluate(...few), { env })).toMatch(/calibrat/);
    const sparsely = evaluate(...few, '--calibration', at.train, '--json', at.path('sparse.json'));
    expect((await works(sparsely, { env })).stderr).toMatch(/channels kept/);
    expect(JSON.parse(await readFile(at.path('sparse.json'), 'utf8')).sparsity).toBe(at.path('calibrated.yaml'));
    await works(evaluate('--limit', '2', '--predictions', at.path('dense.jsonl')));
    const [sparse, dense] = await Promise.all(
      ['sparse', 'dense'].map((name) => readFile(at.path(`${name}.jsonl`), 'utf8')),
    );
    expect(sparse).not.toBe(dense);
    expect(await fails(evaluate('--calibration', at.train))).toContain('give --sparsity FILE');
  });

  it('says which set, file, line or adapter is wrong', async () => {
    expect(await fails([...evaluate(), '--dataset', 'gsm9k'])).toContain(
      "no evaluation set 'gsm9k'; did you mean 'gsm8k'?",
    );
    expect(await fails([...evaluate(), '--dataset', at.path('none.json')])).toContain(
      'none.json: there is no such file',
    );
    await writeFile(at.path('rows.jsonl'), '{"instruction":"1+1","output":"2","answer":"2"}\n{"instruction":"2+2"}\n');
    const rows = [...evaluate(), '--dataset', at.path('rows.jsonl')];
    expect(await fails(rows)).toMatch(/rows\.jsonl:2: lacks 'answer'.*--skip-bad-rows/);
    expect((await works([...rows, '--skip-bad-rows'])).stderr).toMatch(/warning: 1 rows were skipped; .*rows\.jsonl:2/);
    expect(await fails(evaluate('--adapter', BASE))).toContain(
      'adapter_config.json: there is no such file; name the directory of an adapter',
    );
  });
});
