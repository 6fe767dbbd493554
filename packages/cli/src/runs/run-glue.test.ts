import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { LlamaForSequenceClassification } from '@spft/models';
import { fromPretrained } from '@spft/models/node';
import { loadPretrained } from '@spft/peft/node';
import { openSafetensors } from '@spft/safetensors/node';
import { describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { BASE, fails, scratch, works } from '../../test/run-cli.js';

const at = scratch();
const json = async (...parts: string[]) => JSON.parse(await readFile(at.path(...parts), 'utf8'));

async function data(): Promise<void> {
  await mkdir(at.path('data', 'SST-2'), { recursive: true });
  const rows = Array.from({ length: 16 }, (_, n) => (n % 4 === 0 ? `very bad ${n}\t0` : `very good ${n}\t1`));
  await writeFile(at.path('data', 'SST-2', 'train.tsv'), `${rows.join('\n')}\n`);
  await writeFile(at.path('data', 'SST-2', 'dev.tsv'), `${rows.slice(0, 8).join('\n')}\n`);
}
const glue = (...more: string[]) => [
  ...['glue', '--model', BASE, '--tasks', 'sst2', '--data', at.path('data'), '--output_dir', at.path('glue')],
  ...['--num_train_epochs', '1', '--lora_r', '2', ...more],
];

describe('spft glue', () => {
  it('trains head and adapter for each seed, evaluates densely, and sums up', async () => {
    await data();
    const sparse = ['--sparsity', at.sparsity, '--spft_start_step', '0', '--spft_skip_output_tokens', 'false'];
    const { stdout } = await works(glue('--seeds', '1,2', '--json', at.path('glue.json'), ...sparse), {
      env: { SPFT_PREDICTORS: at.path('predictors') },
    });
    expect(stdout).toMatch(/sst2 +│ +accuracy/);
    const summary = await json('glue.json');
    expect(summary).toMatchObject({ seeds: [1, 2], evaluation: 'dense', deviation: 'sample (n - 1)' });
    const { accuracy } = summary.tasks[0].metrics;
    expect(accuracy.mean).toBeCloseTo((accuracy.values[0] + accuracy.values[1]) / 2, 12);
    expect(summary.tasks[0].majority).toBe(0.75);
    for (const seed of ['1', '2']) {
      const results = await json('glue', 'sst2', seed, 'all_results.json');
      expect(results).toMatchObject({ eval_samples: 8, train_samples: 16, evaluation: 'dense' });
      expect(results.eval_accuracy).toBe(accuracy.values[Number(seed) - 1]);
    }
    expect(await readFile(at.path('glue', 'summary.md'), 'utf8')).toContain('| sst2 | accuracy |');
    await useBackend('wasm');
    const body = await fromPretrained(BASE);
    const model = new LlamaForSequenceClassification(body, { classes: 2, seed: 99 });
    const before = await model.score.data();
    const peft = await loadPretrained(model, at.path('glue', 'sst2', '1'));
    expect(await model.score.data()).not.toEqual(before);
    peft.dispose();
    model.dispose();
    body.dispose();

    expect(await fails(glue('--seeds', '3,2'))).toMatch(/glue.sst2.2 holds an earlier run .*overwrite_output_dir/);
    const first = await readFile(at.path('glue', 'sst2', '2', 'log.jsonl'), 'utf8');
    await works(glue('--seeds', '2', '--overwrite_output_dir'));
    const second = await readFile(at.path('glue', 'sst2', '2', 'log.jsonl'), 'utf8');
    expect(second.split('\n')).toHaveLength(first.split('\n').length);
    const adapter = ['--model', BASE, '--adapter', at.path('glue', 'sst2', '1')];
    const merged = await works(['merge', ...adapter, '--out', at.path('merged'), '--dtype', 'f32']);
    expect(merged.stderr).toContain('a classifier of 2 classes');
    expect(await json('merged', 'config.json')).toMatchObject({
      architectures: ['LlamaForSequenceClassification'],
      id2label: { 0: 'LABEL_0', 1: 'LABEL_1' },
    });
    const [written, own] = await Promise.all([
      openSafetensors(at.path('merged', 'model.safetensors')),
      openSafetensors(at.path('glue', 'sst2', '1', 'adapter_model.safetensors')),
    ]);
    expect(written.has('lm_head.weight')).toBe(false);
    expect(await written.float32('score.weight')).toEqual(await own.float32('base_model.model.score.weight'));
    await Promise.all([written.close(), own.close()]);
    expect(await fails(['generate', ...adapter, '--prompt', 'x'])).toContain("the adapter is a classifier's");
  });

  it('refuses what it cannot use', async () => {
    await data();
    expect(await fails(glue('--tasks', 'sst3'))).toContain("there is no GLUE task 'sst3'; did you mean 'sst2'?");
    expect(await fails(glue('--seeds', '4,4'))).toContain('--seeds: 4 is given twice');
    expect(await fails(glue('--seeds', '1,x'))).toContain("--seeds: wanted whole numbers joined by commas, found 'x'");
    expect(await fails(glue('--tasks', 'rte'))).toContain('wanted RTE/train.tsv in it, found none');
    expect(await fails(['glue', '--tasks', 'sst2'])).toContain('glue needs --model');
  });
});
