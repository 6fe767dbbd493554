/**
 * @file The predictor of one weight: its truncated singular value decomposition, split evenly between two factors (NOTES "Predictor").
 *
 * Small weights are decomposed exactly on the host. Large ones by a randomised block Krylov method (block-krylov.ts), whose large products
 * run on the active backend.
 */
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { unpacked } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { dominantSubspace } from './block-krylov.js';
import { PredictorError } from './errors.js';
import { symmetricEigen } from './symmetric-eigen.js';

/** Wᵀ ≈ a·b for a weight W [out, in]: x·a·b estimates x·Wᵀ. */
export interface LowRank {
  /** [in, r] U·√S of the decomposition of Wᵀ. */
  readonly a: tf.Tensor2D;
  /** [r, out] √S·Vᵀ. */
  readonly b: tf.Tensor2D;
}

export interface LowRankOptions {
  /**
   * Weights whose smaller side is at most this are decomposed exactly in float64 on the host; default 256. On one core of a Xeon, exactly
   * and by the Krylov method on wasm: 192×768 in 0.1 and 0.2 s, 256×1024 in 0.4 and 0.3, 1536×576 in 3.6 and 0.4.
   */
  readonly exactUpTo?: number;
  /** Of the random start block; the same seed gives the same predictor. Default 0. */
  readonly seed?: number;
  /** Aim for the relative Frobenius distance of a·b to the exact truncation; default 5e-4. */
  readonly tolerance?: number;
}

export const LOW_RANK_OPTIONS: OptionNames<LowRankOptions> = { exactUpTo: true, seed: true, tolerance: true };

/** @throws PredictorError when the rank is none, or more than a side of the weight [out, in], which the message names. */
export function requireRank(shape: readonly [out: number, inputs: number], rank: number, name?: string): void {
  const smaller = Math.min(...shape);
  if (Number.isInteger(rank) && rank >= 1 && rank <= smaller) return;
  throw new PredictorError(
    `${name === undefined ? '' : `${name}: `}predictor: rank must be a whole number from 1 to ${smaller} for a weight [${shape}], got ${rank}`,
  );
}

/**
 * @param weight [out, in], on any device; not disposed.
 * @returns factors owned by the caller.
 * @throws PredictorError when the rank exceeds a side of the weight, or the weight is not finite.
 */
export async function buildPredictor(
  weight: tf.Tensor2D,
  rank: number,
  options: LowRankOptions = {},
): Promise<LowRank> {
  assertKnownOptions('buildPredictor', options, LOW_RANK_OPTIONS);
  const { exactUpTo = 256, seed = 0, tolerance = 5e-4 } = options;
  const [out, inputs] = weight.shape;
  const smaller = Math.min(out, inputs);
  requireRank(weight.shape, rank);
  const factors =
    smaller <= exactUpTo
      ? exactFactors(await weight.data<'float32'>(), out, inputs, rank)
      : await ofPlain(weight, (plain) => krylovFactors(plain, rank, seed, tolerance));
  const { narrow, wide, narrowIsInput } = balanced(factors);
  if (!narrow.every(Number.isFinite) || !wide.every(Number.isFinite)) {
    throw new PredictorError(
      `predictor: the weight [${weight.shape}] has values that are not finite; check the model's files`,
    );
  }
  const [ofInput, ofOutput] = narrowIsInput ? [narrow, wide] : [wide, narrow];
  return tf.tidy(() => ({
    a: tf.transpose(tf.tensor2d(ofInput, [rank, inputs])) as tf.Tensor2D,
    b: tf.tensor2d(ofOutput, [rank, out]),
  }));
}

/** Runs `f` on a weight's plain numbers, where it is in a form that tfjs's ops know nothing of. */
async function ofPlain<R>(weight: tf.Tensor2D, f: (plain: tf.Tensor2D) => Promise<R>): Promise<R> {
  const plain = unpacked(weight);
  try {
    return await f(plain);
  } finally {
    plain.dispose();
  }
}

/** Singular vectors of the weight's smaller side, and the larger side's scaled by their singular values; one vector a row. */
interface Factors {
  readonly rank: number;
  /** [r, n] orthonormal. */
  readonly narrow: Float32Array;
  /** [r, m]: σᵢ times a unit vector. */
  readonly wide: Float32Array;
  readonly narrowIsInput: boolean;
}

/** Moves √σ from each wide vector to its narrow one, and fixes the sign: the largest entry of the narrow vector is positive. */
function balanced({ rank, narrow, wide, narrowIsInput }: Factors): Factors {
  const [n, m] = [narrow.length / rank, wide.length / rank];
  const result = { rank, narrow: new Float32Array(rank * n), wide: new Float32Array(rank * m), narrowIsInput };
  for (let i = 0; i < rank; i++) {
    let square = 0;
    for (let j = 0; j < m; j++) square += wide[i * m + j]! ** 2;
    let peak = 0;
    for (let j = 0; j < n; j++) if (Math.abs(narrow[i * n + j]!) > Math.abs(peak)) peak = narrow[i * n + j]!;
    const root = Math.sqrt(Math.sqrt(square)) * (peak < 0 ? -1 : 1);
    for (let j = 0; j < n; j++) result.narrow[i * n + j] = narrow[i * n + j]! * root;
    for (let j = 0; j < m; j++) result.wide[i * m + j] = root === 0 ? 0 : wide[i * m + j]! / root;
  }
  return result;
}

/** By the eigenvectors of the smaller side's Gram matrix, all in float64. */
function exactFactors(w: Float32Array, out: number, inputs: number, rank: number): Factors {
  const narrowIsInput = inputs <= out;
  const [n, m] = narrowIsInput ? [inputs, out] : [out, inputs];
  // One row a narrow index, so that inner products run along rows.
  const rows = new Float64Array(n * m);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < m; j++) rows[i * m + j] = narrowIsInput ? w[j * inputs + i]! : w[i * inputs + j]!;
  }
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k <= i; k++) {
      let sum = 0;
      for (let j = 0; j < m; j++) sum += rows[i * m + j]! * rows[k * m + j]!;
      gram[i * n + k] = sum;
      gram[k * n + i] = sum;
    }
  }
  const narrow = new Float32Array(rank * n);
  const wide = new Float32Array(rank * m);
  if (!gram.every(Number.isFinite)) return { rank, narrow: narrow.fill(Number.NaN), wide, narrowIsInput };
  const { vectors } = symmetricEigen(gram, n);
  const sum = new Float64Array(m);
  for (let r = 0; r < rank; r++) {
    sum.fill(0);
    for (let i = 0; i < n; i++) {
      const v = vectors[i * n + r]!;
      narrow[r * n + i] = v;
      for (let j = 0; j < m; j++) sum[j]! += v * rows[i * m + j]!;
    }
    wide.set(sum, r * m);
  }
  return { rank, narrow, wide, narrowIsInput };
}

async function krylovFactors(weight: tf.Tensor2D, rank: number, seed: number, tolerance: number): Promise<Factors> {
  const [out, inputs] = weight.shape;
  const { basis, image } = await dominantSubspace(weight, rank, { seed, tolerance });
  const [narrow, wide] = await Promise.all([basis.data<'float32'>(), image.data<'float32'>()]);
  tf.dispose([basis, image]);
  return { rank, narrow, wide, narrowIsInput: inputs <= out };
}
