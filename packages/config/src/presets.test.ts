/** @file The presets under `configs/`: each loads, and holds what the published runs used. */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { matchLayers } from './match-layers.js';
import { loadSpftConfig, loadTrainConfig } from './node/index.js';

const configs = fileURLToPath(new URL('../../../configs/', import.meta.url));

/** File, layers, mode, start, output tokens dense, sparse layers of MLP and attention as `first-last:sparsity`. */
const SPARSITY: [string, number, string, number, boolean, string, string][] = [
  ['llama2-13b-csr.yaml', 40, 'svd_8', 0.1, true, '13-36:0.97', '17-36:0.2'],
  ['llama2-13b-dense.yaml', 40, 'dense', 0, false, '-', '-'],
  ['llama2-13b-math10k.yaml', 40, 'svd_8', 0.05, true, '13-36:0.97', '17-36:0.25'],
  ['llama2-7b-codefeedback.yaml', 32, 'svd_8', 0.05, true, '3-30:0.99', '14-19,21-23,25-29:0.25'],
  ['llama2-7b-csr.yaml', 32, 'svd_8', 0.05, true, '13-29:0.9', '17-19,21-23,25-29:0.5'],
  ['llama2-7b-dense.yaml', 32, 'dense', 0, false, '-', '-'],
  ['llama2-7b-math10k.yaml', 32, 'svd_8', 0.05, true, '13-29:0.9', '17-19,21-23,25-29:0.6'],
  ['llama3-8b-csr.yaml', 32, 'svd_8', 0.05, true, '17-30:0.97', '17-19,21-23,25-29:0.2'],
  ['llama3-8b-dense.yaml', 32, 'dense', 0, false, '-', '-'],
  ['llama3-8b-glue.yaml', 32, 'svd_8', 0.05, false, '17-30:0.95 31:0.5', '17-29:0.75'],
  ['llama3-8b-math10k.yaml', 32, 'svd_8', 0.05, true, '3-30:0.99', '14-19,21-23,25-29:0.75'],
  ['llama3.1-8b-arc-agi.yaml', 32, 'svd_8', 0.1, true, '16-29:0.9', '-'],
  ['llama3.1-8b-codefeedback.yaml', 32, 'svd_8', 0.05, true, '3-30:0.99', '14-19,21-23,25-29:0.4'],
  ['llama3.1-8b-wizardlm.yaml', 32, 'svd_8', 0.05, true, '3-30:0.99', '14-19,21-23,25-29:0.4'],
];

describe('configs/sparsity', () => {
  it('holds the 14 presets', async () => {
    expect((await readdir(`${configs}sparsity`)).sort()).toEqual(SPARSITY.map(([file]) => file));
    expect(SPARSITY).toHaveLength(14);
  });

  it.each(SPARSITY)('%s is as published', async (file, layers, mode, startStep, skipOutputTokens, mlp, attention) => {
    const config = await loadSpftConfig(`${configs}sparsity/${file}`);
    expect(config).toMatchObject({ mode, startStep, endStep: 1, skipOutputTokens, compat: 'corrected' });
    const matched = matchLayers(config.sparsity, layers);
    expect([...matched.keys()]).toEqual(Array.from({ length: layers }, (_, index) => index));
    expect(runs([...matched.values()].map((layer) => layer.mlp))).toBe(mlp);
    expect(runs([...matched.values()].map((layer) => layer.selfAttn))).toBe(attention);
    // The short names say how many layers there are: ffn=0.99x28.
    const named = /=([\d.]+)x(\d+)/.exec(config.ffnSparsity ?? '');
    if (named) {
      const count = Object.entries(config.sparsity).filter(
        ([k, v]) => k.endsWith('mlp') && v === Number(named[1]),
      ).length;
      expect(count).toBe(Number(named[2]));
    }
  });
});

