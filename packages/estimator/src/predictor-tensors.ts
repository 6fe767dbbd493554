/**
 * @file Predictors as tensors of a safetensors file, and back. Works on any `SafetensorsFile`, so a browser can read predictors too.
 */
import type { Dtype, SafetensorsFile, TensorToWrite } from '@spft/safetensors';
import { assertKnownOptions } from '@spft/safetensors/internals';
import * as tf from '@tensorflow/tfjs';
import { PredictorError } from './errors.js';
import type { ModelFingerprint } from './fingerprint.js';
import type { LowRank } from './low-rank.js';
import { assertPredictorShapes, assertPredictorsOf } from './predictor-check.js';
import { factorsByProjection, finiteValues, type HostMatrix, readFactor } from './predictor-names.js';
import { type CalibrationRecord, Predictors, projectionShape } from './predictors.js';
import type { SparsityHost } from './types.js';

/** How elements are stored; bf16 as upstream runs them, an 8B model's at rank 8 in 28 MB. */
export type PredictorDtype = Extract<Dtype, 'BF16' | 'F16' | 'F32'>;

/** Tensors in the hub layout, and the metadata that `readPredictors` checks. */
export async function predictorTensors(
  predictors: Predictors,
  dtype: PredictorDtype = 'BF16',
): Promise<{ tensors: Record<string, TensorToWrite>; metadata: Record<string, string> }> {
  const tensors: Record<string, TensorToWrite> = {};
  for (const [name, { a, b }] of predictors.projections) {
    tensors[`${name}.w1`] = { dtype, shape: a.shape, data: (await a.data()) as Float32Array };
    tensors[`${name}.w2`] = { dtype, shape: b.shape, data: (await b.data()) as Float32Array };
  }
  const { fingerprint, rank, calibration } = predictors;
  for (const [name, norm] of predictors.norms) {
    tensors[`${name}.rms`] = { dtype, shape: norm.shape, data: (await norm.data()) as Float32Array };
  }
  return {
    tensors,
    metadata: {
      format: 'pt',
      predictor_rank: String(rank),
      predictor_mode: predictors.mode,
      ...(calibration && { calibration_tokens: String(calibration.tokens) }),
      ...(calibration?.data && { calibration_data: calibration.data }),
      ...(fingerprint && { base_model_shape: fingerprint.shape, base_model_checksum: fingerprint.weights }),
    },
  };
}

export interface ReadPredictorOptions {
  /** Wanted rank; a file of another one fails. */
  readonly rank?: number;
  /** Whether they are to be fitted to data; either will do where it is not said. */
  readonly calibrated?: boolean;
  /** Name of the file, for messages. */
  readonly source?: string;
}

/**
 * Reads every predictor of a file, checked against the model: names of either layout, factors either way round.
 * @throws PredictorError when there are none, or they are of another model, rank or shape. SafetensorsError when the file is broken.
 */
export async function readPredictors(
  file: SafetensorsFile,
  host: SparsityHost,
  options: ReadPredictorOptions = {},
): Promise<Predictors> {
  assertKnownOptions('readPredictors', options, { rank: true, calibrated: true, source: true });
  const { rank: wanted, calibrated, source = 'predictors' } = options;
  const factors = factorsByProjection(file.names, source);
  const normNames = file.names.filter((name) => RMS.test(name));
  if (factors.size === 0 && normNames.length === 0) {
    throw new PredictorError(
      `${source}: holds no predictors; they are tensors named model.layers.N.mlp.gate_proj.w1, …, or layers.N.mlp_low_rank_a, …; ` +
        `found ${file.names.slice(0, 3).join(', ') || 'nothing'}`,
    );
  }
  const projections = new Map<string, LowRank>();
  const norms = new Map<string, tf.Tensor1D>();
  try {
    let rank: number | null = factors.size === 0 ? 0 : null;
    for (const [name, { w1, w2 }] of factors) {
      const [first, second] = [await readFactor(file, w1, source), await readFactor(file, w2, source)];
      const [out, inputs] = projectionShape(name, host);
      const low = lowRank(first, second, inputs, out);
      if (low === null) {
        throw new PredictorError(
          `${source}: ${name} wants factors [${inputs},r] and [r,${out}], found [${first.shape}] and [${second.shape}]; they were made ` +
            'for another model: build them again (spft predictor build) or point to those of this model',
        );
      }
      projections.set(name, low);
      rank ??= low.b.shape[0];
      if (low.b.shape[0] !== rank) {
        throw new PredictorError(
          `${source}: ${name} has rank ${low.b.shape[0]}, others have ${rank}; one rank is wanted`,
        );
      }
    }
    for (const name of normNames) {
      norms.set(RMS.exec(name)![1]!, tf.tensor1d(await finiteValues(file, name, source)));
    }
    const record = calibrationIn(file.metadata, norms.size > 0);
    const predictors = new Predictors(rank!, projections, fingerprintIn(file.metadata), record, norms);
    assertPredictorShapes(predictors, host, { rank: wanted, calibrated, source });
    await assertPredictorsOf(predictors, host, source);
    return predictors;
  } catch (error) {
    new Predictors(0, projections, null, null, norms).dispose();
    throw error;
  }
}

/** Root mean squares of channels, as `static` has them. */
const RMS = /^((?:model\.)layers\.\d+\.(?:mlp|self_attn\.[qkv]_proj))\.rms$/;

function calibrationIn(metadata: Readonly<Record<string, string>>, hasNorms: boolean): CalibrationRecord | null {
  const { calibration_tokens: tokens, calibration_data: data = null } = metadata;
  return tokens === undefined && !hasNorms ? null : { tokens: Number(tokens ?? 0), data };
}

/** Factors [in, r] and [r, out], each possibly stored transposed, as tensors; null when they fit no rank. */
function lowRank(w1: HostMatrix, w2: HostMatrix, inputs: number, out: number): LowRank | null {
  const ranks = [w1.shape[0] === inputs ? w1.shape[1] : null, w1.shape[1] === inputs ? w1.shape[0] : null];
  for (const rank of ranks) {
    if (rank === null) continue;
    const straightA = w1.shape[0] === inputs && w1.shape[1] === rank;
    const straightB = w2.shape[0] === rank && w2.shape[1] === out;
    if (!straightB && !(w2.shape[0] === out && w2.shape[1] === rank)) continue;
    return tf.tidy(() => {
      const [a, b] = [tf.tensor2d(w1.data, [...w1.shape]), tf.tensor2d(w2.data, [...w2.shape])];
      return {
        a: (straightA ? a : tf.transpose(a)) as tf.Tensor2D,
        b: (straightB ? b : tf.transpose(b)) as tf.Tensor2D,
      };
    });
  }
  return null;
}

function fingerprintIn(metadata: Readonly<Record<string, string>>): ModelFingerprint | null {
  const { base_model_shape: shape, base_model_checksum: weights } = metadata;
  return shape !== undefined && weights !== undefined ? { shape, weights } : null;
}
