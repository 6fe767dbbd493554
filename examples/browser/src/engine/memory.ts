/**
 * @file How much memory a run will take, from shapes alone, before anything is loaded. An upper estimate: held against what a run took in the tests.
 */
import { type LlamaConfig, llamaTensors } from '@spft/models';
import type { RunSettings } from '../protocol.js';
import { PageError } from './errors.js';

/** WebAssembly of 32 bits has so much, whatever the machine has. */
const MOST = 2 ** 32;
/** Share of the machine's memory that one tab can count on. */
const SHARE = 0.75;

export interface MemoryEstimate {
  /** Frozen weights, in float32. */
  readonly weights: number;
  /** What a step keeps for its gradients, at most, and its largest products. */
  readonly step: number;
  /** Adapters with gradients and moments, predictors. */
  readonly rest: number;
  readonly total: number;
}

/** Rows of logits that the loss computes at a time. */
const LOSS_ROWS = 1024;

/** @param tokens of the longest batch: samples of it times their length, at most. */
export function estimateMemory(
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
  let weights = 0;
  for (const shape of llamaTensors(config).values()) weights += shape.reduce((product, size) => product * size, 1);
  // Kept of each layer: the two norms' inputs and outputs, q, k, v before and after RoPE, attention's output, gate, up and their product.
  const kept = L * (6 * H + 3 * (N + 2 * K) * d + 3 * I);
  const passing = 6 * Math.max(I, H) + 4 * H;
  const logits = 3 * Math.min(tokens, LOSS_ROWS) * V;
  const adapters = 4 * L * settings.rank * (4 * H + 2 * (N + K) * d);
  const predictors = settings.method === 'sparselora' ? L * 8 * (2 * H + 2 * I) : 0;
  const bytes = (numbers: number) => 4 * numbers;
  const step = bytes(tokens * (kept + passing) + logits);
  const rest = bytes(adapters + predictors);
  return { weights: bytes(weights), step, rest, total: bytes(weights) + step + rest };
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;

/**
 * @param deviceMemory GiB of the machine, as the browser rounds them; null where it does not say.
 * @throws PageError when the run would not fit.
 */
export function requireMemory(config: LlamaConfig, settings: RunSettings, deviceMemory: number | null): MemoryEstimate {
  const tokens = settings.batchSize * Math.min(settings.maxLength, config.maxPositionEmbeddings);
  const estimate = estimateMemory(config, settings, tokens);
  const machine = deviceMemory === null ? Number.POSITIVE_INFINITY : deviceMemory * SHARE * 2 ** 30;
  const most = settings.backend === 'wasm' ? MOST : Number.POSITIVE_INFINITY;
  const limit = Math.min(most, machine);
  if (estimate.total <= limit) return estimate;
  const whose = limit === most ? 'WebAssembly can use at most' : 'a tab on this machine can count on about';
  const advice =
    estimate.weights > limit
      ? 'choose a smaller model'
      : `choose a smaller batch than ${settings.batchSize} or samples shorter than ${settings.maxLength} tokens, or a smaller model`;
  throw new PageError(
    `Too little memory: the run would take up to ${gigabytes(estimate.total)} (weights ${gigabytes(estimate.weights)}, a step of ${tokens.toLocaleString('en')} tokens ${gigabytes(estimate.step)}), and ${whose} ${gigabytes(limit)}. Nothing was loaded: ${advice}.`,
  );
}
