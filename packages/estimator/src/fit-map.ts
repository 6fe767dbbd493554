/**
 * @file The linear map of a low rank that is nearest to what goes from some inputs to some outputs.
 *
 * Reduced-rank regression: with x the layer's inputs and y what was dropped, both centred, the ridge solution M of x·M ≈ y, projected on the first right singular
 * vectors of x·M. Solved by conjugate gradients, column by column at once, so that only products are needed, which run on the active backend.
 */
import { noGradient, storedLike } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { PredictorError } from './errors.js';
import { randomNormals } from './random.js';
import { symmetricEigen } from './symmetric-eigen.js';
import type { MlpCompensation } from './types.js';

/** Added to the second moment's diagonal, as a share of its mean: inputs have directions that the data hardly show. */
const RIDGE = 1e-2;
/** Of conjugate gradients; what is left after these is below what the data tell. */
const ITERATIONS = 32;

/**
 * @param x [n, H] in float.
 * @param y [n, H'].
 * @param like whose storage the factors take.
 * @returns owned by the caller.
 * @throws PredictorError when there are fewer rows than the rank.
 */
export async function fitMap(x: tf.Tensor2D, y: tf.Tensor2D, rank: number, like: tf.Tensor): Promise<MlpCompensation> {
  if (x.shape[0] < rank) {
    throw new PredictorError(
      `compensation: ${x.shape[0]} tokens are too few for rank ${rank}; give at least ${rank}, better some thousands`,
    );
  }
  const { means, map, moment } = noGradient(() =>
    tf.tidy(() => {
      const [xMean, yMean] = [tf.mean(x, 0, true), tf.mean(y, 0, true)];
      const [xc, yc] = [tf.sub(x, xMean) as tf.Tensor2D, tf.sub(y, yMean) as tf.Tensor2D];
      const second = tf.div(tf.matMul(xc, xc, true, false), x.shape[0]) as tf.Tensor2D;
      const map = ridge(second, xc, yc);
      // Of the map's outputs, whose first eigenvectors are the right singular vectors of x·M.
      const moment = tf.matMul(map, tf.matMul(second, map), true, false) as tf.Tensor2D;
      return { means: [xMean, yMean] as const, map, moment };
    }),
  );
  let vectors: tf.Tensor2D | null = null;
  try {
    vectors = await dominantEigenvectors(moment, rank);
    const V = vectors;
    return noGradient(() =>
      tf.tidy(() => {
        const toLow = tf.matMul(map, V) as tf.Tensor2D;
        const centre = tf.matMul(tf.matMul(means[0] as tf.Tensor2D, toLow), V, false, true);
        const bias = tf.reshape(tf.sub(means[1], centre), [V.shape[0]]) as tf.Tensor1D;
        const down = tf.transpose(toLow) as tf.Tensor2D;
        return { down: storedLike(down, like), up: storedLike(V, like), bias: tf.clone(bias) };
      }),
    );
  } finally {
    tf.dispose([...means, map, moment]);
    vectors?.dispose();
  }
}

/** Vectors beyond the rank that subspace iteration carries along. */
const OVERSAMPLING = 16;
/** Rounds of it: what is left out after these is as little as what the next direction would bring. */
const ROUNDS = 3;

/**
 * The first eigenvectors [n, rank] of a positive semidefinite [n, n], by subspace iteration: near enough where a subspace is wanted, of which the last
 * directions hardly count. Products run on the active backend, what is of the rank's size on the host in float64.
 */
