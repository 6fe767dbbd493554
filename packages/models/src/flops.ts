/**
 * @file How much arithmetic a training step takes, counted from shapes: what sparsity saves, apart from what a machine makes of it.
 *
 * A multiplication with its addition counts as 2. Counted are the matrix products of forward and backward: those of the frozen weights
 * (the backward has one, the input's gradient), of the adapters (two: input and weight), of attention, of the head on labelled rows, and
 * of the estimator. Of the last layer's MLP, and of o unless the MLP chooses channels after it, only labelled rows count, and as dense ones: the
 * others are not computed.
 * Elementwise work is left out; it is linear in T·H.
 */
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { keptChannels, type PackedLayout } from '@spft/sparse-ops';
import type { LlamaConfig } from './llama-config.js';

/** The dimensions that count. */
export type FlopsShape = Pick<
  LlamaConfig,
  | 'hiddenSize'
  | 'intermediateSize'
  | 'numHiddenLayers'
  | 'numAttentionHeads'
  | 'numKeyValueHeads'
  | 'headDim'
  | 'vocabSize'
>;

/** The tokens of a batch. */
export interface FlopsTokens {
  readonly layout: Pick<PackedLayout, 'tokens' | 'denseTokens' | 'sequenceStarts'>;
  readonly labelledTokens: number;
}

export interface FlopsMethod {
  /** Adapters: projections by the last part of their name, e.g. `q_proj`. */
  readonly adapters?: { readonly rank: number; readonly targets: readonly string[]; readonly dora?: boolean };
  /** As in a `SparsityPlan` of an estimator that gathers; leave out for dense. An oracle saves nothing, so it is dense here. */
  readonly sparsity?: ReadonlyMap<number, { readonly mlp: number; readonly selfAttn: number }>;
  /** Rank of the predictors; 0 counts no estimator. */
  readonly predictorRank?: number;
  /** Rows that give the scores: the mean of each sequence (default for the MLP), all tokens (default for attention), or so many a sequence. */
  readonly scoreRows?: { readonly mlp?: ScoreRowCount; readonly selfAttn?: ScoreRowCount };
  /** Of the map that replaces what dropped MLP channels would have given (`compensation_rank`); 0 counts none. */
  readonly compensationRank?: number;
  /** Steps that a choice of channels is used for. Default 1. */
  readonly selectionInterval?: number;
  /** What the backward does with sparse products; default `exact`. */
  readonly gradient?: 'exact' | 'cut' | 'straight_through';
  /** Kept channels are rounded up to a multiple of it. Default 1. */
  readonly channelMultiple?: number;
}

const METHOD: OptionNames<FlopsMethod> = {
  ...{ adapters: true, sparsity: true, predictorRank: true, scoreRows: true },
  ...{ compensationRank: true, selectionInterval: true, gradient: true, channelMultiple: true },
};

function checkMethod(call: string, method: FlopsMethod): void {
  assertKnownOptions(call, method, METHOD);
  const { adapters = { rank: 0, targets: [] }, scoreRows = {} } = method;
  assertKnownOptions<NonNullable<FlopsMethod['adapters']>>(call, adapters, { rank: true, targets: true, dora: true });
  assertKnownOptions<NonNullable<FlopsMethod['scoreRows']>>(call, scoreRows, { mlp: true, selfAttn: true });
}

export type ScoreRowCount = 'mean' | 'all' | number;

export interface StepFlops {
  readonly frozen: number;
  readonly adapters: number;
  readonly attention: number;
  readonly head: number;
  readonly estimator: number;
  readonly total: number;
}

/** out and in of the projections, and which side of each drops channels. */
function projections(shape: FlopsShape) {
  const { hiddenSize: H, intermediateSize: I, numAttentionHeads: N, numKeyValueHeads: K, headDim: d } = shape;
  return [
    { name: 'q_proj', block: 'selfAttn', out: N * d, inputs: H, side: 'out' },
    { name: 'k_proj', block: 'selfAttn', out: K * d, inputs: H, side: 'out' },
    { name: 'v_proj', block: 'selfAttn', out: K * d, inputs: H, side: 'out' },
    { name: 'o_proj', block: 'selfAttn', out: H, inputs: N * d, side: 'in' },
    { name: 'gate_proj', block: 'mlp', out: I, inputs: H, side: 'out' },
    { name: 'up_proj', block: 'mlp', out: I, inputs: H, side: 'out' },
    { name: 'down_proj', block: 'mlp', out: H, inputs: I, side: 'in' },
  ] as const;
}

