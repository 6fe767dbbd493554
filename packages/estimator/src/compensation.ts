/**
 * @file What dropped channels of an MLP would have given, estimated from the layer's input: the linear map of a low rank that is nearest to it on a
 * few batches of the run's own data. With channels dropped alone, whatever the MLP adds to a token is mostly missing downstream; with the map added, most
 * of it is there, at a few percent of the MLP's arithmetic (docs/ACCURACY.md).
 */
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { type ChannelSelection, linear, maskColumns, noGradient } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import type { CalibrationData } from './calibration.js';
import { PredictorError } from './errors.js';
import { fitMap } from './fit-map.js';
import type { MlpCompensation, SparsityEstimator, SparsityHost, SparsityPlan } from './types.js';

export interface CompensationOptions {
  readonly rank: number;
  /** Most rows that are kept of a layer. Default 6144. */
  readonly rows?: number;
  /** Called before the first map and after each. */
  readonly onProgress?: (done: number, total: number) => void;
}

const OPTIONS: OptionNames<CompensationOptions> = { rank: true, rows: true, onProgress: true };

/** MLP sparsities, by layer, at which a map is wanted. */
export type CompensationLevels = ReadonlyMap<number, readonly number[]>;

/** Maps by the MLP's sparsity, then by layer. */
export type CompensationTable = ReadonlyMap<number, ReadonlyMap<number, MlpCompensation>>;

type Chooser = Pick<SparsityPlan, 'estimator' | 'compat'>;

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
  data: CalibrationData,
  options: CompensationOptions,
): Promise<Map<number, MlpCompensation>> {
  assertKnownOptions('fitCompensation', options, OPTIONS);
  const table = await fitCompensationLevels(host, plan, levelsOf(plan.layers), data, options);
  return new Map([...table.values()].flatMap((maps) => [...maps]));
}

/** The one level of each layer whose MLP is sparse. */
export function levelsOf(layers: SparsityPlan['layers']): CompensationLevels {
  return new Map([...layers].filter(([, { mlp }]) => mlp > 0).map(([layer, { mlp }]) => [layer, [mlp]]));
}

/** Bytes of rows that are kept at once; where levels have more, the data run through the model again. */
const MOST_BYTES = 2 ** 31;

/**
 * The same at several sparsities of each layer, as a planner tries them. As the data run densely, a layer's map at a sparsity does not depend on what other
 * layers do: it is the one that a run fits which has the layer at that sparsity.
 * @returns owned by the caller (`disposeCompensationTable`).
 * @throws PredictorError as `fitCompensation`.
 */
export async function fitCompensationLevels(
  host: SparsityHost,
  chooser: Chooser,
  wanted: CompensationLevels,
  data: CalibrationData,
  options: CompensationOptions,
): Promise<Map<number, Map<number, MlpCompensation>>> {
  assertKnownOptions('fitCompensationLevels', options, OPTIONS);
  const { rank, rows = 6144, onProgress } = options;
  const total = [...wanted.values()].reduce((sum, levels) => sum + levels.length, 0);
  const most = Math.max(1, ...[...wanted.values()].map(({ length }) => length));
  const together = Math.max(1, Math.floor(MOST_BYTES / Math.max(1, wanted.size * rows * host.hiddenSize * 4)) - 1);
  const table = new Map<number, Map<number, MlpCompensation>>();
  let done = 0;
  try {
    for (let from = 0; from < most; from += together) {
      const part = new Map([...wanted].map(([layer, levels]) => [layer, levels.slice(from, from + together)]));
      await fitPart(host, chooser, part, data, { rank, rows }, (layer, level, map) => {
        const ofLevel = table.get(level) ?? new Map<number, MlpCompensation>();
        table.set(level, ofLevel.set(layer, map));
        onProgress?.(++done, total);
      });
    }
    return table;
  } catch (error) {
    disposeCompensationTable(table);
    throw error;
  }
}

