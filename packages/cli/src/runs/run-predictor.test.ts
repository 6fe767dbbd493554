import { readFile, stat, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { BASE, fails, scratch, works } from '../../test/run-cli.js';

const at = scratch();
const build = (...more: string[]) => ['predictor', 'build', '--model', BASE, ...more];

describe('spft predictor build', () => {
  it('builds what a sparsity file needs, then the rest, and keeps what is there', async () => {
    const out = ['--out', at.path('predictors')];
    const first = await works(build('--sparsity', at.sparsity, ...out));
    expect(first.stderr).toContain('predictors of mode svd_8: 7 built, 0 were there');
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

  it('fits predictors to data, which the directory names, and keeps what is there', async () => {
    const out = ['--out', at.path('calibrated')];
    const asked = build('--calibration', at.train, '--mode', 'calibrated_4_static', ...out);
    expect((await works(asked)).stderr).toContain('predictors of mode calibrated_4_static: 20 built, 0 were there');
    const config = JSON.parse(await readFile(at.path('calibrated', 'config.json'), 'utf8'));
    expect(config).toMatchObject({ predictor_rank: 4, predictor_mode: 'calibrated_4_static' });
    expect(config.calibration_tokens).toBeGreaterThan(100);
    expect(config.calibration_data).toMatch(/^[0-9a-f]{8}$/);
    expect((await works(asked)).stderr).toContain('0 built, 20 were there');
    expect(await fails(build('--mode', 'svd_4', ...out))).toContain('found those of mode calibrated_4_static');
  });

  it('takes predictors that were fitted to other data, and says so', async () => {
    const place = ['--out', at.path('given', 'base', 'calibrated_4')];
    await works(build('--calibration', at.train, '--mode', 'calibrated_4', ...place));
    await writeFile(
      at.path('four.yaml'),
      'mode: calibrated_4\nskip_output_tokens: true\nsparsity:\n  layers.1.mlp: 0.9\n',
    );
    const train = (data: string) => [
      ...['train', '--model', BASE, '--dataset', data, '--output_dir', at.path('fitted'), '--max_steps', '1'],
      ...['--sparsity', at.path('four.yaml'), '--spft_predictor_basepath', at.path('given'), '--overwrite_output_dir'],
    ];
    const message = 'were fitted to other data than this run';
    expect((await works(train(at.train))).stderr).not.toContain(message);
    expect((await works(train(at.test))).stderr).toContain(message);
  });

  it('says what is wrong with data to fit to', async () => {
    expect(await fails(build('--mode', 'calibrated_8'))).toContain('give --calibration FILE');
    expect(await fails(build('--mode', 'svd_8', '--calibration', at.train))).toContain('from the weights alone');
    expect(await fails(build('--mode', 'oracle_l2norm'))).toContain('needs no predictors');
    await writeFile(at.path('none.json'), '[]');
    expect(await fails(build('--calibration', at.path('none.json')))).toMatch(/none\.json/);
    await writeFile(at.path('odd.json'), '[{"question": 1}]');
    expect(await fails(build('--calibration', at.path('odd.json')))).toMatch(/odd\.json/);
    await writeFile(at.path('short.json'), '[{"instruction": "a", "output": "b"}]');
    const tooFew = ['--calibration', at.path('short.json'), '--mode', 'calibrated_60', '--template', 'none'];
    expect(await fails(build(...tooFew))).toContain('too few for predictors of rank 60');
  });
});