/** Products of one optimizer step's forward and backward over these tokens. */
export function stepFlops(shape: FlopsShape, tokens: FlopsTokens, method: FlopsMethod = {}): StepFlops {
  checkMethod('stepFlops', method);
  const { hiddenSize: H, numAttentionHeads: N, numKeyValueHeads: K, headDim: d, intermediateSize: I } = shape;
  const { tokens: T, denseTokens: D, sequenceStarts } = tokens.layout;
  const { adapters: adapter, channelMultiple: multiple = 1, predictorRank: p = 0 } = method;
  const sequences = sequenceStarts.length - 1;
  const rowsScored = (count: ScoreRowCount) =>
    count === 'all' ? T : count === 'mean' ? sequences : Math.min(T, count * sequences);
  let [frozen, adapters, estimator] = [0, 0, 0];
  for (let layer = 0; layer < shape.numHiddenLayers; layer++) {
    const drop = (T > D && method.sparsity?.get(layer)) || { mlp: 0, selfAttn: 0 };
    const isLast = layer === shape.numHiddenLayers - 1;
    for (const { name, block, out, inputs, side } of projections(shape)) {
      const endsEarly = isLast && (block === 'mlp' || (name === 'o_proj' && drop.mlp === 0));
      const rows = endsEarly ? tokens.labelledTokens : T;
      // Query and o channels follow the kept kv channels, G of them each, so their density is the kv channels'.
      const unit = block === 'mlp' ? I : K * d;
      const density = drop[block] > 0 ? keptChannels(unit, drop[block], multiple) / unit : 1;
      const sparseSize = side === 'out' ? out * density * inputs : out * inputs * density;
      const dense = drop[block] > 0 ? (endsEarly ? rows : D) : rows;
      const backward = { exact: sparseSize, cut: 0, straight_through: out * inputs }[method.gradient ?? 'exact'];
      frozen += 2 * (2 * dense * out * inputs + (rows - dense) * (sparseSize + backward));
      if (!adapter?.targets.includes(name)) continue;
      adapters += 3 * 2 * rows * adapter.rank * (inputs + out);
      // DoRA's norm of W + s·B·A, which carries no gradient.
      if (adapter.dora) adapters += 2 * adapter.rank * inputs * out;
    }
    // Two products forward, and their two back to the input.
    if (drop.mlp > 0) frozen += 2 * 2 * (T - D) * 2 * H * (method.compensationRank ?? 0);
    if (p > 0 && T > D) {
      // Attention: x·A of q, k and v and its Gram matrix; MLP: each row through both predictors.
      const attentionRows = rowsScored(method.scoreRows?.selfAttn ?? 'all');
      const mlpRows = rowsScored(method.scoreRows?.mlp ?? 'mean');
      if (drop.selfAttn > 0) estimator += 2 * attentionRows * p * (3 * H + 3 * p) + 2 * p * p * (N * d + 2 * K * d);
      if (drop.mlp > 0) estimator += 2 * 2 * mlpRows * p * (H + I);
    }
  }
  estimator /= method.selectionInterval ?? 1;
  let pairs = 0;
  for (let b = 0; b + 1 < sequenceStarts.length; b++) {
    const length = sequenceStarts[b + 1]! - sequenceStarts[b]!;
    pairs += (length * (length + 1)) / 2;
  }
  // Two products forward (scores, values) and four backward, over the causal half.
  const attention = shape.numHiddenLayers * 6 * 2 * pairs * N * d;
  const head = 2 * 2 * tokens.labelledTokens * H * shape.vocabSize;
  return { frozen, adapters, attention, head, estimator, total: frozen + adapters + attention + head + estimator };
}

/** Share of the dense step's arithmetic that the sparse one takes, with the same adapters on the same tokens. */
export function flopsShare(shape: FlopsShape, tokens: FlopsTokens, method: FlopsMethod): number {
  checkMethod('flopsShare', method);
  const { sparsity: _, ...dense } = method;
  return stepFlops(shape, tokens, method).total / stepFlops(shape, tokens, dense).total;
}
