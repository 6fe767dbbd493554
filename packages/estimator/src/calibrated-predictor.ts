/**
 * @file Predictors fitted to what goes through a model (`calibrated_<rank>`): of all A·B of a rank the one whose estimate x·A·B is nearest to
 * x·Wᵀ over the calibration's inputs, where `svd_<rank>` is nearest to W itself, as if every direction of x were equally strong.
 *
 * With C the second moment of the inputs that is A = C^(−½)·U√S, B = √S·Vᵀ of the truncated decomposition of C^½·Wᵀ (reduced-rank
 * regression). V are also the right singular vectors of the outputs Y = X·Wᵀ, and A·B = Wᵀ·V·Vᵀ, so no root of C is needed, nor its inverse.
 */
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { linear, noGradient } from '@spft/sparse-ops';
import { unpacked } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import type { Calibration } from './calibration.js';
import { PredictorError } from './errors.js';
import { fingerprintOf } from './fingerprint.js';
import { buildPredictor, LOW_RANK_OPTIONS, type LowRank, type LowRankOptions, requireRank } from './low-rank.js';
import { type BuildProgress, type PredictedLayers, Predictors, predictedProjections } from './predictors.js';
import type { SparsityHost } from './types.js';

/** Inputs have a few directions that are far stronger than all others; relative to these the others must be found too. */
const TOLERANCE = 2e-5;

/**
 * @param weight [out, in]. @param inputs [n, in] rows that stand for those to come. Neither is disposed.
 * @returns factors owned by the caller.
 * @throws PredictorError when there are fewer rows than the rank, the rank exceeds a side of the weight, or values are not finite.
 */
export async function buildCalibratedPredictor(
  weight: tf.Tensor2D,
  inputs: tf.Tensor2D,
  rank: number,
  options: LowRankOptions = {},
): Promise<LowRank> {
  assertKnownOptions('buildCalibratedPredictor', options, LOW_RANK_OPTIONS);
  if (inputs.shape[0] < rank) {
    throw new PredictorError(
      `calibration: ${inputs.shape[0]} tokens are too few for predictors of rank ${rank}; give at least ${rank}, better some thousands`,
    );
  }
  requireRank(weight.shape, rank);
  const outputs = noGradient(() => linear(weight, inputs));
  try {
    // Wᵀ's part is taken by Y: ≈ a·b with b = √S·Vᵀ.
    const { a: ofRows, b } = await buildPredictor(outputs, rank, { tolerance: TOLERANCE, ...options });
    ofRows.dispose();
    const a = noGradient(() =>
      tf.tidy(() => {
        const sigma = tf.maximum(tf.sum(tf.square(b), 1, true), 1e-30);
        return tf.transpose(tf.div(tf.matMul(b, unpacked(weight)), sigma)) as tf.Tensor2D;
      }),
    );
    return { a, b };
  } finally {
    outputs.dispose();
  }
}

export interface CalibratedBuildOptions extends LowRankOptions {
  /** Called before the first projection and after each. */
  readonly onProgress?: (progress: BuildProgress) => void;
}

const OPTIONS: OptionNames<CalibratedBuildOptions> = { ...LOW_RANK_OPTIONS, onProgress: true };

/**
 * Predictors of the layers out of a calibration, with its norms if it has any.
 * @param rank 0: the norms alone (`static`).
 * @param calibration not taken over.
 * @throws PredictorError when there are fewer tokens than the rank, or the calibration lacks a block.
 */
export async function calibratedPredictors(
  host: SparsityHost,
  layers: PredictedLayers,
  rank: number,
  calibration: Calibration,
  given: CalibratedBuildOptions = {},
): Promise<Predictors> {
  assertKnownOptions('calibratedPredictors', given, OPTIONS);
  const { onProgress, ...options } = given;
  const names = rank === 0 ? [] : predictedProjections(layers);
  const projections = new Map<string, LowRank>();
  const norms = new Map<string, tf.Tensor1D>();
  const record = { tokens: calibration.tokens, data: calibration.data };
  try {
    const fingerprint = await fingerprintOf(host);
    for (const [done, name] of names.entries()) {
      onProgress?.({ done, total: names.length, name });
      const block = name.slice(0, name.lastIndexOf('.'));
      const inputs = calibration.inputs.get(block);
      if (!inputs) throw new PredictorError(`calibration: nothing went through ${block}; calibrate every sparse layer`);
      projections.set(name, await buildCalibratedPredictor(host.frozenWeight(name), inputs, rank, options));
    }
    if (names.length > 0) onProgress?.({ done: names.length, total: names.length, name: names.at(-1)! });
    for (const [name, norm] of calibration.norms) norms.set(name, tf.keep(tf.clone(norm)));
    return new Predictors(rank, projections, fingerprint, record, norms);
  } catch (error) {
    new Predictors(rank, projections, null, record, norms).dispose();
    throw error;
  }
}