/** One pass of the data; each map as it is fitted. */
async function fitPart(
  host: SparsityHost,
  { estimator, compat }: Chooser,
  wanted: CompensationLevels,
  { steps, forward }: CalibrationData,
  { rank, rows }: { readonly rank: number; readonly rows: number },
  fitted: (layer: number, level: number, map: MlpCompensation) => void,
): Promise<void> {
  const seen: Seen = new Map();
  const { recorder, layers } = recorderOf(estimator, wanted, Math.max(1, Math.ceil(rows / Math.max(1, steps))), seen);
  try {
    host.setSparsity({ estimator: recorder, layers, compat, enabled: true, listener: null });
    for (let step = 0; step < steps; step++) await forward(step);
    host.setSparsity(null);
    for (const layer of layers.keys()) {
      const { x: inputs, dropped } = seen.get(layer) ?? { x: [], dropped: new Map<number, tf.Tensor2D[]>() };
      const x = await joined(inputs);
      try {
        const weight = host.frozenWeight(`model.layers.${layer}.mlp.down_proj`);
        for (const level of wanted.get(layer)!) {
          const y = await joined(dropped.get(level) ?? []);
          try {
            fitted(layer, level, await fitMap(x, y, rank, weight));
          } finally {
            y.dispose();
          }
        }
      } finally {
        x.dispose();
      }
      tf.dispose([...inputs, ...[...dropped.values()].flat()]);
      seen.delete(layer);
    }
  } finally {
    host.setSparsity(null);
    for (const { x, dropped } of seen.values()) tf.dispose([...x, ...[...dropped.values()].flat()]);
  }
}

export function disposeCompensationTable(table: CompensationTable): void {
  for (const maps of table.values()) disposeCompensation(maps);
}

export function disposeCompensation(compensation: ReadonlyMap<number, MlpCompensation>): void {
  for (const { down, up, bias } of compensation.values()) tf.dispose([down, up, bias]);
}

/** Of each layer, batch by batch: rows of the input, and of what each sparsity drops of the output. */
type Seen = Map<number, { readonly x: tf.Tensor2D[]; readonly dropped: Map<number, tf.Tensor2D[]> }>;

/** An estimator that drops nothing, and keeps of each MLP's sparse rows the input and what `estimator` would have dropped of the output. */
function recorderOf(estimator: SparsityEstimator, wanted: CompensationLevels, perStep: number, seen: Seen) {
  const layers = new Map(
    [...wanted]
      .filter(([, levels]) => levels.length > 0)
      .map(([layer, levels]) => [layer, { mlp: levels[0]!, selfAttn: 0 }]),
  );
  const recorder: SparsityEstimator = {
    mode: 'compensation',
    needs: 'activations',
    applies: 'mask',
    selectMlp({ activations, downWeight, ...context }) {
      const { layer, input, layout } = context;
      const count = layout.tokens - layout.denseTokens;
      if (count === 0) return null;
      const taken = Math.min(count, perStep);
      const at = Int32Array.from({ length: taken }, (_, i) => layout.denseTokens + Math.floor((i * count) / taken));
      const rowsOf = (from: tf.Tensor2D) => tf.gather(from, tf.tensor1d(at, 'int32')) as tf.Tensor2D;
      const kept = (make: () => tf.Tensor2D) => noGradient(() => tf.keep(tf.tidy(make)));
      const ofLayer = seen.get(layer) ?? { x: [], dropped: new Map<number, tf.Tensor2D[]>() };
      seen.set(layer, ofLayer);
      ofLayer.x.push(kept(() => rowsOf(input)));
      for (const level of wanted.get(layer)!) {
        const keep: ChannelSelection | null = estimator.selectMlp({ ...context, sparsity: level });
        // Where every channel is kept nothing is dropped.
        const y = kept(() => {
          const h = rowsOf(activations!);
          const dropped = keep === null ? tf.zerosLike(h) : tf.sub(h, maskColumns(h, keep, 0));
          return linear(dropped as tf.Tensor2D, downWeight!);
        });
        keep?.indices.dispose();
        ofLayer.dropped.set(level, [...(ofLayer.dropped.get(level) ?? []), y]);
      }
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
