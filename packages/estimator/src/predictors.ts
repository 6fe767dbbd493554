/**
 * @file The predictors of a model: which projections have one, building them from the weights, and what they weigh.
 */

import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import type * as tf from '@tensorflow/tfjs';
import { PredictorError } from './errors.js';
import { fingerprintOf, type ModelFingerprint } from './fingerprint.js';
import { buildPredictor, LOW_RANK_OPTIONS, type LowRank, type LowRankOptions, requireRank } from './low-rank.js';
import type { SparsityHost } from './types.js';

export type { LowRank } from './low-rank.js';

/** The predictors of one decoder layer; null where the module has none. */
export interface LayerPredictors {
  readonly mlp: { readonly gate: LowRank; readonly up: LowRank } | null;
  readonly selfAttn: { readonly q: LowRank; readonly k: LowRank; readonly v: LowRank } | null;
}

/** Which modules need predictors, by layer index; the `layers` of a plan, or of `matchLayers`, will do: what is sparse needs one. */
export type PredictedLayers = ReadonlyMap<
  number,
  { readonly mlp: number | boolean; readonly selfAttn: number | boolean }
>;

const MODULES = { mlp: ['gate', 'up'], self_attn: ['q', 'k', 'v'] } as const;

/** Full names, as PEFT has them, of the projections that get a predictor: `model.layers.0.mlp.gate_proj`, … */
export function predictedProjections(layers: PredictedLayers): string[] {
  return [...layers].flatMap(([layer, { mlp, selfAttn }]) => [
    ...(mlp ? projectionNames(layer, 'mlp') : []),
    ...(selfAttn ? projectionNames(layer, 'self_attn') : []),
  ]);
}

function projectionNames(layer: number, module: keyof typeof MODULES): string[] {
  return MODULES[module].map((projection) => `model.layers.${layer}.${module}.${projection}_proj`);
}

/** On what predictors were fitted. */
export interface CalibrationRecord {
  /** Tokens that were seen. */
  readonly tokens: number;
  /** Tells the data from others; null where it was not said. */
  readonly data: string | null;
}

/** Low-rank predictors by projection. Owns their tensors. */
export class Predictors {
  readonly layers: ReadonlyMap<number, LayerPredictors>;

  /**
   * @param projections by full name, e.g. `model.layers.0.mlp.gate_proj`; taken over.
   * @param fingerprint of the model that they were made from; null where a file does not say.
   * @param calibration null for those made from the weights alone.
   * @param norms root mean square of each channel on the calibration's data, by `model.layers.N.mlp` and `model.layers.N.self_attn.q_proj`, …;
   * taken over.
   */
  constructor(
    readonly rank: number,
    readonly projections: ReadonlyMap<string, LowRank>,
    readonly fingerprint: ModelFingerprint | null,
    readonly calibration: CalibrationRecord | null = null,
    readonly norms: ReadonlyMap<string, tf.Tensor1D> = new Map(),
  ) {
    const indices = [...projections.keys()].map((name) => Number(/^model\.layers\.(\d+)\./.exec(name)?.[1]));
    this.layers = new Map(
      [...new Set(indices)].map((layer) => {
        const found = (module: keyof typeof MODULES) => projectionNames(layer, module).map((n) => projections.get(n));
        const [gate, up] = found('mlp');
        const [q, k, v] = found('self_attn');
        return [layer, { mlp: gate && up ? { gate, up } : null, selfAttn: q && k && v ? { q, k, v } : null }];
      }),
    );
  }

  dispose(): void {
    for (const { a, b } of this.projections.values()) {
      a.dispose();
      b.dispose();
    }
    for (const norm of this.norms.values()) norm.dispose();
  }

  /** The mode that these serve, as files say it: `svd_8`, `calibrated_8`, `calibrated_8_static`, `static`. */
  get mode(): string {
    const norms = this.norms.size > 0 ? 'static' : '';
    if (this.rank === 0) return norms;
    return [this.calibration ? `calibrated_${this.rank}` : `svd_${this.rank}`, ...(norms ? [norms] : [])].join('_');
  }
}

/** Names of the norms that layers need. */
export function normNames(layers: PredictedLayers): string[] {
  return [...layers].flatMap(([layer, { mlp, selfAttn }]) => [
    ...(mlp ? [`model.layers.${layer}.mlp`] : []),
    ...(selfAttn ? projectionNames(layer, 'self_attn') : []),
  ]);
}

export interface BuildProgress {
  readonly done: number;
  readonly total: number;
  /** The projection that is being built; the last one when all are done. */
  readonly name: string;
}

export interface BuildOptions extends LowRankOptions {
  /** Called before the first projection and after each. */
  readonly onProgress?: (progress: BuildProgress) => void;
}

export const BUILD_OPTIONS: OptionNames<BuildOptions> = { ...LOW_RANK_OPTIONS, onProgress: true };

/**
 * Builds predictors from the frozen weights; one weight at a time, so little memory is needed beside the model.
 * @throws PredictorError when the rank exceeds a projection, or a weight is not finite.
 */
export async function buildPredictors(
  host: SparsityHost,
  layers: PredictedLayers,
  rank: number,
  given: BuildOptions = {},
): Promise<Predictors> {
  assertKnownOptions('buildPredictors', given, BUILD_OPTIONS);
  const { onProgress, ...options } = given;
  const names = predictedProjections(layers);
  const projections = new Map<string, LowRank>();
  try {
    const fingerprint = await fingerprintOf(host);
    for (const [done, name] of names.entries()) {
      onProgress?.({ done, total: names.length, name });
      projections.set(name, await named(name, () => buildPredictor(host.frozenWeight(name), rank, options)));
    }
    if (names.length > 0) onProgress?.({ done: names.length, total: names.length, name: names.at(-1)! });
    return new Predictors(rank, projections, fingerprint);
  } catch (error) {
    new Predictors(rank, projections, null).dispose();
    throw error;
  }
}

/** @throws PredictorError when the rank exceeds a projection: before anything is computed for the others. */
export function requireRankOfAll(host: SparsityHost, layers: PredictedLayers, rank: number): void {
  for (const name of predictedProjections(layers)) requireRank(projectionShape(name, host), rank, name);
}

async function named<T>(name: string, build: () => Promise<T>): Promise<T> {
  try {
    return await build();
  } catch (error) {
    if (!(error instanceof PredictorError)) throw error;
    throw new PredictorError(`${name}: ${error.message}`, { cause: error });
  }
}

/** Sizes of a model, as far as predictors go. */
export type PredictedShape = Pick<SparsityHost, 'hiddenSize' | 'intermediateSize' | 'headLayout'>;

/** [out, in] of a projection that gets a predictor, by its full or last name. */
export function projectionShape(
  name: string,
  { hiddenSize, intermediateSize, headLayout }: PredictedShape,
): [number, number] {
  const { heads, kvHeads, headDim } = headLayout;
  if (/(gate|up)_proj$/.test(name)) return [intermediateSize, hiddenSize];
  return [(name.endsWith('q_proj') ? heads : kvHeads) * headDim, hiddenSize];
}

/** Bytes of all predictors' elements: a rank-8 set for Llama-3-8B has 14,155,776 elements, 28 MB in bf16. */
export function predictorBytes(
  shape: PredictedShape,
  layers: PredictedLayers,
  rank: number,
  bytesPerElement: number,
): number {
  return predictedProjections(layers).reduce((sum, name) => {
    const [out, inputs] = projectionShape(name, shape);
    return sum + rank * (out + inputs) * bytesPerElement;
  }, 0);
}
