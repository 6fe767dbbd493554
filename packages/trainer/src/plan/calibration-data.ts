/** @file A few batches of training samples as the data to which an estimator's predictors are fitted. */
import type { CalibrationData } from '@spft/estimator';
import type { TrainableModel } from '@spft/models';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { noGradient } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { collate, type DenseTokens } from '../batch/collate.js';
import { isSampleSource, type SampleSource } from '../batch/sample-source.js';
import { countLabels, IGNORED_LABEL, type Sample, samplesDigest } from '../batch/samples.js';
import { TrainerError } from '../errors.js';

export interface CalibrationSamplesOptions {
  /** Which tokens the run will compute densely: predictors are fitted to the others. Default: those with a label. */
  readonly denseTokens?: DenseTokens;
  /** So many samples, evenly spaced over all of them. Default 32: with prompts of a hundred tokens a few thousand tokens. */
  readonly count?: number;
  /** Default 8. */
  readonly batchSize?: number;
}

/** Labelled tokens are dense: what every preset of the paper has. */
const OUTPUTS: DenseTokens = (labels) => Uint8Array.from(labels, (label) => Number(label !== IGNORED_LABEL));

/**
 * Forward passes of `model` over samples, for `getSpftModel`'s `calibration`.
 * @param model with fresh adapters, or none: predictors are of the frozen weights.
 * @throws TrainerError when there is no sample with a label.
 */
export function calibrationData(
  model: TrainableModel,
  samples: readonly Sample[] | SampleSource,
  options: CalibrationSamplesOptions = {},
): CalibrationData {
  assertKnownOptions('calibrationData', options, { denseTokens: true, count: true, batchSize: true });
  const { denseTokens = OUTPUTS, count = 32, batchSize = 8 } = options;
  const chosen = sampleEvenly(samples, count);
  if (chosen.length === 0) {
    throw new TrainerError(
      'samples',
      `calibration: none of ${samples.length} samples has a label; give rows with an answer`,
    );
  }
  return {
    steps: Math.ceil(chosen.length / batchSize),
    data: samplesDigest(chosen),
    forward(step) {
      const batch = collate(chosen.slice(step * batchSize, (step + 1) * batchSize), { denseTokens });
      noGradient(() =>
        tf.tidy(() => void model.loss(batch, { training: false, seed: 0, normalizer: batch.labelCount })),
      );
    },
  };
}

/** Samples by which outlier channels are chosen. */
const CHOOSING = 16;

/**
 * Lets a base in FP8 choose its outlier channels by samples all over the run's data: it chooses them by the first rows that it computes, and keeps them, so that
 * whoever shows it these before anything else has the same ones whatever the order of the data, in a run that is continued and on every rank. A forward
 * pass without an effect on other bases, and on one that has chosen.
 * @param samples of the run; 16 of those with a label are shown, nothing where none has one.
 */
export function chooseOutlierChannels(model: TrainableModel, samples: readonly Sample[] | SampleSource): void {
  const chosen = sampleEvenly(samples, CHOOSING);
  if (chosen.length > 0) void calibrationData(model, chosen, { count: CHOOSING, batchSize: CHOOSING }).forward(0);
}

/** Up to `count` of those with a label, at even distances. @param from share of a distance by which they are moved, to take others. */
export function sampleEvenly(samples: readonly Sample[] | SampleSource, count: number, from = 0): Sample[] {
  const n = Math.min(count, samples.length);
  const at = (i: number) => Math.floor(((i + from) * samples.length) / n);
  const chosen = Array.from({ length: n }, (_, i) =>
    isSampleSource(samples) ? samples.sample(at(i)) : samples[at(i)]!,
  );
  return chosen.filter(({ labels }) => countLabels(labels) > 0);
}
