/**
 * @file Every key of a sparsity file besides the layers: type, default, range and meaning. Names and defaults are upstream's (the `spft_`
 * keys of `spft/train/args.py`, and what `configs/sparsity` sets); `compat` and `channel_multiple` are ours.
 */
import { boolean, choice, integer, type KeyTable, number, optional, text, type ValuesOf } from './key-table.js';

export const COMPAT = ['corrected', 'reference'] as const;

/** What the backward pass does with the products that a sparse row computed partly. */
export const GRADIENT = ['exact', 'cut', 'straight_through'] as const;

/** The modes that `@spft/estimator` has from the start; others can be registered there. For hints: who claims a mode is its registry. */
export const KNOWN_MODES = [
  'dense',
  'svd_8',
  'calibrated_8',
  'calibrated_8_static',
  'static',
  'oracle_random_ffn',
  'oracle_norm_ffn',
  'oracle_wanda_ffn',
  'oracle_l2norm',
  'oracle_attention_norm',
  'oracle_norm_ffn_attention_norm',
  'oracle_svd_8',
] as const;

/** A mode is one word; what it means is up to the estimator that claims it. */
export const MODE_PATTERN = '^[A-Za-z][A-Za-z0-9_.:+-]*$';

export const SPARSITY_KEYS = {
  mode: {
    ...text(
      'none',
      'Who chooses the channels: svd_<rank>, calibrated_<rank>, static, dense, an oracle, or a registered name.',
    ),
    pattern: MODE_PATTERN,
  },
  startStep: number(0, 'Sparsity begins here: up to 1 a fraction of the steps, else a step.', { minimum: 0 }),
  endStep: number(1, 'Sparsity ends here: up to 1 a fraction of the steps, else a step.', { minimum: 0 }),
  skipOutputTokens: boolean(false, 'Tokens with a label are computed densely.'),
  skipSinkTokens: integer(0, 'So many first tokens of a sequence are computed densely.', { minimum: 0 }),
  skipTailTokens: integer(
    0,
    'So many tokens before each labelled span, the one that predicts it among them, are computed densely.',
    { minimum: 0 },
  ),
  skipRandomTokens: boolean(false, 'Random tokens are computed densely, as many as have labels.'),
  sparseOutputTokens: number(
    0,
    'Fraction of the labelled tokens that is sparse after all; these then have a say in which channels are kept.',
    { minimum: 0, maximum: 1 },
  ),
  sparseLoraBranch: boolean(false, 'Adapters skip dropped channels too.'),
  qkPerHead: boolean(false, 'Oracles keep the same number of channels in every head.'),
  qkvoSeqAvg: boolean(false, 'Average each sequence before estimating q, k, v and o.'),
  mlpSeqAvg: boolean(true, 'Average each sequence before estimating the MLP.'),
  scoreTokens: optional(
    integer({ minimum: 0 }),
    null,
    'So many tokens of each sequence give the scores, 0: all; not given: 16 in calibrated modes, else as the _seq_avg keys say.',
  ),
  scoreContextTokens: optional(
    boolean(),
    null,
    'Scores come from the sparse tokens alone, so that no label has a say; not given: true, but with compat: reference for svd_<rank>.',
  ),
  compensationRank: integer(
    0,
    'What dropped MLP channels would have given is replaced by a linear estimate of this rank, fitted to a few batches of the data; 0: by nothing.',
    { minimum: 0 },
  ),
  selectionInterval: integer(1, 'Channels are chosen anew every so many steps and kept in between.', { minimum: 1 }),
  denseEvery: integer(0, 'Every so many-th step is dense; 0: none.', { minimum: 0 }),
  gradient: choice(
    GRADIENT,
    'exact',
    'Of sparse rows, exact: of what was computed; cut: the adapters alone; straight_through: of the whole frozen product.',
  ),
  plannedFor: optional(
    text(),
    null,
    'Fingerprint of the model that the sparsities were planned for, by spft sparsity plan; a run of another model says so.',
  ),
  predictorBasepath: optional(text(), null, 'Directory in which predictors are looked up and stored.'),
  ffnSparsity: optional(text(), null, 'Short name of the MLP sparsities, for the name of the run.'),
  qkvoSparsity: optional(text(), null, 'Short name of the attention sparsities, for the name of the run.'),
  compat: choice(
    COMPAT,
    'corrected',
    'reference: repeat three defects of the original, so that published runs can be repeated.',
  ),
  channelMultiple: optional(
    integer({ minimum: 1 }),
    null,
    'Round the kept channels up to a multiple of this; chosen by the backend if not given.',
  ),
} satisfies KeyTable;

/** The keys of a sparsity file besides the layers, complete with defaults. */
export type SparsityValues = ValuesOf<typeof SPARSITY_KEYS>;

/** `layers.3.mlp`, or with the hub layout's prefix. */
export const LAYER_PATTERN = '^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$';

/** `model.layers.3.mlp` → `layers.3.mlp`. */
export function layerName(written: string): string {
  return written.replace(/^model\./, '');
}
