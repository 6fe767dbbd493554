/**
 * @file `getSpftModel`: sparsity for a model, as the original's quick start has it (upstream `spft/api.py`). A config and a model go in; what
 * comes out still is the model for a trainer, plus the schedule and an account of what is sparse.
 */
import { matchLayers, snakeCase } from '@spft/config';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { keptChannels } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { type CompensationLevels, type CompensationTable, disposeCompensation, levelsOf } from './compensation.js';
import { requestCompensation } from './compensation-request.js';
import { EstimatorError } from './errors.js';
import { predictorsDigest, textDigest } from './fingerprint.js';
import { makePredictors, type PredictorRequest } from './make-predictors.js';
import { assertPredictorShapes } from './predictor-check.js';
import { type BuildProgress, Predictors } from './predictors.js';
import { assertKnownMode, createEstimator } from './registry.js';
import { reusingEstimator } from './reuse.js';
import { isSparseStep, type RunPosition } from './schedule.js';
import { keptPerHead } from './select-channels.js';
import { sparsityHostOf } from './sparsity-host.js';
import { sparsityText } from './sparsity-text.js';
import { CONFIG_NAMES, SPFT_OPTION_NAMES, type SparsityConfig, type SpftOptions } from './spft-options.js';
import { denseTokens, type TokenPolicy } from './token-policy.js';
import type { Compat, MlpCompensation, SparsityHost, SparsityPlan, TrainingSparsity } from './types.js';

/** A model to which sparsity can be attached, or one that wraps such a model (a `PeftModel`). */
export type SparsityAttachable =
  | SparsityHost
  | { readonly host: SparsityAttachable }
  | { readonly base: SparsityAttachable }
  | { readonly model: SparsityAttachable };

/**
 * Makes a model compute sparsely: its plan is attached to the model underneath.
 * @param model `LlamaForCausalLM`, `PeftModel`, or anything else with a `SparsityHost` in it; not taken over.
 * @throws ConfigError when a layer pattern matches no layer of the model.
 * @throws EstimatorError when no estimator claims the mode, it has no rule for a kind of module that is to be sparse, or scores are to be shared and it has none.
 * @throws PredictorError when predictors do not fit the model, or cannot be built.
 */
export async function getSpftModel<M extends SparsityAttachable>(
  model: M,
  config: SparsityConfig,
  options: SpftOptions = {},
): Promise<SpftModel<M>> {
  assertKnownOptions('getSpftModel', config, CONFIG_NAMES);
  assertKnownOptions('getSpftModel', options, SPFT_OPTION_NAMES);
  const host = sparsityHostOf(model);
  assertKnownMode(config.mode);
  if (config.sparseLoraBranch) {
    throw new EstimatorError(
      'sparse_lora_branch: true is not available: the adapter branch always sees all channels, as in all published presets; ' +
        'remove the key or set it to false',
    );
  }
  const matched = matchLayers(config.sparsity, host.layerCount, config.source);
  const isDense = config.mode === 'dense' || config.mode === 'none';
  const layers = new Map(isDense ? [] : [...matched].filter(([, { mlp, selfAttn }]) => mlp > 0 || selfAttn > 0));
  const compat = options.compat ?? config.compat;
  const channelMultiple =
    options.channelMultiple ?? config.channelMultiple ?? (tf.getBackend() === 'cuda' ? CUDA_CHANNEL_MULTIPLE : 1);
  if (!Number.isInteger(channelMultiple) || channelMultiple < 1) {
    throw new RangeError(`getSpftModel: channelMultiple must be a whole number ≥ 1, got ${channelMultiple}`);
  }

  let predictors: Predictors | null = null;
  const interval = config.selectionInterval ?? 1;
  if (!Number.isInteger(interval) || interval < 1) {
    throw new RangeError(`getSpftModel: selectionInterval must be a whole number ≥ 1, got ${interval}`);
  }
  const chooser = await createEstimator({
    mode: config.mode,
    heads: host.headLayout,
    compat,
    channelMultiple,
    qkPerHead: config.qkPerHead,
    qkvoSeqAvg: config.qkvoSeqAvg,
    mlpSeqAvg: config.mlpSeqAvg,
    scoreTokens: config.scoreTokens,
    scoreContextTokens: config.scoreContextTokens,
    shareScores: options.shareScores,
    modules: {
      mlp: [...layers.values()].some(({ mlp }) => mlp > 0),
      selfAttn: [...layers.values()].some(({ selfAttn }) => selfAttn > 0),
    },
    predictors: async (rank, kind) => {
      const { calibration, onProgress } = options;
      const request = { host, layers, rank, kind, calibration, onProgress };
      predictors = await obtainPredictors(request, options.predictors);
      return predictors;
    },
  });
  if (options.shareScores && layers.size > 0 && !chooser.sharesScores) {
    chooser.dispose();
    throw new EstimatorError(
      `mode '${config.mode}' chooses without scores that ranks could add up: leave shared_selection out, or take svd_<rank>, calibrated_<rank>, ` +
        'or an estimator made by scoringEstimator() with the request as its rules',
    );
  }
  const compensate = {
    ...{ channelMultiple, calibration: options.calibration, source: options.compensation },
    ...{ onProgress: options.onProgress, choice: () => choiceOf(config, compat, channelMultiple, predictors) },
  };
  let compensation: Map<number, MlpCompensation> | null = null;
  try {
    const { compensationRank: rank = 0 } = config;
    const wanted = levelsOf(layers);
    if (rank !== 0 && wanted.size > 0) {
      const table = await requestCompensation(host, { estimator: chooser, compat }, { ...compensate, rank, wanted });
      compensation = new Map([...wanted].map(([layer, [level]]) => [layer, table.get(level!)!.get(layer)!]));
    }
  } catch (error) {
    chooser.dispose();
    throw error;
  }
  const at = { step: 0 };
  const estimator = interval > 1 ? reusingEstimator(chooser, interval, () => at.step) : chooser;
  const { gradient = 'exact' } = config;
  const plan: SparsityPlan = {
    ...(compensation && { compensation }),
    estimator,
    layers,
    compat,
    gradient,
    enabled: true,
    listener: options.listener ?? null,
  };
  host.setSparsity(plan);
  const spft = new SpftModel(
    model,
    host,
    plan,
    { ...config, compat, channelMultiple },
    predictors,
    at,
    options.calibration?.data,
    (rank, wanted, onProgress) =>
      requestCompensation(host, { estimator: chooser, compat }, { ...compensate, rank, wanted, onProgress }),
  );
  plan.training = spft;
  return spft;
}

