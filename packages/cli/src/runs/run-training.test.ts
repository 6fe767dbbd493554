import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { fromPretrained } from '@spft/models/node';
import { loadPretrained } from '@spft/peft/node';
import { describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { BASE, fails, scratch, spft, works } from '../../test/run-cli.js';

const at = scratch();
/** Three steps with two samples each, of a small adapter. */
const train = (out: string, ...more: string[]) => [
  ...['train', '--model', BASE, '--dataset', at.train, '--output_dir', at.path(out), '--template', 'alpaca'],
  ...['--max_steps', '3', '--per_device_train_batch_size', '2', '--lora_r', '4', '--lora_alpha', '8'],
  ...['--learning_rate', '1e-3', '--logging_steps', '1', ...more],
];
const json = async (...parts: string[]) => JSON.parse(await readFile(at.path(...parts), 'utf8'));

describe('spft train', () => {
  it('trains LoRA and leaves adapter, checkpoint, log, report and a summary', async () => {
    const { stdout, stderr } = await works(train('lora', '--json', at.path('lora.json')));
    expect((await readdir(at.path('lora'))).sort()).toEqual([
      ...['adapter_config.json', 'adapter_model.safetensors', 'checkpoint-3', 'log.jsonl', 'report.html'],
      ...['spft_base.json', 'spft_run.json'],
    ]);
    expect(await json('lora', 'adapter_config.json')).toMatchObject({
      ...{ peft_type: 'LORA', r: 4, lora_alpha: 8, use_dora: false, base_model_name_or_path: BASE },
    });
    expect(await json('lora.json')).toMatchObject({
      ...{
        method: 'LoRA',
        backend: 'wasm',
        samples: 12,
        steps: 3,
        flopsShare: 1,
        trainableParameters: (16384 * 5) / 4,
      },
    });
    expect((await json('lora.json')).lastLoggedLoss).toBeGreaterThan(0);
    const log = (await readFile(at.path('lora', 'log.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(log.filter(({ event, loss }) => event === 'log' && loss > 0)).toHaveLength(3);
    expect(await readFile(at.path('lora', 'report.html'), 'utf8')).toContain('train_b2_st3_lr0.001_peft-lora_dense');
    expect(stdout).toMatch(/LoRA +│ +3 │/);
    expect(stderr).toContain('backend wasm');
    expect(stderr).toContain('trainable params: 20,480');
  });

  it("says what Unsloth's switch still does", async () => {
    const { stderr } = await works(train('unsloth', '--max-steps', '1', '--enable_unsloth'));
    expect(stderr).toContain('enable_unsloth: LoRA over q, k, v, over o and over the MLP');
    expect(stderr).toContain('are fused functions here, always');
    expect(await json('unsloth', 'adapter_config.json')).toMatchObject({
      target_modules: expect.arrayContaining([
        'gate_proj',
        'up_proj',
        'down_proj',
        'q_proj',
        'k_proj',
        'v_proj',
        'o_proj',
      ]),
    });
  });

  it('trains DoRA, and writes a checkpoint that PEFT could load', async () => {
    await works(train('dora', '--peft', 'dora', '--max-steps', '1'));
    await useBackend('wasm');
    const model = await fromPretrained(BASE);
    const peft = await loadPretrained(model, at.path('dora', 'checkpoint-1'));
    expect(peft.method.name).toBe('dora');
    expect([...peft.variables.keys()].some((name) => name.endsWith('lora_magnitude_vector.weight'))).toBe(true);
    peft.dispose();
    model.dispose();
  });

  it('trains sparsely with predictors that it builds once, and flags override the files', async () => {
    await writeFile(at.path('train.yaml'), 'learning_rate: 5e-4\nlora_alpha: 16\nspft_start_step: 0.4\n');
    const argv = train('sparse', '--config', at.path('train.yaml'), '--sparsity', at.sparsity);
    const first = await works([...argv, '--json', '-'], { env: { SPFT_PREDICTORS: at.path('predictors') } });
    expect(first.stderr).toMatch(/predictors in .*predictors\/base-[0-9a-f]{12}\/r_8: built/);
    expect(first.stderr).toMatch(/│ 1 +│ 102 of 1024 │ +32 of 64 │/);
    expect(first.stderr).toContain('sparsity on from step 3 of 3');
    const summary = JSON.parse(first.stdout.slice(first.stdout.indexOf('{')));
    expect(summary.method).toBe('SparseLoRA');
    // Two of three steps are dense.
    expect(summary.flopsShare).toBeGreaterThan(2 / 3 + 0.1);
    expect(summary.flopsShare).toBeLessThan(2 / 3 + 0.3);
    const run = await json('sparse', 'spft_run.json');
    expect(run.train).toMatchObject({ learning_rate: 1e-3, lora_alpha: 8 });
    expect(run.sparsity).toMatchObject({ mode: 'svd_8', start_step: 0.4 });
    expect(await readFile(at.path('sparse', 'report.html'), 'utf8')).toContain('What sparsity kept');

    const again = await works(
      [...argv, '--overwrite_output_dir', '--spft_start_step', '0', '--spft-mode', 'svd_8', '--json', '-'],
      {
        env: { SPFT_PREDICTORS: at.path('predictors') },
      },
    );
    expect(again.stderr).not.toContain('built');
    const everyStep = JSON.parse(again.stdout.slice(again.stdout.indexOf('{'))).flopsShare;
    expect(everyStep).toBeGreaterThan(0.5);
    expect(summary.flopsShare).toBeCloseTo(2 / 3 + everyStep / 3, 9);
    expect((await json('sparse', 'spft_run.json')).sparsity).toMatchObject({ start_step: 0 });
  });

  it('stops at Ctrl-C with a checkpoint, and the resumed run ends as the uninterrupted one', async () => {
    await works(train('whole', '--lora_dropout', '0.1'));
    const stopped = await spft(train('parts', '--lora_dropout', '0.1'), { interruptAt: /LoRA {2}1\/3/ });
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toMatch(/error: interrupted after step 2 of 3; checkpoint: .*parts\/checkpoint-2; go on/);
    expect(await readdir(at.path('parts'))).not.toContain('adapter_config.json');
    const resumed = await works(train('parts', '--lora_dropout', '0.1', '--resume_from_checkpoint'));
    expect(resumed.stderr).toContain('continuing from');
    const weights = (run: string) => readFile(at.path(run, 'adapter_model.safetensors'));
    expect(Buffer.compare(await weights('parts'), await weights('whole'))).toBe(0);
  });

  it('evaluates during training and at the end', async () => {
    const held = ['--validation', '0.25', '--eval_strategy', 'steps', '--eval_steps', '1', '--max_steps', '2'];
    const end = ['--eval_dataset', at.test, '--eval_limit', '2', '--load_best_model_at_end'];
    const { stdout, stderr } = await works(train('eval', ...held, ...end, '--save_total_limit', '1'));
    expect(stderr.match(/eval_loss [\d.]+/g)).toHaveLength(2);
    expect(stdout).toMatch(/│ test │ +[\d.]+ % +│ +\d of 2 │/);
    expect(await json('eval', 'metrics.json')).toHaveProperty('test');
    expect((await json('eval', 'spft_run.json')).train.load_best_model_at_end).toBe(true);
    const only = await works([
      'train',
      '--model',
      BASE,
      '--output_dir',
      at.path('eval'),
      '--eval_only',
      '--eval_dataset',
      at.test,
      '--eval_limit',
      '2',
    ]);
    expect(only.stdout.trim().split('\n').at(-2)!.slice(0, 30)).toBe(stdout.trim().split('\n').at(-2)!.slice(0, 30));
  });

  it('evaluates accuracy during training where that is asked for', async () => {
    const argv = [
      '--eval_strategy',
      'epoch',
      '--eval_dataset',
      at.test,
      '--eval_limit',
      '1',
      '--num_train_epochs',
      '0.5',
    ];
    const { stderr } = await works(train('accuracy', ...argv, '--max_steps', '-1', '--save_strategy', 'no'));
    expect(stderr).toMatch(/eval_accuracy [\d.]+ {2}eval_test_accuracy/);
  });

  it('measures speed and leaves nothing', async () => {
    const { stdout } = await works(train('speed', '--benchmark', 'True', '--quiet'));
    expect(stdout).toMatch(/LoRA +│ +3 │/);
    await expect(readdir(at.path('speed'))).rejects.toThrow('ENOENT');
  });

  it('is silent where asked, but for the result', async () => {
    expect((await works(train('quiet', '--quiet', '--max_steps', '1'))).stderr).toBe('');
  });
});

describe('spft train, given what it cannot use', () => {
  it.each([
    ['nothing', ['train'], /training needs --model DIR_OR_HUB_ID \(model_name_or_path\) and --dataset/],
    [
      'a value out of range',
      ['--lora_dropout', '2'],
      /--lora_dropout: expected a number of at least 0 and below 1, found 2/,
    ],
    ['a value of the wrong type', ['--bf16', 'perhaps'], /--bf16: expected true or false, found the string "perhaps"/],
    ['no dataset of that name', ['--dataset', 'math10'], /there is no dataset 'math10'.*did you mean 'math10k'/],
    ['no config file', ['--config', '/no/such.yaml'], /\/no\/such\.yaml: does not exist/],
    ['no method of that name', ['--peft', 'plora'], /adapter method: wanted one of lora, dora, found 'plora'/],
    ['no adapter at all', ['--peft', 'none'], /leaves nothing to train/],
    ['targets that match nothing', ['--lora_target_modules', 'q_porj'], /q_porj/],
    [
      'an evaluation of nothing',
      ['--eval_strategy', 'steps'],
      /eval_strategy is steps, but there is nothing to evaluate on/,
    ],
    [
      'sparsity flags without a file',
      ['--spft_mode', 'svd_8'],
      /spft_mode: changes a sparsity file, and there is none/,
    ],
    [
      'prompts that fill the maximum',
      ['--model_max_length', '20'],
      /train\.json:\d+: no label is left: .*raise model_max_length/,
    ],
    [
      'a template that is unknown',
      ['--template', 'alpacca'],
      /there is no prompt template 'alpacca'; did you mean 'alpaca'/,
    ],
    [
      'a checkpoint that is not there',
      ['--resume_from_checkpoint'],
      /there is no complete checkpoint to continue from/,
    ],
    [
      'too many held-out rows',
      ['--validation', '12'],
      /--validation: wanted a file, a fraction below 1 or a count below the 12 rows/,
    ],
  ])('%s: says so and writes nothing', async (_, more, message) => {
    const argv = more[0] === 'train' ? more : [...train('never'), ...more];
    expect(await fails(argv)).toMatch(message);
    const left = await readdir(at.path('never')).catch(() => []);
    expect(left.filter((name) => /adapter|checkpoint/.test(name))).toEqual([]);
  });

  it('a bad row: names file and line, and skips and counts it where told to', async () => {
    const rows = (JSON.parse(await readFile(at.train, 'utf8')) as object[]).map((row) => JSON.stringify(row));
    rows[2] = '["no object"]';
    rows[5] = '{"instruction": "no output"}';
    await writeFile(at.path('rows.jsonl'), rows.join('\n'));
    const argv = [...train('rows', '--max_steps', '1'), '--dataset', at.path('rows.jsonl')];
    expect(await fails(argv)).toMatch(/rows\.jsonl:3: wanted an object .*--skip-bad-rows/);
    const { stderr } = await works([...argv, '--skip-bad-rows', '--json', at.path('rows.json')]);
    expect(stderr).toMatch(/warning: 2 rows were skipped; the first: .*rows\.jsonl:3/);
    expect(await json('rows.json')).toMatchObject({ samples: 10, skippedRows: 2 });
  });

  it('rows without a response: says how many, as a column that was not found leaves', async () => {
    const rows = [
      { instruction: 'a', output: '' },
      { instruction: 'b', output: ' ' },
      { instruction: 'c', output: 'd' },
    ];
    await writeFile(at.path('unanswered.json'), JSON.stringify(rows));
    const argv = [...train('unanswered', '--max_steps', '1'), '--dataset', at.path('unanswered.json')];
    expect((await works(argv)).stderr).toMatch(
      /warning: 2 of 3 rows have an empty response, and teach to end at once; the first: .*unanswered\.json:1/,
    );
  });

  it('a directory with another run: leaves it alone', async () => {
    await works(train('taken', '--max_steps', '1'));
    expect(await fails(train('taken'))).toMatch(
      /holds an earlier run \(.*checkpoint-1\); go on with it by --resume_from_checkpoint true, /,
    );
    expect(await readdir(at.path('taken'))).toContain('checkpoint-1');
    // Nor does a run that goes on with another one's checkpoint mix the two.
    const elsewhere = at.path('elsewhere', 'checkpoint-1');
    await cp(at.path('taken', 'checkpoint-1'), elsewhere, { recursive: true });
    expect(await fails(train('taken', '--resume_from_checkpoint', elsewhere))).toMatch(/holds an earlier run/);
    // And what is to go on is not removed first.
    for (const goOn of ['true', 'auto', at.path('taken', 'checkpoint-1')]) {
      expect(await fails(train('taken', '--overwrite_output_dir', '--resume_from_checkpoint', goOn))).toContain(
        'overwrite_output_dir would remove the run that resume_from_checkpoint is to go on with',
      );
    }
    expect(await fails(train('taken', '--resume_from_checkpoint', at.path('taken', 'checkpoint-7')))).toMatch(
      /checkpoint-7: there is no manifest.json in it, or no such directory: /,
    );
    expect(await readdir(at.path('taken'))).toContain('checkpoint-1');
    await works(train('taken', '--overwrite_output_dir', '--save_strategy', 'no'));
    expect(await readdir(at.path('taken'))).not.toContain('checkpoint-1');
  });

  it('a directory without a run: overwriting removes nothing of it', async () => {
    await mkdir(at.path('project', 'wandb'), { recursive: true });
    await writeFile(at.path('project', 'wandb', 'mine'), 'years');
    const argv = train('project', '--max_steps', '1', '--save_strategy', 'no', '--overwrite_output_dir');
    await works(argv);
    expect(await readdir(at.path('project', 'wandb'))).toEqual(['mine']);
  });

  it("a model's directory: writes no adapter into it", async () => {
    await cp(BASE, at.path('model'), { recursive: true });
    const before = await readdir(at.path('model'));
    for (const more of [[], ['--overwrite_output_dir']]) {
      expect(await fails(train('model', ...more))).toMatch(
        /holds a model \(config.json, model.safetensors\), of which/,
      );
    }
    expect(await readdir(at.path('model'))).toEqual(before);
  });

  it('samples longer than what the model was trained on: says so', async () => {
    await cp(BASE, at.path('short'), { recursive: true });
    const config = await json('short/config.json');
    await writeFile(at.path('short', 'config.json'), JSON.stringify({ ...config, max_position_embeddings: 32 }));
    const argv = [...train('beyond', '--max_steps', '1', '--save_strategy', 'no'), '--model', at.path('short')];
    const said =
      /the longest sample has \d+ tokens, and the model was trained on 32 positions \(max_position_embeddings\)/;
    expect((await works(argv)).stderr).toMatch(said);
    expect((await works(train('within', '--max_steps', '1', '--save_strategy', 'no'))).stderr).not.toMatch(/positions/);
  });

  it('sparsity for layers that the model has not, and predictors of another model', async () => {
    await writeFile(at.path('deep.yaml'), 'mode: svd_8\nsparsity:\n  layers.9.mlp: 0.9\n');
    expect(await fails(train('deep', '--sparsity', at.path('deep.yaml')))).toMatch(
      /deep\.yaml:3: .*matches no layer: the model has 4/,
    );
    await works(['predictor', 'build', '--model', BASE, '--rank', '4', '--out', at.path('rank4')]);
    const argv = train('rank', '--sparsity', at.sparsity, '--spft_predictor_basepath', at.path('rank4'));
    expect(await fails(argv)).toMatch(/rank4.*rank/);
  });

  it('a loss that is no number: names the step and the last good checkpoint, which stays', async () => {
    const argv = train('nan', '--learning_rate', '1e30', '--max_grad_norm', '0', '--save_steps', '1');
    expect(await fails(argv)).toMatch(
      /the loss is NaN at step 2, batch of samples .*Last good checkpoint: .*nan\/checkpoint-1/,
    );
    expect((await readdir(at.path('nan'))).filter((name) => name.startsWith('adapter'))).toEqual([]);
    expect(await readdir(at.path('nan', 'checkpoint-1'))).toContain('manifest.json');
  });

  it.skipIf(process.platform !== 'linux')('a full disk (needs /dev/full): says so, and where to go on', async () => {
    await mkdir(at.path('full'));
    await symlink('/dev/full', at.path('full', 'log.jsonl'));
    expect(await fails(train('full'))).toMatch(
      /the disk is full; make room and run it again; there is no checkpoint yet/,
    );
  });
});
