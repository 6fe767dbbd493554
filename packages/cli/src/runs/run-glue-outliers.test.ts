import { mkdir, writeFile } from 'node:fs/promises';
import type { LlamaForSequenceClassification } from '@spft/models';
import { expect, it, vi } from 'vitest';
import { BASE, scratch, works } from '../../test/run-cli.js';
import { chooseOutliers } from '../steps/frozen-base.js';

vi.mock('../steps/frozen-base.js', async (importOriginal) => {
  const original = await importOriginal<typeof import('../steps/frozen-base.js')>();
  return { ...original, chooseOutliers: vi.fn(original.chooseOutliers) };
});

const at = scratch();

it('spft glue has a base choose its outlier channels by all training rows, in the order of the file, before it trains', async () => {
  await mkdir(at.path('data', 'SST-2'), { recursive: true });
  const rows = Array.from({ length: 20 }, (_, n) => (n % 4 === 0 ? `very bad ${n}\t0` : `very good ${n}\t1`));
  await writeFile(at.path('data', 'SST-2', 'train.tsv'), `${rows.join('\n')}\n`);
  await writeFile(at.path('data', 'SST-2', 'dev.tsv'), `${rows.slice(0, 4).join('\n')}\n`);
  const scores: number[][] = [];
  vi.mocked(chooseOutliers).mockImplementation((_, model) => {
    scores.push([...(model as LlamaForSequenceClassification).score.dataSync()]);
  });
  const argv = ['glue', '--model', BASE, '--tasks', 'sst2', '--data', at.path('data'), '--output_dir', at.path('glue')];
  await works([...argv, '--num_train_epochs', '1', '--lora_r', '2', '--seeds', '1,2']);
  const calls = vi.mocked(chooseOutliers).mock.calls;
  expect(calls).toHaveLength(2);
  const [[config, model, samples]] = calls as [(typeof calls)[number]];
  expect(config).toMatchObject({ basePrecision: 'bf16', fp8OutlierChannels: null });
  expect(model).toHaveProperty('classes', 2);
  expect(samples).toHaveLength(20);
  expect(calls[1]![2]).toEqual(samples);
  // Heads of two seeds, as they were made: training comes after.
  expect(scores[0]).not.toEqual(scores[1]);
});