/** By what an MLP's channels are chosen, so that maps which were fitted to another choice are not taken for these. */
async function choiceOf(
  { mode, scoreTokens, scoreContextTokens, mlpSeqAvg }: SparsityConfig,
  compat: Compat,
  channelMultiple: number,
  predictors: Pick<Predictors, 'projections' | 'norms'> | null,
): Promise<string> {
  const digest = predictors && (await predictorsDigest(predictors));
  const keys = [mode, scoreTokens ?? null, scoreContextTokens ?? null, mlpSeqAvg, compat, channelMultiple, digest];
  return textDigest(JSON.stringify(keys));
}

/** Tensor cores want it: on an H200 3072×4096 times 4096×143 runs at 51 TFLOP/s, with 144 columns at 298. */
const CUDA_CHANNEL_MULTIPLE = 16;

async function obtainPredictors(request: PredictorRequest, given: SpftOptions['predictors']): Promise<Predictors> {
  const { host, layers, rank, kind } = request;
  const demands = { rank, calibrated: kind?.calibrated ?? false, norms: kind?.norms, layers };
  if (given === undefined) return makePredictors(request);
  if (given instanceof Predictors) {
    assertPredictorShapes(given, host, demands);
    return given;
  }
  const found = await given(request);
  try {
    assertPredictorShapes(found, host, demands);
  } catch (error) {
    found.dispose();
    throw error;
  }
  return found;
}

type VariablesOf<M> = M extends { readonly variables: infer V } ? V : never;
type RecordableOf<M> = M extends { readonly recordable?: infer Recordable } ? Recordable : undefined;
type LossArguments<M> = M extends { loss(...args: infer A): tf.Scalar } ? A : never[];

/** Keys of a config that say where something lies or comes from, and nothing of what is computed. */
const PLACES = new Set(['source', 'baseModel', 'predictorPath', 'predictorBasepath', 'plannedFor']);

/** Channels of one module that a sparse step computes. */
export interface ModuleSummary {
  /** Fraction dropped, as configured; 0 is dense. */
  readonly sparsity: number;
  /** Of intermediate channels for the MLP, of kv channels for attention. */
  readonly kept: number;
  readonly total: number;
  /** kept / total: after rounding, so a little above 1 − sparsity. */
  readonly density: number;
}

export interface LayerSummary {
  readonly layer: number;
  readonly mlp: ModuleSummary;
  readonly selfAttn: ModuleSummary;
}

/** A model with its sparsity. For a trainer it is the model itself: `variables` and `loss` are the model's own. */
export class SpftModel<M = SparsityAttachable> implements TrainingSparsity {
  /** Make with `getSpftModel`. */
  constructor(
    /** What `getSpftModel` was given. */
    readonly model: M,
    readonly host: SparsityHost,
    readonly plan: SparsityPlan,
    /** As given, with `compat` and `channelMultiple` as they are in force. */
    readonly config: SparsityConfig & { readonly channelMultiple: number },
    /** Of the estimator, which owns them; null where it needs none. */
    private readonly predictors: Pick<Predictors, 'projections' | 'norms'> | null = null,
    private readonly at: { step: number } = { step: 0 },
    /** To which the plan's compensation was fitted. */
    private readonly compensationData: string | undefined = undefined,
    private readonly requestMaps: SpftModel['compensationTable'] | null = null,
  ) {}

