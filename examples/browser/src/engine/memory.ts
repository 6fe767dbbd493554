/**
 * @file How much memory a run will take on the active backend, from shapes and from what the weights' files are in, before anything is loaded. How weights will lie is
 * the backend's own word (`weightMemory`). An upper estimate: held against what a run took in the tests.
 */
import type { LlamaConfig, WeightMemory } from '@spft/models';
import { defaultChunkRows } from '@spft/sparse-ops/internals';
import type { RunSettings } from '../protocol.js';
import { PageError } from './errors.js';

/** Share of the machine's memory that one tab can count on. */
const SHARE = 0.75;

export interface MemoryEstimate {
  /** Frozen weights. */
  readonly weights: number;
  /** What a step keeps for its gradients, at most, and its largest products. */
  readonly step: number;
  /** Adapters with gradients and moments, predictors. */
  readonly rest: number;
  readonly total: number;
  /** The largest tensor of all. */
  readonly largest: number;
}

/** What the active backend can hold; infinite where the machine's memory is all that counts. */
export interface BackendLimits {
  readonly bytes: number;
  /** Of one tensor. */
  readonly tensorBytes: number;
  /** As the subject of a sentence: 'WebAssembly'. */
  readonly whose: string;
}

/**
 * @param weights as `weightMemory` says of them.
 * @param tokens of the longest batch: samples of it times their length, at most.
 */
export function estimateMemory(
  weights: WeightMemory,
  config: LlamaConfig,
  settings: Pick<RunSettings, 'rank' | 'method'>,
  tokens: number,
): MemoryEstimate {
  const {
    hiddenSize: H,
    intermediateSize: I,
    numHiddenLayers: L,
    numAttentionHeads: N,
    numKeyValueHeads: K,
    headDim: d,
    vocabSize: V,
  } = config;
  // Kept of each layer: the two norms' inputs and outputs, q, k, v before and after RoPE, attention's output, gate, up and their product.
  const kept = L * (6 * H + 3 * (N + 2 * K) * d + 3 * I);
  const passing = 6 * Math.max(I, H) + 4 * H;
  const logits = Math.min(tokens, defaultChunkRows(V)) * V;
  const adapters = 4 * L * settings.rank * (4 * H + 2 * (N + K) * d);
  const predictors = settings.method === 'sparselora' ? L * 8 * (2 * H + 2 * I) : 0;
  const bytes = (numbers: number) => 4 * numbers;
  const step = bytes(tokens * (kept + passing) + 3 * logits);
  const rest = bytes(adapters + predictors);
  const largest = Math.max(weights.largest, bytes(logits), bytes(tokens * Math.max(I, H)));
  return { weights: weights.bytes, step, rest, total: weights.bytes + step + rest, largest };
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(bytes < 1e9 ? 2 : 1)} GB`;

/**
 * @param weights as `weightMemory` says of them on the active backend.
 * @param limits of the active backend.
 * @param deviceMemory GiB of the machine, as the browser rounds them; null where it does not say.
 * @throws PageError when the run would not fit.
 */
export function requireMemory(
  weights: WeightMemory,
  config: LlamaConfig,
  settings: RunSettings,
  limits: BackendLimits,
  deviceMemory: number | null,
): MemoryEstimate {
  const tokens = settings.batchSize * Math.min(settings.maxLength, config.maxPositionEmbeddings);
  const estimate = estimateMemory(weights, config, settings, tokens);
  const machine = deviceMemory === null ? Number.POSITIVE_INFINITY : deviceMemory * SHARE * 2 ** 30;
  const limit = Math.min(limits.bytes, machine);
  const refuse = (what: string, isOfWeights: boolean): never => {
    const advice = isOfWeights
      ? 'choose a smaller model'
      : `choose a smaller batch than ${settings.batchSize} or samples shorter than ${settings.maxLength} tokens, or a smaller model`;
    throw new PageError(`Too little memory: ${what}. Nothing was loaded: ${advice}.`);
  };
  if (estimate.total > limit) {
    const whose =
      limit === limits.bytes ? `${limits.whose} can use at most` : 'a tab on this machine can count on about';
    const parts = `weights ${gigabytes(estimate.weights)}, a step of ${tokens.toLocaleString('en')} tokens ${gigabytes(estimate.step)}`;
    refuse(
      `the run would take up to ${gigabytes(estimate.total)} (${parts}), and ${whose} ${gigabytes(limit)}`,
      estimate.weights > limit,
    );
  }
  if (estimate.largest > limits.tensorBytes) {
    refuse(
      `its largest tensor would take up to ${gigabytes(estimate.largest)}, and ${limits.whose} has room for ${gigabytes(limits.tensorBytes)} in one piece`,
      weights.largest > limits.tensorBytes,
    );
  }
  return estimate;
}
