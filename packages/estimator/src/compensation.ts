/**
 * @file What dropped channels of an MLP would have given, estimated from the layer's input: the linear map of a low rank that is nearest to it on a
 * few batches of the run's own data. With channels dropped alone, whatever the MLP adds to a token is mostly missing downstream; with the map added, most
 * of it is there, at a few percent of the MLP's arithmetic (docs/ACCURACY.md).
 */
import { type ChannelSelection, linear, maskColumns, noGradient } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import type { CalibrationData } from './calibration.js';
import { EstimatorError, PredictorError } from './errors.js';
import { fitMap } from './fit-map.js';
import type { BuildProgress } from './predictors.js';
import type { MlpCompensation, SparsityEstimator, SparsityHost, SparsityPlan } from './types.js';

export interface CompensationOptions {
  readonly rank: number;
  /** Most rows that are kept of a layer. Default 6144. */
  readonly rows?: number;
  /** Called before the first layer and after each. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Runs the data densely through the model, lets the plan's estimator choose for each batch, and fits each sparse MLP's map; takes off whatever plan is on
 * the host.
 * @param plan whose estimator chooses before anything is computed (`needs: 'input'`).
 * @returns by layer, owned by the caller.
 * @throws PredictorError when the data have no sparse token, or fewer than the rank.
 */
export async function fitCompensation(
  host: SparsityHost,
  plan: Pick<SparsityPlan, 'estimator' | 'layers' | 'compat'>,
  { steps, forward }: CalibrationData,
  { rank, rows = 6144, onProgress }: CompensationOptions,
): Promise<Map<number, MlpCompensation>> {
  const seen = new Map<number, { readonly x: tf.Tensor2D; readonly y: tf.Tensor2D }[]>();
  const { recorder, layers } = recorderOf(plan, Math.max(1, Math.ceil(rows / Math.max(1, steps))), seen);
  const fitted = new Map<number, MlpCompensation>();
  try {
    host.setSparsity({ estimator: recorder, layers, compat: plan.compat, enabled: true, listener: null });
    for (let step = 0; step < steps; step++) await forward(step);
    host.setSparsity(null);
    let done = 0;
    for (const layer of layers.keys()) {
      onProgress?.(done++, layers.size);
      const parts = seen.get(layer) ?? [];
      const [x, y] = [await joined(parts.map(({ x }) => x)), await joined(parts.map(({ y }) => y))];
      try {
        const weight = host.frozenWeight(`model.layers.${layer}.mlp.down_proj`);
        fitted.set(layer, await fitMap(x, y, rank, weight));
      } finally {
        tf.dispose([x, y]);
      }
      tf.dispose(parts.flatMap(({ x, y }) => [x, y]));
      seen.delete(layer);
    }
    onProgress?.(layers.size, layers.size);
    return fitted;
  } catch (error) {
    disposeCompensation(fitted);
    throw error;
  } finally {
    host.setSparsity(null);
    tf.dispose([...seen.values()].flat().flatMap(({ x, y }) => [x, y]));
  }
}

/**
 * The maps that a config asks for; null where it asks for none.
 * @throws EstimatorError when they cannot be had: rank, mode or data do not do.
 */
export async function compensationOf(
  host: SparsityHost,
  plan: Pick<SparsityPlan, 'estimator' | 'layers' | 'compat'>,
  { compensationRank: rank = 0 }: { readonly compensationRank?: number },
  {
    calibration,
    onProgress,
  }: { readonly calibration?: CalibrationData; readonly onProgress?: (progress: BuildProgress) => void },
): Promise<Map<number, MlpCompensation> | null> {
  if (rank === 0 || ![...plan.layers.values()].some(({ mlp }) => mlp > 0)) return null;
  if (!Number.isInteger(rank) || rank < 1 || rank > host.hiddenSize) {
    throw new EstimatorError(
      `compensation_rank must be a whole number from 0 to the model's hidden size ${host.hiddenSize}, got ${rank}`,
    );
  }
  const { needs, applies, mode } = plan.estimator;
  if (needs !== 'input' || applies !== 'gather') {
    throw new EstimatorError(
      `compensation_rank: mode '${mode}' computes every channel before it drops some, so there is nothing to replace; set it to 0, or use svd_<rank>, calibrated_<rank> or static`,
    );
  }
  if (plan.estimator.sharesScores) {
    throw new EstimatorError(
      'compensation_rank: ranks that choose channels together cannot fit what replaces the others, as they prepare a run one after the other; ' +
        'leave shared_selection out, or set it to 0',
    );
  }
  if (calibration === undefined) {
    throw new EstimatorError(
      'compensation_rank: what replaces dropped channels is fitted to data, and none are given; pass getSpftModel `calibration`, or set it to 0',
    );
  }
  return fitCompensation(host, plan, calibration, {
    rank,
    onProgress: (done, total) => onProgress?.({ done, total, name: 'compensation' }),
  });
}

export function disposeCompensation(compensation: ReadonlyMap<number, MlpCompensation>): void {
  for (const { down, up, bias } of compensation.values()) tf.dispose([down, up, bias]);
}

/** An estimator that drops nothing, and keeps of each sparse MLP's sparse rows the input and what `plan` would have dropped of the output. */
function recorderOf(
  { estimator, layers: planned }: Pick<SparsityPlan, 'estimator' | 'layers'>,
  perStep: number,
  seen: Map<number, { readonly x: tf.Tensor2D; readonly y: tf.Tensor2D }[]>,
) {
  const layers = new Map(
    [...planned].filter(([, { mlp }]) => mlp > 0).map(([layer, { mlp }]) => [layer, { mlp, selfAttn: 0 }]),
  );
  const recorder: SparsityEstimator = {
    mode: 'compensation',
    needs: 'activations',
    applies: 'mask',
    selectMlp({ activations, downWeight, ...context }) {
      const { layer, input, layout } = context;
      const count = layout.tokens - layout.denseTokens;
      if (count === 0) return null;
      const keep: ChannelSelection | null = estimator.selectMlp(context);
      if (keep === null) return null;
      const taken = Math.min(count, perStep);
      const at = Int32Array.from({ length: taken }, (_, i) => layout.denseTokens + Math.floor((i * count) / taken));
      const part = noGradient(() =>
        tf.tidy(() => {
          const rows = tf.tensor1d(at, 'int32');
          const x = tf.gather(input, rows) as tf.Tensor2D;
          const h = tf.gather(activations!, rows) as tf.Tensor2D;
          const y = linear(tf.sub(h, maskColumns(h, keep, 0)), downWeight!);
          return { x: tf.keep(x), y: tf.keep(y) };
        }),
      );
      keep.indices.dispose();
      seen.set(layer, [...(seen.get(layer) ?? []), part]);
      return null;
    },
    selectAttention: () => ({ q: null, k: null, v: null, o: null }),
    dispose() {},
  };
  return { recorder, layers };
}

/** All rows as floats, whatever the device keeps: sums of thousands of products are taken of them. */
async function joined(parts: readonly tf.Tensor2D[]): Promise<tf.Tensor2D> {
  if (parts.length === 0) {
    throw new PredictorError(
      'compensation: the data have no token that would be sparse; give rows with a prompt, or make fewer tokens dense (skip_… keys)',
    );
  }
  const values = await Promise.all(parts.map((part) => part.data<'float32'>()));
  const columns = parts[0]!.shape[1];
  const all = new Float32Array(values.reduce((sum, one) => sum + one.length, 0));
  let offset = 0;
  for (const one of values) {
    all.set(one, offset);
    offset += one.length;
  }
  return tf.tensor2d(all, [all.length / columns, columns]);
}