  /**
   * What would replace dropped MLP channels (`compensation_rank`) at other sparsities than the plan's, as a planner tries them: by the same estimator,
   * fitted to the same data. Takes the plan off the host.
   * @param wanted MLP sparsities by layer.
   * @returns owned by the caller (`disposeCompensationTable`).
   * @throws EstimatorError when they cannot be had: rank, sparsities, mode or data do not do.
   */
  compensationTable(
    rank: number,
    wanted: CompensationLevels,
    onProgress?: (progress: BuildProgress) => void,
  ): Promise<CompensationTable> {
    if (this.requestMaps === null) throw new TypeError('compensationTable: make the model with getSpftModel');
    return this.requestMaps(rank, wanted, onProgress);
  }

  /** Itself: by this a trainer knows which tokens are dense, and tells where the run is. */
  get sparsity(): this {
    return this;
  }

  /** Of the model, where it says so. */
  get vocabSize(): number | undefined {
    return (this.model as { vocabSize?: number }).vocabSize;
  }

  get variables(): VariablesOf<M> {
    return (this.model as { variables: VariablesOf<M> }).variables;
  }

  /** The model's, where it has it: what a trainer needs to record steps. */
  get recordable(): RecordableOf<M> {
    return (this.model as { recordable?: unknown }).recordable as RecordableOf<M>;
  }

  loss(...args: LossArguments<M>): tf.Scalar {
    return (this.model as { loss(...args: LossArguments<M>): tf.Scalar }).loss(...args);
  }

  /** Which tokens the config wants dense. */
  get tokenPolicy(): TokenPolicy {
    return this.config;
  }

  /** [T] 1 where a token is dense: what a collation needs. Bound to this model. */
  readonly denseTokens = (labels: ArrayLike<number>, lengths: readonly number[], seed = 0): Uint8Array =>
    denseTokens(labels, lengths, this.tokenPolicy, seed);

  /**
   * [T] 1 where a token of these prompts would be dense were each followed by an answer: what `generate` needs to read prompts as a sparse step does. Bound.
   * @param lengths tokens of each prompt.
   */
  readonly densePromptTokens = (lengths: readonly number[]): Uint8Array => {
    const followed = lengths.map((length) => length + 1);
    const labels = followed.flatMap((length) => Array.from({ length }, (_, t) => (t < length - 1 ? -100 : 0)));
    const dense = this.denseTokens(labels, followed);
    return dense.filter((_, token) => labels[token] === -100);
  };

  /** Switches sparsity on or off for the step that begins, by `start_step` and `end_step`; returns whether it is on. */
  update(position: RunPosition): boolean {
    this.at.step = position.step;
    this.plan.enabled = isSparseStep(this.config, position);
    return this.plan.enabled;
  }

  /** What the model says of itself, and its sparsity. */
  async identity(): Promise<Record<string, string>> {
    const { identity } = this.model as { identity?: () => Promise<Record<string, string>> };
    const texts = (await identity?.call(this.model)) ?? {};
    // A host knows of the plan that it carries.
    return 'sparsity.mode' in texts ? texts : { ...texts, ...(await this.sparsityIdentity()) };
  }

  /** The config's keys as they are in force, and a digest of the predictors. */
  async sparsityIdentity(): Promise<Record<string, string>> {
    const texts: Record<string, string> = {};
    for (const [key, value] of Object.entries(this.config)) {
      if (PLACES.has(key) || value === undefined) continue;
      texts[`sparsity.${snakeCase(key)}`] =
        key === 'sparsity' ? sparsityText(this.config.sparsity) : JSON.stringify(value);
    }
    if (this.predictors !== null) texts['sparsity.predictors'] = await predictorsDigest(this.predictors);
    // Not of the maps themselves: made anew where a run goes on, they may differ in their last bits.
    if (this.plan.compensation) texts['sparsity.compensation'] = this.compensationData ?? 'unnamed data';
    return texts;
  }

  /** Dense from here on, for evaluation and generation; `update` switches on again. */
  disable(): void {
    this.plan.enabled = false;
  }

  /** What a sparse step computes, layer by layer. */
  summary(): LayerSummary[] {
    const { host, config, plan } = this;
    const { kvHeads, headDim } = host.headLayout;
    const multiple = config.channelMultiple;
    const module = (sparsity: number, total: number, kept: () => number): ModuleSummary => {
      const count = sparsity > 0 ? Math.min(total, kept()) : total;
      return { sparsity, kept: count, total, density: count / total };
    };
    return Array.from({ length: host.layerCount }, (_, layer) => {
      const { mlp, selfAttn } = plan.layers.get(layer) ?? { mlp: 0, selfAttn: 0 };
      const [I, kv] = [host.intermediateSize, kvHeads * headDim];
      return {
        layer,
        mlp: module(mlp, I, () => keptChannels(I, mlp, multiple)),
        selfAttn: module(selfAttn, kv, () =>
          config.qkPerHead
            ? kvHeads * keptPerHead(kvHeads, headDim, selfAttn, multiple)
            : keptChannels(kv, selfAttn, multiple),
        ),
      };
    });
  }

  /** Takes the plan off the model and frees the estimator; the model itself stays. */
  dispose(): void {
    this.host.setSparsity(null);
    this.plan.estimator.dispose();
    if (this.plan.compensation) disposeCompensation(this.plan.compensation);
  }
}
