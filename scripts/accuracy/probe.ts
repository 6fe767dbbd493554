/**
 * @file How much the loss rises, before any training, where the context's MLPs keep some channels: by estimator, by the rows that give the scores,
 * and by dense tail tokens. A few minutes on a CPU, no training.
 *
 *   node scripts/dist/accuracy/probe.js --model DIR --data FILE [--held FILE] [--backend blas] [--samples 16] [--sparsity 0.9]
 */
import { parseArgs } from 'node:util';
import { Output, openBackend, openModel, processIo } from '@spft/cli';
import { SpftConfig } from '@spft/config';
import { denseTokens, getSpftModel, makePredictors, type PredictorRequest } from '@spft/estimator';
import { noGradient } from '@spft/sparse-ops';
import {
  calibrationData,
  collate,
  type DenseTokens,
  type InstructionRecord,
  promptTemplate,
  type Sample,
  tokenizeRecord,
} from '@spft/trainer';
import { loadDataset } from '@spft/trainer/node';
import * as tf from '@tensorflow/tfjs';

const { values } = parseArgs({
  options: {
    ...{ model: { type: 'string' }, data: { type: 'string' }, backend: { type: 'string', default: 'blas' } },
    ...{ samples: { type: 'string', default: '16' }, sparsity: { type: 'string', default: '0.9' } },
    ...{ only: { type: 'string' }, calibration: { type: 'string', default: '32' } },
  },
});
const output = new Output(processIo(), true);
await openBackend(values.backend, output);
const { model, tokenizer } = await openModel(values.model!, output);
const { records } = await loadDataset(values.data!);
const template = promptTemplate('alpaca');
const samples: Sample[] = [];
for (let n = 0; n < records.length && samples.length < Number(values.samples) + Number(values.calibration); n++) {
  const sample = tokenizeRecord(tokenizer, records[n] as InstructionRecord, { template, maxLength: 256 });
  if (sample.labels.some((label: number) => label !== -100) && sample.inputIds.length < 200) samples.push(sample);
}
const held = samples.splice(0, Number(values.samples));
const layers: Record<string, number> = {};
for (let n = 3; n <= model.layerCount - 2; n++) layers[`layers.${n}.mlp`] = Number(values.sparsity);

const cached = new Map<string, Awaited<ReturnType<typeof makePredictors>>>();
async function lossOf(keys: Record<string, unknown> | null): Promise<number> {
  const config = SpftConfig.fromObject({
    ...{ mode: 'dense', skip_output_tokens: true },
    ...keys,
    sparsity: keys === null ? {} : layers,
  });
  const dense: DenseTokens = (labels, lengths, seed) => denseTokens(labels, lengths, config, seed);
  const source = async (request: PredictorRequest) => {
    const key = config.mode;
    const made =
      cached.get(key) ??
      (await makePredictors({
        ...request,
        calibration: calibrationData(model, samples, { count: Number(values.calibration) }),
      }));
    cached.set(key, made);
    return made;
  };
  const spft = await getSpftModel(model, config, {
    predictors: source,
    calibration: calibrationData(model, samples, { count: Number(values.calibration) }),
  });
  let [sum, labels] = [0, 0];
  for (let start = 0; start < held.length; start += 8) {
    const batch = collate(held.slice(start, start + 8), { denseTokens: dense });
    const loss = noGradient(() =>
      tf.tidy(() => model.loss(batch, { training: false, seed: 0, normalizer: batch.labelCount })),
    );
    sum += (await loss.data())[0]! * batch.labelCount;
    labels += batch.labelCount;
    loss.dispose();
  }
  model.setSparsity(null);
  void spft;
  return sum / labels;
}

const compensated = (rank: number, more = {}) => ({ mode: 'calibrated_8', compensation_rank: rank, ...more });
const rows: [string, Record<string, unknown> | null][] = [
  ['dense', null],
  ['random', { mode: 'random' }],
  ['svd_8, mean of all tokens', { mode: 'svd_8', score_context_tokens: false }],
  ['svd_8, 16 context tokens', { mode: 'svd_8', score_tokens: 16, score_context_tokens: true }],
  ['calibrated_8, 16 context tokens', { mode: 'calibrated_8' }],
  ['calibrated_8, every context token', { mode: 'calibrated_8', score_tokens: 0 }],
  ['calibrated_8, every token', { mode: 'calibrated_8', score_tokens: 0, score_context_tokens: false }],
  ['calibrated_8_static, 16 context tokens', { mode: 'calibrated_8_static' }],
  ['static', { mode: 'static' }],
  ['calibrated_8, predicting row dense', { mode: 'calibrated_8', skip_tail_tokens: 1 }],
  ['calibrated_8, tail of 8', { mode: 'calibrated_8', skip_tail_tokens: 8 }],
  ['calibrated_8, tail of 16', { mode: 'calibrated_8', skip_tail_tokens: 16 }],
  ['calibrated_8, tail of 32', { mode: 'calibrated_8', skip_tail_tokens: 32 }],
  ['calibrated_8, compensation of rank 8', compensated(8)],
  ['calibrated_8, compensation of rank 32', compensated(32)],
  ['calibrated_8, compensation of rank 128', compensated(128)],
  ['calibrated_8, compensation of rank 256', compensated(256)],
  ['svd_8, compensation of rank 32', compensated(32, { mode: 'svd_8' })],
  ['svd_8, compensation of rank 128', compensated(128, { mode: 'svd_8' })],
  ['random, compensation of rank 128', compensated(128, { mode: 'random' })],
  ['random, compensation of rank 32', compensated(32, { mode: 'random' })],
  ['calibrated_8, tail of 16, compensation of rank 32', compensated(32, { skip_tail_tokens: 16 })],
  ['svd_8, tail of 16', { mode: 'svd_8', skip_tail_tokens: 16 }],
];
const only = values.only?.split(';');
for (const [name, keys] of rows.filter(([name]) => only?.includes(name) ?? true))
  process.stdout.write(`${(await lossOf(keys)).toFixed(4)}  ${name}\n`);
