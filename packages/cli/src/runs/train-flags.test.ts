import { readdir, readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { BASE, fails, scratch, works } from '../../test/run-cli.js';

const at = scratch();
const train = (out: string, ...more: string[]) => [
  ...['train', '--model', BASE, '--dataset', at.train, '--output_dir', at.path(out), '--template', 'alpaca'],
  ...['--max_steps', '4', '--per_device_train_batch_size', '2', '--lora_r', '4', ...more],
];
const log = async (out: string): Promise<Record<string, unknown>[]> =>
  (await readFile(at.path(out, 'log.jsonl'), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('flags of transformers’ trainer that scripts use', () => {
  it.each([
    ['cosine_with_restarts', 'lion', ['--lr_scheduler_kwargs', 'num_cycles=2']],
    ['polynomial', 'adafactor', ['--lr_scheduler_kwargs', 'power=2']],
    ['inverse_sqrt', 'adamw_torch', []],
    ['warmup_stable_decay', 'sgd', ['--lr_scheduler_kwargs', 'num_decay_steps=2', '--warmup_steps', '1']],
  ])('%s with %s, and all others together, change what they say', async (scheduler, optim, more) => {
    const out = `${scheduler}-${optim}`;
    const flags = [
      ...['--logging_strategy', 'steps', '--logging_steps', '0.5', '--logging_first_step', 'true'],
      ...['--eval_strategy', 'steps', '--eval_steps', '0.5', '--eval_on_start', 'true', '--validation', '4'],
      ...['--save_strategy', 'steps', '--save_steps', '0.5', '--save_only_model', 'true'],
      ...['--group_by_length', 'true', '--label_smoothing_factor', '0.1', '--neftune_noise_alpha', '5'],
      ...['--dataloader_drop_last', 'True', '--lr_scheduler_type', scheduler, '--optim', optim, ...more],
    ];
    await works(train(out, ...flags));
    const entries = await log(out);
    const stepsOf = (key: string) => entries.filter((entry) => key in entry).map(({ step }) => step);
    // Half of four steps, and the first.
    expect(stepsOf('loss')).toEqual([1, 2, 4]);
    expect(stepsOf('eval_loss')).toEqual([0, 2, 4]);
    const [{ args }] = entries as [{ args: Record<string, unknown> }];
    expect(args).toMatchObject({
      ...{ lrSchedulerType: scheduler, optim, groupByLength: true, dataloaderDropLast: true },
      ...{ labelSmoothingFactor: 0.1, neftuneNoiseAlpha: 5, saveOnlyModel: true },
    });
    const checkpoint = await readdir(at.path(out, 'checkpoint-4'));
    expect(checkpoint.some((name) => name.includes('optimizer'))).toBe(false);
    expect(await fails(train(out, ...flags, '--resume_from_checkpoint', 'true'))).toContain('save_only_model');
  });

  it('log a loss by themselves in a short run, and nothing where they are told so', async () => {
    await works(train('short', '--save_strategy', 'no'));
    expect((await log('short')).some((entry) => 'loss' in entry)).toBe(true);
    await works(train('quiet', '--save_strategy', 'no', '--logging_strategy', 'no'));
    expect((await log('quiet')).some((entry) => 'loss' in entry)).toBe(false);
  });

  it.each([
    ['--logging_frist_step', 'logging_first_step'],
    ['--lr_scheduler', 'lr_scheduler_type'],
    ['--neftune_noise', 'neftune_noise_alpha'],
    ['--modules_to_safe', 'modules_to_save'],
  ])('%s is refused, and %s named', async (flag, nearest) => {
    expect(await fails(train('never', flag, 'x'))).toContain(nearest);
  });
});

describe('spft train of the embedding and the head', () => {
  const answer = ['--prompt', 'Max has 2 apples. How many?', '--template', 'alpaca', '--max_new_tokens', '8'];

  it.each([
    ['lora', ['--lora_target_modules', 'q_proj,embed_tokens,lm_head']],
    ['full', ['--lora_target_modules', 'q_proj', '--modules_to_save', 'embed_tokens,lm_head']],
  ])('trains them, resumes, generates and merges: %s', async (kind, flags) => {
    const adapter = ['--model', BASE, '--adapter', at.path(kind)];
    const run = train(kind, ...flags, '--learning_rate', '1e-2');
    const { stderr } = await works(run);
    expect(stderr).toContain('model.embed_tokens and lm_head are trained');
    const config = JSON.parse(await readFile(at.path(kind, 'adapter_config.json'), 'utf8'));
    expect(config.modules_to_save).toEqual(kind === 'lora' ? null : ['embed_tokens', 'lm_head']);
    const { stderr: resumed } = await works([...run, '--resume_from_checkpoint', 'true', '--max_steps', '5']);
    expect(resumed).toContain('at step 4 of 5');
    const both = await works(['generate', ...adapter, ...answer]);
    await works(['merge', ...adapter, '--out', at.path('merged'), '--dtype', 'f32', '--force']);
    const merged = await works(['generate', '--model', at.path('merged'), ...answer]);
    expect(merged.stdout).toBe(both.stdout);
    expect(both.stdout).not.toBe((await works(['generate', '--model', BASE, ...answer])).stdout);
    const { tie_word_embeddings: tied } = JSON.parse(await readFile(at.path('merged', 'config.json'), 'utf8'));
    expect(tied).toBe(false);
  });

  it('refuses a module that is none', async () => {
    expect(await fails(train('never', '--modules_to_save', 'norm'))).toContain(
      "modules_to_save: 'norm' is no module that can be trained in full here; there is model.embed_tokens, lm_head",
    );
  });
});
