import { existsSync } from 'node:fs';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SpftConfig } from '@spft/config';
import type { PlanBudget, Stopwatch } from '@spft/trainer';
import { describe, expect, it } from 'vitest';
import { BASE, fails, scratch, works } from '../../test/run-cli.js';
import type { CliIo } from '../terminal/io.js';
import { Output } from '../terminal/output.js';
import { runPlan } from './run-plan.js';

const at = scratch();
const plan = (...more: string[]) => [
  ...['sparsity', 'plan', '--model', BASE, '--dataset', at.train, '--samples', '4', '--levels', '0.5,0.9'],
  ...['--tails', '4,8', ...more],
];

describe('spft sparsity plan', () => {
  it('writes a file that a run takes, with the numbers, and the map; a second budget measures little', {
    timeout: 240_000,
  }, async () => {
    const env = { XDG_CACHE_HOME: at.path('cache') };
    const first = await works(plan('--flops', '0.8', '--out', at.path('plan.yaml'), '--json', at.path('plan.json')), {
      env,
    });
    const text = await readFile(at.path('plan.yaml'), 'utf8');
    const config = SpftConfig.fromText(text, 'plan.yaml');
    expect(config).toMatchObject({ mode: 'calibrated_8', skipOutputTokens: true, channelMultiple: 8 });
    expect(config.plannedFor).toMatch(/^[0-9a-f]{12}$/);
    expect(Object.keys(config.sparsity)).toHaveLength(8);
    expect(text).toMatch(/layers\.1\.mlp: [\d.]+ {2}# 0\.5: [+−]\d/);
    const numbers = JSON.parse(await readFile(at.path('plan.json'), 'utf8'));
    expect(numbers.flops).toBeLessThanOrEqual(0.8);
    // What the modules save adds up to what the plan saves: the count of the whole is within a hair of the budget's solution.
    expect(numbers.flops).toBeGreaterThan(0.5);
    expect(numbers.loss).toBeGreaterThan(0);
    const page = await readFile(at.path('plan.html'), 'utf8');
    expect(page).toContain('class="chosen"');
    expect(page.match(/<tr><th scope="row">/g)).toHaveLength(4 + 2 + 2);
    expect(first.stderr).not.toContain('measurements were there');
    // This machine's times, whatever they are.
    expect(text).toMatch(
      /of a dense one's FLOPs and [\d.]+ % of its time \(measured as a whole; [\d.]+ % predicted by/,
    );
    expect(text).toMatch(/# Time of a layer .*: mlp 0\.5: [\d.]+, 0\.9: [\d.]+; self_attn 0\.5: /);
    expect(numbers.time).toBeGreaterThan(0);
    expect(Object.keys(numbers.layerTimes)).toEqual(['mlp', 'self_attn']);
    expect(page).toContain('<h2>Time of a layer</h2>');

    const second = await works(plan('--max_loss', '0.2', '--out', at.path('second.yaml')), { env });
    expect(second.stderr).toMatch(/plan: .*; \d+ measurements were there/);
    // Nor are times measured again: they are the same.
    const layerTimes = (text: string) => /# Time of a layer .*/.exec(text)![0];
    expect(layerTimes(await readFile(at.path('second.yaml'), 'utf8'))).toBe(layerTimes(text));
    const train = ['train', '--model', BASE, '--dataset', at.train, '--output_dir', at.path('run'), '--max_steps', '2'];
    const run = await works([...train, '--sparsity', at.path('plan.yaml')], { env });
    expect(run.stdout).toMatch(/SparseLoRA/);
    const auto = ['--sparsity', 'auto:0.8', '--overwrite_output_dir', '--quiet'];
    await works([...train, ...auto], { env });
    const described = JSON.parse(await readFile(at.path('run', 'spft_run.json'), 'utf8'));
    expect(described.sparsity).toMatchObject({ mode: 'calibrated_8', skip_output_tokens: true });
  });

  it('goes on where its cache cannot be written, and says so once', async () => {
    await writeFile(at.path('no-directory'), '');
    const env = { SPFT_PREDICTORS: at.path('no-directory', 'predictors') };
    const argv = plan('--flops', '0.8', '--out', at.path('unkept.yaml'), '--levels', '0.9', '--tails', '8');
    const { stderr } = await works(argv, { env });
    expect(
      stderr.match(/what was planned is not kept for the next time: .*a part of this path is a file/g),
    ).toHaveLength(1);
    expect(SpftConfig.fromText(await readFile(at.path('unkept.yaml'), 'utf8'), 'unkept.yaml').mode).toBe(
      'calibrated_8',
    );
  });

  it('measures losses anew for batches of another size, as channels are chosen for a batch', async () => {
    const env = { XDG_CACHE_HOME: at.path('batches') };
    const said: string[] = [];
    for (const [n, size] of [2, 4, 2].entries()) {
      await writeFile(at.path('batch.yaml'), `per_device_train_batch_size: ${size}\n`);
      const argv = plan('--flops', '0.8', '--levels', '0.9', '--tails', '8', '--estimator', 'svd_4');
      const { stderr } = await works([...argv, '--config', at.path('batch.yaml'), '--out', at.path(`batch${n}.yaml`)], {
        env,
      });
      said.push(stderr);
    }
    expect(said.map((text) => text.includes('measurements were there'))).toEqual([false, false, true]);
  });

  it('counts the steps that are dense, and says in the file which', async () => {
    const env = { XDG_CACHE_HOME: at.path('cache') };
    const last = ['--flops', '0.8', '--end_step', '0.9', '--out', at.path('last.yaml'), '--json', at.path('last.json')];
    await works(plan(...last), { env });
    const cooled = JSON.parse(await readFile(at.path('last.json'), 'utf8'));
    expect(cooled.runFlops).toBeLessThanOrEqual(0.8);
    expect(cooled.runFlops).toBeCloseTo(0.9 * cooled.flops + 0.1, 9);
    expect(SpftConfig.fromText(await readFile(at.path('last.yaml'), 'utf8'), 'last.yaml').endStep).toBe(0.9);
    expect(await fails(plan('--flops', '0.8', '--end_step', '0', '--out', at.path('x.yaml')), { env })).toContain(
      'a plan is for a run with sparse steps',
    );
  });

  it('plans by time: for what is faster here, and refuses where nothing is, by whatever clock tells it', async () => {
    const io = (stderr: string[]): CliIo => ({
      stdout: { write: (text) => void stderr.push(text) },
      stderr: { write: (text) => void stderr.push(text) },
      stdin: (async function* () {})(),
      env: { ...process.env, XDG_CACHE_HOME: at.path('timed') },
      onInterrupt: () => () => undefined,
    });
    /** MLPs take less time, each a tenth of a step; attention takes more. */
    const clock = (mlp: number): Stopwatch => ({
      seconds: async (works) =>
        works.map(({ part, layers }) => {
          const sum = [...layers.values()].reduce(
            (seconds, sparse) => seconds - (sparse.mlp > 0 ? mlp : 0) + (sparse.selfAttn > 0 ? 0.1 : 0),
            0,
          );
          return (part === 'step' ? 10 : 1) + sum;
        }),
    });
    const said: string[] = [];
    const run = (out: string, stopwatch: Stopwatch, freshTimes = false, budget: PlanBudget = { time: 0.9 }) =>
      runPlan(
        {
          ...{ modelNameOrPath: BASE, dataset: at.train, out: at.path(out), json: at.path('timed.json'), samples: 4 },
          ...{ levels: [0.5, 0.9], tails: [4, 8], backend: 'wasm', estimator: 'svd_4', stopwatch, freshTimes },
          ...budget,
        },
        new Output(io(said), false),
      );
    await run('timed.yaml', clock(0.5));
    const text = await readFile(at.path('timed.yaml'), 'utf8');
    expect(text).toMatch(
      /% of a dense one's FLOPs and 90\.0 % of its time \(measured as a whole; 90\.0 % predicted by a layer's and a step's\)/,
    );
    const { sparsity } = SpftConfig.fromText(text, 'timed.yaml');
    const sparse = Object.entries(sparsity).filter(([, value]) => value > 0);
    expect(sparse.map(([module]) => module.split('.').at(-1))).toEqual(['mlp', 'mlp']);
    expect(JSON.parse(await readFile(at.path('timed.json'), 'utf8'))).toMatchObject({
      time: expect.closeTo(0.9, 9),
      measuredTime: expect.closeTo(0.9, 9),
    });
    // Times are known then, until they are asked for anew.
    await run('again.yaml', clock(-0.2));
    expect(await readFile(at.path('again.yaml'), 'utf8')).toBe(text);
    expect(said.join('')).toContain('--fresh_times measures them again');
    await expect(run('slow.yaml', clock(-0.2), true)).rejects.toThrow('no plan saves time here');
    expect([existsSync(at.path('slow.yaml')), existsSync(at.path('slow.html'))]).toEqual([false, false]);
    // By FLOPs there is a plan, which says that it saves no time: on the terminal, in the file and on the page.
    expect(said.join('')).not.toContain('saves no time');
    await run('slow.yaml', clock(-0.2), false, { flops: 0.8 });
    for (const text of [
      said.join(''),
      await readFile(at.path('slow.yaml'), 'utf8'),
      await readFile(at.path('slow.html'), 'utf8'),
    ])
      expect(text).toMatch(
        /This plan saves no time here: a sparse step takes 10\d\.\d % of a dense one.+ on wasm at this/,
      );
    expect(JSON.parse(await readFile(at.path('timed.json'), 'utf8')).runTime).toBeGreaterThan(1);
  });

  it('plans for a run with compensation_rank, which trains as it was measured, by the same maps', {
    timeout: 240_000,
  }, async () => {
    const env = { XDG_CACHE_HOME: at.path('compensated') };
    const few = ['sparsity', 'plan', '--model', BASE, '--dataset', at.train, '--samples', '4', '--tails', '4'];
    const wanted = ['--levels', '0.9', '--estimator', 'svd_4', '--flops', '0.85', '--compensation_rank', '8'];
    const out = ['--out', at.path('with.yaml'), '--json', at.path('with.json')];
    await works([...few, ...wanted, ...out], { env });
    const text = await readFile(at.path('with.yaml'), 'utf8');
    const config = SpftConfig.fromText(text, 'with.yaml');
    expect(config).toMatchObject({ compensationRank: 8, mode: 'svd_4' });
    expect(text).toContain('# Measured with compensation_rank 8');
    expect(await readFile(at.path('with.html'), 'utf8')).toContain('Measured with compensation_rank 8');
    const planned = JSON.parse(await readFile(at.path('with.json'), 'utf8'));
    expect(planned.compensationRank).toBe(8);
    // Another rank is measured anew: what was measured with these maps is not taken for it.
    const plain = ['--json', at.path('plain.json'), '--out', at.path('plain.yaml'), ...wanted.slice(0, -1), '0'];
    await works([...few, ...plain], { env });
    const without = JSON.parse(await readFile(at.path('plain.json'), 'utf8'));
    expect(without.denseLoss).toBeCloseTo(planned.denseLoss, 4);
    expect(without.sensitivity['layers.1.mlp']['0.9']).not.toBeCloseTo(planned.sensitivity['layers.1.mlp']['0.9'], 3);
    expect(SpftConfig.fromText(await readFile(at.path('plain.yaml'), 'utf8'), 'p.yaml').compensationRank).toBe(0);

    const maps = async () => {
      const [model] = await readdir(at.path('compensated', 'spft', 'predictors'));
      const root = at.path('compensated', 'spft', 'predictors', model!);
      const found = (await readdir(root)).filter((name) => name.startsWith('compensation-'));
      return Promise.all(found.map(async (name) => (await stat(join(root, name, 'mlp-0.9.safetensors'))).mtimeMs));
    };
    const train = ['train', '--model', BASE, '--dataset', at.train, '--max_steps', '1', '--overwrite_output_dir'];
    const run = [...train, '--output_dir', at.path('compensated-run'), '--sparsity', at.path('with.yaml')];
    const before = await maps();
    await works(run, { env });
    // Of other dense tokens than the plan's calibration (a tail of 16), so fitted to them, once.
    const once = await maps();
    expect(once.length).toBe(before.length + 1);
    await works(run, { env });
    expect(await maps()).toEqual(once);
    expect(await fails([...run, '--spft_compensation_rank', '4'], { env })).toContain(
      'planned and measured with compensation_rank 8, found 4',
    );
    const auto = [...train, '--output_dir', at.path('auto-run'), '--sparsity', 'auto:0.9', '--spft_mode', 'svd_4'];
    await works([...auto, '--spft_compensation_rank', '8'], { env });
    const described = JSON.parse(await readFile(at.path('auto-run', 'spft_run.json'), 'utf8'));
    expect(described.sparsity).toMatchObject({ mode: 'svd_4', compensation_rank: 8 });
  });

  it('refuses maps that cannot be had, before anything is measured', async () => {
    const env = { XDG_CACHE_HOME: at.path('refused') };
    const asked = (...more: string[]) => plan('--flops', '0.8', '--out', at.path('no.yaml'), ...more);
    expect(await fails(asked('--compensation_rank', '10000'), { env })).toMatch(
      /compensation_rank must be a whole number from 0 to the model's hidden size \d+, got 10000/,
    );
    expect(await fails(asked('--compensation_rank', '1.5'), { env })).toContain('whole number');
    expect(await fails(asked('--compensation_rank', '4', '--levels', '0.001,0.9'), { env })).toMatch(
      /layers\.0\.mlp at a sparsity of 0\.001 keeps all of its \d+ channels/,
    );
    const oracle = ['--compensation_rank', '4', '--estimator', 'oracle_norm_ffn_attention_norm'];
    expect(await fails(asked(...oracle), { env })).toContain('computes everything first');
    expect([existsSync(at.path('no.yaml')), existsSync(at.path('no.html'))]).toEqual([false, false]);
  });

  it('says what a budget that cannot be met could be, and writes nothing', async () => {
    const env = { XDG_CACHE_HOME: at.path('cache') };
    const message = await fails(plan('--flops', '0.1', '--out', at.path('never.yaml')), { env });
    expect(message).toMatch(/10\.0 % of the FLOPs cannot be met: with every module at 0\.9 a step takes [\d.]+ %/);
    expect(message).toMatch(/ask for at least [\d.]+ %/);
    expect([existsSync(at.path('never.yaml')), existsSync(at.path('never.html'))]).toEqual([false, false]);
  });

  it('refuses what contradicts itself, and to replace a file', async () => {
    expect(await fails(plan('--out', at.path('x.yaml')))).toContain('one of them');
    expect(await fails(plan('--flops', '0.5', '--max_loss', '1', '--out', at.path('x.yaml')))).toContain('one of them');
    expect(await fails(plan('--flops', '0.5', '--time', '0.5', '--out', at.path('x.yaml')))).toContain('one of them');
    expect(await fails(plan('--flops', '1.5', '--out', at.path('x.yaml')))).toMatch(/from 0 to 1/);
    expect(await fails(plan('--time', '-1', '--out', at.path('x.yaml')))).toMatch(/from 0 to 1/);
    await writeFile(at.path('there.yaml'), 'mine');
    expect(await fails(plan('--flops', '0.8', '--out', at.path('there.yaml')))).toContain('is there already');
    expect(await readFile(at.path('there.yaml'), 'utf8')).toBe('mine');
    expect(
      await fails(plan('--flops', '0.8', '--estimator', 'oracle_norm_ffn_attention_norm', '--out', at.path('x.yaml'))),
    ).toContain('computes everything first');
    const train = ['train', '--model', BASE, '--dataset', at.train, '--output_dir', at.path('no'), '--max_steps', '1'];
    expect(await fails([...train, '--sparsity', 'auto:2'])).toContain('wanted auto, or auto:SHARE');
  });

  it('is advised where a file makes the first sparse loss jump', async () => {
    const layers = [0, 1, 2].map((n) => `  layers.${n}.mlp: 0.97`).join('\n');
    await writeFile(at.path('random.yaml'), `mode: random\nskip_output_tokens: false\nsparsity:\n${layers}\n`);
    const train = ['train', '--model', BASE, '--dataset', at.train, '--output_dir', at.path('far'), '--max_steps', '1'];
    const { stderr } = await works([...train, '--sparsity', at.path('random.yaml')]);
    expect(stderr).toMatch(
      /warning: the first sparse step's loss will be [\d.]+ where a dense one's is [\d.]+ \(\+\d+ %\)/,
    );
    expect(stderr).toContain('let spft sparsity plan measure this model');
    expect(stderr).toContain('losses of sparse steps are not comparable with dense ones');
    expect(await readFile(at.path('far', 'report.html'), 'utf8')).toContain('not comparable with dense ones');
  });

  it('of another model is said where its layers fit', async () => {
    const plan = (fingerprint: string) => `mode: svd_8\nplanned_for: ${fingerprint}\nsparsity:\n  layers.1.mlp: 0.9\n`;
    const train = [
      'train',
      '--model',
      BASE,
      '--dataset',
      at.train,
      '--output_dir',
      at.path('other'),
      '--max_steps',
      '1',
    ];
    await writeFile(at.path('fits.yaml'), plan('0123456789ab'));
    const run = await works([...train, '--sparsity', at.path('fits.yaml')]);
    expect(run.stderr).toMatch(
      /warning: the sparsities were planned for another model \(planned_for: 0123456789ab; this one is [0-9a-f]{12}\)/,
    );
    const own = /this one is ([0-9a-f]{12})/.exec(run.stderr)![1]!;
    await writeFile(at.path('own.yaml'), plan(own));
    const again = await works([...train, '--sparsity', at.path('own.yaml'), '--overwrite_output_dir']);
    expect(again.stderr).not.toContain('another model');
  });

  it('of another model names the layers that this one lacks', async () => {
    const text = 'mode: svd_8\nsparsity:\n  layers.9.mlp: 0.9\n';
    await writeFile(at.path('other.yaml'), text);
    const train = ['train', '--model', BASE, '--dataset', at.train, '--output_dir', at.path('no'), '--max_steps', '1'];
    expect(await fails([...train, '--sparsity', at.path('other.yaml')])).toMatch(/layers\.9\.mlp.*matches no layer/s);
  });
});
