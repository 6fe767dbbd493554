/** @file Whether predictors belong to a model: rank, layers, shapes, and the weights that they were made from. */
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { unpacked } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { PredictorError } from './errors.js';
import { fingerprintOf } from './fingerprint.js';
import {
  normNames,
  type PredictedLayers,
  type Predictors,
  predictedProjections,
  projectionShape,
} from './predictors.js';
import type { SparsityHost } from './types.js';

export interface PredictorDemands {
  readonly rank?: number;
  /** Fitted to data, or made from the weights alone. */
  readonly calibrated?: boolean;
  /** Norms for those `layers` must be there. */
  readonly norms?: boolean;
  /** Layers that must have predictors. */
  readonly layers?: PredictedLayers;
  /** Where the predictors are from, for messages. */
  readonly source?: string;
}

const DEMANDS: OptionNames<PredictorDemands> = {
  ...{ rank: true, calibrated: true, norms: true },
  ...{ layers: true, source: true },
};

const WHAT_TO_DO = 'build them again (spft predictor build) or point to those of this model';

/** @throws PredictorError when rank, shapes or layers are not those of the model and the demands. */
export function assertPredictorShapes(
  predictors: Predictors,
  host: SparsityHost,
  demands: PredictorDemands = {},
): void {
  assertKnownOptions('assertPredictorShapes', demands, DEMANDS);
  const { rank, calibrated, norms = false, layers, source = 'predictors' } = demands;
  if (rank !== undefined && predictors.rank !== rank) {
    throw new PredictorError(`${source}: wanted rank ${rank}, found rank ${predictors.rank}; ${WHAT_TO_DO}`);
  }
  if (calibrated !== undefined && calibrated !== (predictors.calibration !== null)) {
    throw new PredictorError(
      `${source}: wanted predictors ${calibrated ? 'fitted to data (calibrated)' : 'of the weights alone (svd)'}, found those of mode ` +
        `${predictors.mode}; name another directory and they are built there`,
    );
  }
  for (const [name, { a, b }] of predictors.projections) {
    const layer = Number(/^model\.layers\.(\d+)\./.exec(name)?.[1]);
    if (!(layer < host.layerCount)) {
      throw new PredictorError(
        `${source}: has a predictor for ${name}, but the model has ${host.layerCount} layers; ${WHAT_TO_DO}`,
      );
    }
    const [out, inputs] = projectionShape(name, host);
    const r = predictors.rank;
    if (a.shape[0] !== inputs || a.shape[1] !== r || b.shape[0] !== r || b.shape[1] !== out) {
      throw new PredictorError(
        `${source}: ${name} wants factors [${inputs},${r}] and [${r},${out}], found [${a.shape}] and [${b.shape}]; they were made ` +
          `for another model: ${WHAT_TO_DO}`,
      );
    }
  }
  for (const [name, norm] of predictors.norms) {
    const wanted = name.endsWith('.mlp') ? host.intermediateSize : projectionShape(name, host)[0];
    if (norm.size !== wanted) {
      throw new PredictorError(
        `${source}: the norms of ${name} are ${norm.size}, wanted ${wanted}; they were made for another model: ${WHAT_TO_DO}`,
      );
    }
  }
  const missing = layers ? missingProjections(predictors, layers, { norms }) : [];
  if (missing.length > 0) {
    throw new PredictorError(
      `${source}: none for ${missing.slice(0, 3).join(', ')}${missing.length > 3 ? ` and ${missing.length - 3} more` : ''}; ${WHAT_TO_DO}`,
    );
  }
}

/** Projections that `layers` asks for and `predictors` lacks, and norms where these are wanted. */
export function missingProjections(
  predictors: Predictors,
  layers: PredictedLayers,
  options: { readonly norms?: boolean } = {},
): string[] {
  assertKnownOptions('missingProjections', options, { norms: true });
  const { norms = false } = options;
  const factors = predictors.rank === 0 ? [] : predictedProjections(layers);
  return [
    ...factors.filter((name) => !predictors.projections.has(name)),
    ...(norms ? normNames(layers).filter((name) => !predictors.norms.has(name)) : []),
  ];
}

/**
 * Whether predictors were made from these very weights: by fingerprint, or, where a file has none (upstream's), by comparing what they
 * predict with what the first and the last of them should.
 * @throws PredictorError when they were not.
 */
export async function assertPredictorsOf(
  predictors: Predictors,
  host: SparsityHost,
  source = 'predictors',
): Promise<void> {
  if (predictors.fingerprint) {
    const [made, here] = [predictors.fingerprint, await fingerprintOf(host)];
    if (made.shape !== here.shape) {
      throw new PredictorError(
        `${source}: made for a model with ${made.shape}; this one has ${here.shape}; ${WHAT_TO_DO}`,
      );
    }
    if (made.weights !== here.weights) {
      throw new PredictorError(
        `${source}: made from other weights of the same sizes (checksum ${made.weights}, this model's is ${here.weights}); ${WHAT_TO_DO}`,
      );
    }
    return;
  }
  const names = [...predictors.projections.keys()];
  for (const name of new Set([names[0], names.at(-1)])) {
    if (name === undefined) continue;
    const share = await capturedShare(host.frozenWeight(name), predictors.projections.get(name)!);
    if (!(share > 0.5)) {
      throw new PredictorError(
        `${source}: the predictor of ${name} has nothing in common with the model's weight (overlap ${share.toFixed(2)}, wanted ` +
          `about 1); ${WHAT_TO_DO}`,
      );
    }
  }
}

/** ⟨Wᵀ, A·B⟩ / ‖A·B‖²: 1 for any factors of the truncated decomposition of Wᵀ, about 0 for those of an unrelated weight. */
async function capturedShare(weight: tf.Tensor2D, { a, b }: { a: tf.Tensor2D; b: tf.Tensor2D }): Promise<number> {
  const share = tf.tidy(() => {
    const inner = tf.sum(tf.mul(tf.transpose(tf.matMul(unpacked(weight), a)), b));
    const square = tf.sum(tf.mul(tf.matMul(tf.transpose(a), a), tf.matMul(b, tf.transpose(b))));
    return tf.div(inner, square) as tf.Scalar;
  });
  const [value] = await share.data();
  share.dispose();
  return value!;
}
