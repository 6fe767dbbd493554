/**
 * @file Dominant singular subspace of a large matrix by a randomised, restarted block Krylov method.
 *
 * Plain randomised SVD (range finder with power iterations) separates σᵣ from σᵣ₊₁ at the rate (σ_b / σᵣ)² an iteration, b being the block
 * size. For spectra that decay slowly that is hopeless: of a Gaussian 4096×4096 the 8th and the 24th singular value differ by 2 %. Keeping
 * the blocks and extracting from all of them (Musco and Musco, "Randomized block Krylov methods", 2015) converges with the square root of
 * that gap, for the same products. Restarting from the best Ritz vectors bounds the basis, as in thick-restart Lanczos.
 *
 * Products with the weight and with the basis run on the active backend in float32; what is small (basis × basis) runs on the host in
 * float64. A block step reads a few kilobytes back.
 */
import { linear, noGradient } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { PredictorError } from './errors.js';
import { randomNormals } from './random.js';
import { symmetricEigen } from './symmetric-eigen.js';

export interface SubspaceOptions {
  readonly seed: number;
  /** Relative Frobenius distance of the projected weight to the exact truncation at which to stop. */
  readonly tolerance: number;
}

export interface Subspace {
  /** [rank, n] orthonormal rows: singular vectors of the smaller side, by descending singular value. Owned by the caller. */
  readonly basis: tf.Tensor2D;
  /** [rank, m] the weight applied to them. Owned by the caller. */
  readonly image: tf.Tensor2D;
}

/** Vectors beyond `rank` in a block. */
const OVERSAMPLING = 8;
/** Blocks that the basis may hold before it restarts, and those kept then. */
const MOST_BLOCKS = 8;
const KEPT_BLOCKS = 3;
/** Block steps from one look at convergence to the next. */
const STEPS_A_CHECK = 3;
/** Block steps after which the best found is taken: a gap of σᵣ that float32 products cannot resolve does not converge. */
const MOST_STEPS = 120;
/** Directions of a new block shorter than this, relative to its longest, are rounding noise in float32. */
const NOISE = 1e-3;

/** @throws PredictorError when the weight has values that are not finite. */
export async function dominantSubspace(
  weight: tf.Tensor2D,
  rank: number,
  { seed, tolerance }: SubspaceOptions,
): Promise<Subspace> {
  const [out, inputs] = weight.shape;
  const n = Math.min(out, inputs);
  const width = Math.min(n, rank + OVERSAMPLING);
  // Vectors are rows, so that both products with the weight are plain ones: [b, n]·[n, m] and [b, m]·[m, n].
  const transposed = tf.transpose(weight) as tf.Tensor2D;
  const [toWide, toNarrow] = inputs <= out ? [transposed, weight] : [weight, transposed];

  /** Orthonormal basis Q [size, n] of the Krylov space of M = WᵀW, its image Z = Q·Wᵀ, and T = Q·M·Qᵀ on the host. */
  let Q = tf.zeros([0, n]) as tf.Tensor2D;
  let Z = tf.zeros([0, Math.max(out, inputs)]) as tf.Tensor2D;
  let T = new Float64Array(0);
  let size = 0;
  let block: tf.Tensor2D | null = await orthonormal(tf.tensor2d(randomNormals(n * width, seed), [width, n]));
  try {
    for (let step = 1; ; step++) {
      // Extend the basis by the block: block·M = coefficients·Q + remainder, remainder ⟂ Q.
      const added = block!.shape[0];
      const grown = run(() => {
        const image = tf.matMul(block!, toWide) as tf.Tensor2D;
        const nextQ = tf.concat([Q, block!], 0) as tf.Tensor2D;
        const first = project(nextQ, tf.matMul(image, toNarrow));
        const second = project(nextQ, first.remainder);
        return {
          Q: nextQ,
          Z: tf.concat([Z, image], 0) as tf.Tensor2D,
          remainder: second.remainder,
          coefficients: tf.add(first.coefficients, second.coefficients) as tf.Tensor2D,
          gram: linear(second.remainder, second.remainder),
        };
      });
      tf.dispose([Q, Z, block!]);
      block = grown.remainder;
      ({ Q, Z } = grown);
      const [coefficients, gram] = await Promise.all([grown.coefficients.data(), grown.gram.data()]);
      tf.dispose([grown.coefficients, grown.gram]);
      T = extended(T, size, coefficients, added);
      size += added;
      if (!T.every(Number.isFinite)) {
        throw new PredictorError(
          `predictor: the weight [${weight.shape}] has values that are not finite; check the model's files`,
        );
      }

      // The host's eigenproblem costs more than a block step, so convergence is looked at now and then.
      const full = size > (MOST_BLOCKS - 1) * width;
      const last = size >= n || step >= MOST_STEPS;
      const ritz = full || last || step % STEPS_A_CHECK === 0 ? symmetricEigen(T, size) : null;
      const done = last || (ritz !== null && distance(ritz, size, gram, added, rank) <= tolerance);
      if (!done) block = await orthonormal(block, largestDiagonal(T, size), Q);
      if (done || block === null) {
        const { vectors } = ritz ?? symmetricEigen(T, size);
        return run(() => {
          const best = rows(vectors, size, rank);
          return { basis: tf.matMul(best, Q) as tf.Tensor2D, image: tf.matMul(best, Z) as tf.Tensor2D };
        });
      }
      if (full && ritz !== null) {
        const kept = Math.min(size, KEPT_BLOCKS * width);
        const restarted = run(() => {
          const best = rows(ritz.vectors, size, kept);
          return { Q: tf.matMul(best, Q) as tf.Tensor2D, Z: tf.matMul(best, Z) as tf.Tensor2D };
        });
        tf.dispose([Q, Z]);
        ({ Q, Z } = restarted);
        size = kept;
        T = new Float64Array(kept * kept);
        for (let i = 0; i < kept; i++) T[i * kept + i] = ritz.values[i]!;
      }
    }
  } finally {
    tf.dispose([Q, Z, transposed]);
    block?.dispose();
  }
}