async function dominantEigenvectors(matrix: tf.Tensor2D, rank: number): Promise<tf.Tensor2D> {
  const n = matrix.shape[0];
  const width = Math.min(n, rank + OVERSAMPLING);
  let basis = tf.tidy(() => tf.tensor2d(randomNormals(n * width, 0), [n, width]));
  const replace = (make: () => tf.Tensor) => {
    const before = basis;
    basis = noGradient(() => tf.tidy(make)) as tf.Tensor2D;
    before.dispose();
  };
  /** Vᵀ·f(V), decomposed: [width, width] on the device, and its values. */
  const decomposed = async (symmetric: () => tf.Tensor2D) => {
    const product = noGradient(() => tf.tidy(symmetric));
    const { values, vectors } = symmetricEigen(await product.data<'float32'>(), width);
    product.dispose();
    return { values, vectors: Float32Array.from(vectors) };
  };
  /** The nearest orthonormal columns: V·(Vᵀ·V)^(−½). */
  const straighten = async () => {
    replace(() => tf.div(basis, tf.maximum(tf.norm(basis, 2, 0, true), 1e-30)));
    const { values, vectors } = await decomposed(() => tf.matMul(basis, basis, true, false));
    const roots = Float32Array.from(values, (value) => 1 / Math.sqrt(Math.max(value, 1e-7 * values[0]!)));
    replace(() => {
      const E = tf.tensor2d(vectors, [width, width]);
      return tf.matMul(tf.matMul(basis, tf.mul(E, roots) as tf.Tensor2D), E, false, true);
    });
  };
  try {
    for (let round = 0; round < ROUNDS; round++) {
      replace(() => tf.matMul(matrix, basis));
      // Rotated to the eigenvectors of what the space knows of the matrix: from the second round on columns come out nearly orthogonal.
      const { values, vectors } = await decomposed(() => tf.matMul(basis, basis, true, false));
      const scale = Float32Array.from(values, (value) => 1 / Math.sqrt(Math.max(value, 1e-7 * values[0]!, 1e-30)));
      replace(() => tf.mul(tf.matMul(basis, tf.tensor2d(vectors, [width, width])), scale));
      // Random columns were nearly parallel, which is more than float32 can undo at once.
      if (round === 0) await straighten();
    }
    const { vectors } = await decomposed(() => tf.matMul(basis, tf.matMul(matrix, basis), true, false) as tf.Tensor2D);
    replace(() => tf.slice(tf.matMul(basis, tf.tensor2d(vectors, [width, width])), [0, 0], [n, rank]));
    return basis;
  } catch (error) {
    basis.dispose();
    throw error;
  }
}

/** M [H, H'] of the least ‖x·M − y‖² / n + λ·‖M‖². @param moment [H, H] xᵀ·x / n. @param x [n, H], centred. @param y [n, H']. */
function ridge(moment: tf.Tensor2D, x: tf.Tensor2D, y: tf.Tensor2D): tf.Tensor2D {
  const n = x.shape[0];
  const diagonal = tf.reshape(tf.div(tf.sum(tf.square(x), 0), n), [-1, 1]);
  const lambda = tf.mul(tf.mean(diagonal), RIDGE);
  const scale = tf.add(diagonal, lambda);
  const state = {
    m: tf.zeros([x.shape[1], y.shape[1]]) as tf.Tensor,
    r: tf.div(tf.matMul(x, y, true, false), n) as tf.Tensor,
    p: tf.scalar(0) as tf.Tensor,
    rz: tf.scalar(0) as tf.Tensor,
  };
  let z: tf.Tensor = tf.div(state.r, scale);
  state.p = z;
  state.rz = tf.sum(tf.mul(state.r, z), 0, true);
  for (let i = 0; i < ITERATIONS; i++) {
    const q = tf.add(tf.matMul(moment, state.p as tf.Tensor2D), tf.mul(state.p, lambda));
    const alpha = tf.div(state.rz, tf.maximum(tf.sum(tf.mul(state.p, q), 0, true), 1e-30));
    state.m = tf.add(state.m, tf.mul(state.p, alpha));
    state.r = tf.sub(state.r, tf.mul(q, alpha));
    z = tf.div(state.r, scale);
    const rz = tf.sum(tf.mul(state.r, z), 0, true);
    state.p = tf.add(z, tf.mul(state.p, tf.div(rz, tf.maximum(state.rz, 1e-30))));
    state.rz = rz;
  }
  return state.m as tf.Tensor2D;
}