const SHARED = { peft: 'lora', bf16: true, loraDropout: 0, loraR: 32, loraAlpha: 64, ddpFindUnusedParameters: false };
const TRAIN: [string, Record<string, unknown>][] = [
  [
    'arc_agi_train.yaml',
    {
      ...{ dataset: 'datasets/arc_agi', evalDataset: null, perDeviceTrainBatchSize: 1, maxSeqLength: 4096 },
      ...{ modelMaxLength: 4096, numTrainEpochs: 3, learningRate: 2e-4, lrSchedulerType: 'cosine', warmupRatio: 0.1 },
      ...{ evalStrategy: 'no', saveStrategy: 'epoch', loggingSteps: 1 },
    },
  ],
  [
    'codefeedback_train.yaml',
    {
      ...{ dataset: 'm-a-p/CodeFeedback-Filtered-Instruction', perDeviceTrainBatchSize: 6, maxSeqLength: 1024 },
      ...{ modelMaxLength: 1024, numTrainEpochs: 1, learningRate: 2e-5, lrSchedulerType: 'cosine', warmupRatio: 0.04 },
      ...{ evalStrategy: 'no', saveStrategy: 'no', loggingSteps: 1 },
    },
  ],
  [
    'csr170k_train.yaml',
    {
      dataset: 'datasets/commonsense_170k.json',
      evalDataset: 'boolq+piqa+social-iqa+hellaswag+winogrande+arc-easy+arc-challenge+openbookqa',
      ...{ perDeviceTrainBatchSize: 8, numTrainEpochs: 1, learningRate: 3e-4, lrSchedulerType: 'cosine' },
      ...{ warmupRatio: 0.04, evalStrategy: 'no', saveStrategy: 'no', loggingSteps: 1, modelMaxLength: 512 },
    },
  ],
  [
    'glue_train.yaml',
    {
      ...{ maxSeqLength: 128, modelMaxLength: 128, perDeviceTrainBatchSize: 8, learningRate: 5e-5, numTrainEpochs: 5 },
      ...{ evalStrategy: 'epoch', lrSchedulerType: 'linear', loggingSteps: null, saveStrategy: 'steps' },
    },
  ],
  [
    'math10k_train.yaml',
    {
      ...{ dataset: 'datasets/math_10k.json', evalDataset: 'gsm8k+svamp+mawps', perDeviceTrainBatchSize: 8 },
      ...{ numTrainEpochs: 3, learningRate: 3e-4, lrSchedulerType: 'cosine', warmupRatio: 0.04, weightDecay: 0 },
      ...{ evalStrategy: 'no', saveStrategy: 'no', loggingSteps: 1, maxSeqLength: 512 },
    },
  ],
  [
    'wizardlm_train.yaml',
    {
      ...{ dataset: 'WizardLMTeam/WizardLM_evol_instruct_70k', splits: ['train_sft', 'test_sft'], packing: true },
      ...{ addSpecialTokens: false, appendConcatToken: false, datasetTextField: 'content', maxSeqLength: 2048 },
      ...{ perDeviceTrainBatchSize: 2, numTrainEpochs: 1, learningRate: 2e-5, weightDecay: 1e-4, warmupRatio: 0 },
      ...{ maxGradNorm: 1, lrSchedulerType: 'cosine', evalStrategy: 'no', saveStrategy: 'no', loggingSteps: 1 },
    },
  ],
];

describe('configs/train', () => {
  it('holds the 6 presets', async () => {
    expect((await readdir(`${configs}train`)).sort()).toEqual(TRAIN.map(([file]) => file));
    expect(TRAIN).toHaveLength(6);
  });

  it.each(TRAIN)('%s is as published', async (file, values) => {
    expect(await loadTrainConfig(`${configs}train/${file}`)).toMatchObject({ ...SHARED, ...values });
  });

  it('arc_agi_train.yaml has the chat template of Llama 3.1 to the letter', async () => {
    const { chatTemplateFormat } = await loadTrainConfig(`${configs}train/arc_agi_train.yaml`);
    expect(chatTemplateFormat).toHaveLength(4614);
    const hash = createHash('sha256').update(chatTemplateFormat!).digest('hex');
    expect(hash).toBe('e10ca381b1ccc5cf9db52e371f3b6651576caee0a630b452e2816b2d404d4b65');
  });
});

/** `0,0,.9,.9,.5` → `2-3:0.9 4:0.5`. */
function runs(values: readonly number[]): string {
  const byValue = new Map<number, string[]>();
  for (let start = 0; start < values.length; ) {
    let end = start;
    while (values[end + 1] === values[start]) end++;
    const list = byValue.get(values[start]!) ?? [];
    byValue.set(values[start]!, [...list, start === end ? `${start}` : `${start}-${end}`]);
    start = end + 1;
  }
  byValue.delete(0);
  return [...byValue].map(([value, list]) => `${list.join(',')}:${value}`).join(' ') || '-';
}