/** Off the tape, everything disposed but the result. */
const run = <R>(f: () => R): R => noGradient(() => tf.tidy(f as () => never)) as R;

/** The coefficients Y·Qᵀ of Y [b, n] in the basis Q, and what of Y is left without them. */
function project(Q: tf.Tensor2D, Y: tf.Tensor2D): { coefficients: tf.Tensor2D; remainder: tf.Tensor2D } {
  const coefficients = linear(Y, Q);
  return { coefficients, remainder: tf.sub(Y, tf.matMul(coefficients, Q)) as tf.Tensor2D };
}

/** The first `count` columns of a host matrix [n, n], as rows on the device. */
function rows(matrix: Float64Array, n: number, count: number): tf.Tensor2D {
  const values = new Float32Array(count * n);
  for (let i = 0; i < n; i++) for (let j = 0; j < count; j++) values[j * n + i] = matrix[i * n + j]!;
  return tf.tensor2d(values, [count, n]);
}

/** At most the largest eigenvalue of T, and of its order. */
function largestDiagonal(T: Float64Array, n: number): number {
  let largest = 0;
  for (let i = 0; i < n; i++) largest = Math.max(largest, T[i * n + i]!);
  return largest;
}

/** T with the rows `coefficients` [added, size + added] and their mirror image added. */
function extended(
  T: Float64Array,
  size: number,
  coefficients: ArrayLike<number>,
  added: number,
): Float64Array<ArrayBuffer> {
  const next = size + added;
  const result = new Float64Array(next * next);
  for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) result[i * next + j] = T[i * size + j]!;
  for (let i = 0; i < added; i++) {
    for (let j = 0; j < next; j++) {
      const mirrored = j < size ? coefficients[i * next + j]! : coefficients[(j - size) * next + size + i]!;
      const value = (coefficients[i * next + j]! + mirrored) / 2;
      result[(size + i) * next + j] = value;
      result[j * next + size + i] = value;
    }
  }
  return result;
}

/**
 * Bound on the relative Frobenius distance of the projected weight to the exact truncation. A Ritz vector's residual comes from the last
 * block alone: ‖remainder·y_last‖. Divided by the gap to λᵣ₊₁ it bounds the angle (Davis and Kahan); an angle θ at σ moves √2·θ·σ.
 */
function distance(
  { values, vectors }: { values: Float64Array; vectors: Float64Array },
  size: number,
  gram: ArrayLike<number>,
  added: number,
  rank: number,
): number {
  if (size <= rank) return Number.POSITIVE_INFINITY;
  const largest = Math.max(values[0]!, Number.MIN_VALUE);
  const next = values[rank]!;
  let moved = 0;
  let norm = 0;
  for (let r = 0; r < rank; r++) {
    let square = 0;
    for (let i = 0; i < added; i++) {
      const yi = vectors[(size - added + i) * size + r]!;
      for (let j = 0; j < added; j++) square += yi * gram[i * added + j]! * vectors[(size - added + j) * size + r]!;
    }
    const lambda = Math.max(0, values[r]!);
    const gap = Math.max(lambda - next, 1e-7 * largest);
    moved += (2 * lambda * Math.max(0, square)) / (gap * gap);
    norm += lambda;
  }
  return norm === 0 ? 0 : Math.sqrt(moved / norm);
}

/**
 * Orthonormal rows that span those of a block [b, n], by two rounds over its Gram matrix; directions that are noise are left out. Disposes
 * the block.
 * @param scale of M's eigenvalues: a remainder that is nothing beside it spans no new direction.
 * @param against rows to which the result must stay orthogonal.
 * @returns null when no direction is left: the basis holds an invariant subspace.
 */
async function orthonormal(block: tf.Tensor2D, scale = 0, against?: tf.Tensor2D): Promise<tf.Tensor2D | null> {
  let current = block;
  for (let round = 0; round < 2; round++) {
    const count = current.shape[0];
    const gram = run(() => linear(current, current));
    const { values, vectors } = symmetricEigen(await gram.data(), count);
    gram.dispose();
    const least = Math.max(values[0]! * NOISE ** 2, round === 0 ? (1e-7 * scale) ** 2 : 0);
    let kept = 0;
    while (kept < count && values[kept]! > least) kept++;
    if (kept === 0) {
      current.dispose();
      return null;
    }
    for (let j = 0; j < kept; j++) for (let i = 0; i < count; i++) vectors[i * count + j]! /= Math.sqrt(values[j]!);
    const next = run(() => {
      const straight = tf.matMul(rows(vectors, count, kept), current) as tf.Tensor2D;
      return against ? project(against, straight).remainder : straight;
    });
    current.dispose();
    current = next;
  }
  return current;
}
