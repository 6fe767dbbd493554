/**
 * @file Every training key: type, default, range and meaning. The one source of the type `TrainConfig`, of the published schema, of the
 * command line's `--help` and of what the loader accepts. Names and defaults are upstream's (`spft/train/args.py`) where it sets them,
 * else those of transformers' `TrainingArguments`; in files and flags they are snake_cased (`learning_rate`), in code camelCased.
 */
import {
  boolean,
  choice,
  integer,
  type KeyShape,
  type KeyTable,
  list,
  number,
  oneOf,
  optional,
  switchable,
  text,
  type ValuesOf,
} from './key-table.js';
import { GRADIENT, MODE_PATTERN } from './sparsity-config.js';

/** Zero or more, one or more, a fraction: the ranges that recur. */
const atLeast0 = { minimum: 0 };
const atLeast1 = { minimum: 1 };
const fraction = { minimum: 0, maximum: 1 };
const belowOne = { minimum: 0, exclusiveMaximum: 1 };
const positive = { exclusiveMinimum: 0 };
/** Unsigned 32-bit, as numpy and PyTorch's set_seed take. */
const seed = { minimum: 0, maximum: 4294967295 };

export const OPTIMIZERS = [
  'adamw_torch',
  'adamw_torch_fused',
  'adamw_hf',
  'adamw',
  'sgd',
  'lion',
  'adafactor',
  ...(['adamw_8bit', 'adamw_bnb_8bit', 'paged_adamw_8bit'] as const),
] as const;
export const SCHEDULERS = [
  ...(['linear', 'cosine', 'constant', 'constant_with_warmup'] as const),
  ...(['cosine_with_restarts', 'polynomial', 'inverse_sqrt', 'warmup_stable_decay'] as const),
] as const;
export const BASE_PRECISIONS = ['bf16', 'fp8', 'nf4', 'fp4'] as const;
export const STRATEGIES = ['no', 'steps', 'epoch'] as const;
export const REPORTERS = ['none', 'all', 'jsonl', 'html', 'tensorboard', 'wandb'] as const;

/** The table, in the order in which `--help` shows it. */
export const TRAIN_KEYS = {
  // Model and data.
  modelNameOrPath: optional(text(), null, 'Directory of a Hugging Face model, or its id on the hub.'),
  dataset: optional(
    text(),
    null,
    'Training data: math10k, csr170k, a parquet, JSON, JSONL, CSV or TSV file, a directory of them, or OWNER/NAME on the hub; several joined by +.',
  ),
  datasetConfig: optional(text(), null, 'Subset of a data set on the hub or in a directory, e.g. rte.'),
  datasetRevision: optional(text(), null, 'Branch, tag or commit of a data set on the hub; also OWNER/NAME@REVISION.'),
  datasetColumns: list(
    [],
    'What the columns of the data set stand for, as FIELD=COLUMN joined by commas, e.g. instruction=query,output=answer.',
  ),
  evalDataset: optional(text(), null, 'Evaluation sets joined by +, e.g. gsm8k+svamp+mawps; "none" for none.'),
  chatTemplateFormat: optional(
    text(),
    null,
    'Jinja chat template that replaces the one of the tokenizer; "none" keeps it.',
  ),
  modelMaxLength: integer(512, 'Longest sample in tokens.', atLeast1),
  maxSeqLength: integer(
    512,
    'Longest sequence in tokens of a packed or padded row; equal to model_max_length.',
    atLeast1,
  ),
  appendConcatToken: boolean(false, 'Append the end-of-sequence token to each sample when packing.'),
  addSpecialTokens: boolean(false, 'Let the tokenizer add its special tokens when packing.'),
  splits: list(
    ['train', 'test'],
    'Names of the training and the evaluation split, joined by commas; of data sets on the hub and in directories.',
  ),
  packing: boolean(false, 'Join samples into rows of max_seq_length tokens.'),
  datasetTextField: optional(text(), 'text', 'Field of a sample that holds its text, for plain-text datasets.'),
  skipBadRows: boolean(false, 'Skip and count dataset rows that cannot be read, instead of stopping at the first.'),

  // Length of the run and batches.
  numTrainEpochs: number(3, 'Passes over the training data.', positive),
  maxSteps: integer(-1, 'Optimizer steps; if positive, overrides num_train_epochs.', { minimum: -1 }),
  perDeviceTrainBatchSize: integer(8, 'Samples per forward pass in training.', atLeast1),
  perDeviceEvalBatchSize: integer(8, 'Samples per forward pass in evaluation.', atLeast1),
  gradientAccumulationSteps: integer(1, 'Forward passes per optimizer step.', atLeast1),
  groupByLength: boolean(false, 'Batches of samples of about the same length.'),
  dataloaderDropLast: boolean(false, 'Leave out the last batch of an epoch where it is not full.'),

  // Optimizer and schedule.
  optim: choice(
    OPTIMIZERS,
    'adamw_torch',
    'Optimizer; the adamw variants are one and the same here. 8bit: moments as bitsandbytes keeps them, in a quarter of the memory.',
  ),
  learningRate: number(5e-5, 'Peak learning rate.', atLeast0),
  weightDecay: number(0, 'Decoupled weight decay of AdamW; L2 penalty of SGD.', atLeast0),
  adamBeta1: number(0.9, 'Decay of the first moment.', belowOne),
  adamBeta2: number(0.999, 'Decay of the second moment.', belowOne),
  adamEpsilon: number(1e-8, 'Added to the root of the second moment.', positive),
  momentum: number(0, 'Momentum of SGD.', belowOne),
  maxGradNorm: number(1, 'Clip gradients to this global norm; 0 for no clipping.', atLeast0),
  lrSchedulerType: choice(SCHEDULERS, 'linear', 'How the learning rate develops after warm-up.'),
  lrSchedulerKwargs: list(
    [],
    'Parameters of the schedule as NAME=NUMBER joined by commas, or an object: num_cycles (cosine_with_restarts, warmup_stable_decay), lr_end, power (polynomial), timescale (inverse_sqrt), num_decay_steps, min_lr_ratio (warmup_stable_decay).',
  ),
  labelSmoothingFactor: number(0, 'So much of a label is spread over the whole vocabulary.', belowOne),
  neftuneNoiseAlpha: optional(number(positive), null, 'Noise on the embeddings in training (NEFTune); 5 is usual.'),
  warmupRatio: number(0, 'Fraction of all steps over which the learning rate rises from 0.', fraction),
  warmupSteps: integer(
    0,
    'Steps over which the learning rate rises from 0; if positive, overrides warmup_ratio.',
    atLeast0,
  ),

  // Logging, evaluation, checkpoints.
  outputDir: text('trainer_output', 'Directory for checkpoints, adapter, logs and report.'),
  runName: optional(text(), null, 'Name of the run in logs and report.'),
  reportTo: list(['all'], 'Where logs go besides the progress bar, joined by commas.', REPORTERS),
  loggingStrategy: choice(STRATEGIES, 'steps', 'When to write log lines.'),
  loggingSteps: optional(
    number(positive),
    null,
    'Steps between log lines; below 1 a share of the run. If not given, a tenth of the run, at most 500.',
  ),
  loggingFirstStep: boolean(false, 'Log the first step too.'),
  evalStrategy: choice(STRATEGIES, 'no', 'When to evaluate during training.'),
  evalSteps: optional(
    number(positive),
    null,
    'Steps between evaluations when eval_strategy is steps; below 1 a share of the run; logging_steps if not given.',
  ),
  evalOnStart: boolean(false, 'Evaluate before the first step too.'),
  saveStrategy: choice(STRATEGIES, 'steps', 'When to write checkpoints.'),
  saveSteps: number(
    500,
    'Steps between checkpoints when save_strategy is steps; below 1 a share of the run.',
    positive,
  ),
  saveOnlyModel: boolean(false, 'Checkpoints without optimizer, which no run can be continued from.'),
  saveTotalLimit: optional(
    integer(atLeast1),
    null,
    'Keep at most so many checkpoints, best and last always; all if not given.',
  ),
  loadBestModelAtEnd: boolean(false, 'Return to the best checkpoint after training.'),
  metricForBestModel: optional(text(), null, 'Metric that decides which checkpoint is best; loss if not given.'),
  greaterIsBetter: optional(
    boolean(),
    null,
    'Whether a greater metric is better; if not given: unless the metric is a loss.',
  ),
  resumeFromCheckpoint: optional(
    switchable(),
    null,
    'Checkpoint to continue from; "true" for the latest in output_dir, "auto" for the latest that can be read, or the start where there is none.',
  ),

  // Randomness, precision, machine.
  seed: integer(42, 'Seed of adapters, dropout, random estimators and shuffling.', seed),
  dataSeed: optional(integer(seed), null, 'Seed of shuffling alone; seed if not given.'),
  bf16: boolean(false, 'Compute in bfloat16, as cuda does by itself; others compute in float32, which the run says.'),
  fp16: boolean(false, 'Compute in float16; no backend does, which the run says.'),
  basePrecision: choice(
    BASE_PRECISIONS,
    'bf16',
    'Frozen weights: bf16 as the backend has them; fp8 (E4M3) for products twice as fast on GPUs from Ada and Hopper on; nf4, fp4 as --peft qlora has them.',
  ),
  fp8KeepTransposed: boolean(
    false,
    'With base_precision fp8: keep the transposed weights that gradients need, one byte a weight more; faster on Ada, hardly on Hopper.',
  ),
  fp8OutlierChannels: optional(
    integer({ minimum: 0, maximum: 240 }),
    null,
    'With base_precision fp8: so many input channels of each layer, those of most energy, are multiplied in twice as many bits; a multiple of 16. If not given 128, with which training loss is 0.8 % above bf16’s instead of 1.3 %; none with shard_base, and on GPUs before Hopper.',
  ),
  modulesToNotConvert: list(
    [],
    'With frozen weights in fp8, nf4 or fp4: linear layers that stay as the backend has them, by the end of a name (k_proj) or a module around them (model.layers.0).',
  ),
  bnb_4bitQuantType: choice(
    ['nf4', 'fp4'],
    'nf4',
    'With --peft qlora or qdora: the code book of the frozen weights, as bitsandbytes has it.',
  ),
  bnb_4bitUseDoubleQuant: boolean(
    false,
    'With weights in 4 bits: their scales in 8 bits too, for 0.37 bits a weight less.',
  ),
  bnb_4bitComputeDtype: optional(
    oneOf(['float32', 'bfloat16', 'float16'] as const),
    null,
    'With weights in 4 bits: what products must be computed in; refused where the backend computes in another. What it computes in if not given.',
  ),
  bnb_4bitEmbeddings: boolean(false, 'With weights in 4 bits: embedding and head in 4 bits too.'),
  sharedSelection: boolean(
    false,
    'With several ranks: channels are chosen by the tokens of all of them and are the same on each; else each chooses by its own, as the original.',
  ),
  shardBase: boolean(
    false,
    'With several ranks: each holds a part of the frozen weights, and layers are gathered ahead of their use; on cuda and blas.',
  ),
  gradientCheckpointing: boolean(false, 'Recompute activations in the backward pass: less memory, more time.'),
  dataloaderNumWorkers: integer(0, 'Workers that prepare batches; batches are prepared in line when 0.', atLeast0),
  ddpFindUnusedParameters: optional(boolean(), null, "PyTorch's; accepted and without effect."),

  // Adapter.
  peft: optional(
    text(),
    'lora',
    'Adapter: lora, dora or the name of a registered method; qlora, qdora on frozen weights in 4 bits; "none" for none.',
  ),
  loraR: integer(32, 'Rank of the adapter.', atLeast1),
  loraAlpha: number(64, 'Scale of the adapter: alpha / r, with use_rslora alpha / sqrt(r).', positive),
  loraDropout: number(0, 'Dropout on the input of the adapter.', belowOne),
  loraTargetModules: list(
    ['q_proj', 'k_proj', 'v_proj', 'o_proj'],
    'Layers that get an adapter, joined by commas: linear layers, lm_head, embed_tokens; "all-linear" for all but these two.',
  ),
  modulesToSave: list(
    [],
    'Modules that are trained in full and saved with the adapter, joined by commas: lm_head, embed_tokens.',
  ),
  useRslora: boolean(false, 'Rank-stabilised scaling.'),

  // Sparsity. Given as flags these override the sparsity file; given in a training file they fill what it leaves out.
  spft: optional(
    text(),
    null,
    'Sparsity file (configs/sparsity), or auto[:FLOPs] to have one planned; none for dense training.',
  ),
  spftMode: {
    ...optional(
      text(),
      null,
      'Who chooses the channels: svd_8, calibrated_8, static, dense, an oracle, or a registered name.',
    ),
    pattern: MODE_PATTERN,
  },
  spftPredictorBasepath: optional(text(), null, 'Directory in which predictors are looked up and stored.'),
  spftSkipSinkTokens: optional(integer(atLeast0), null, 'So many first tokens of a sequence are computed densely.'),
  spftSkipOutputTokens: optional(boolean(), null, 'Tokens with a label are computed densely.'),
  spftSkipTailTokens: optional(
    integer(atLeast0),
    null,
    'So many tokens before each labelled span are computed densely.',
  ),
  spftSkipRandomTokens: optional(boolean(), null, 'Random tokens are computed densely, as many as have labels.'),
  spftStartStep: optional(
    number(atLeast0),
    null,
    'Sparsity begins here: up to 1 a fraction of the steps, else a step.',
  ),
  spftEndStep: optional(number(atLeast0), null, 'Sparsity ends here: up to 1 a fraction of the steps, else a step.'),
  spftSparseLoraBranch: optional(boolean(), null, 'Adapters skip dropped channels too.'),
  spftQkPerHead: optional(boolean(), null, 'Oracles keep the same number of channels in every head.'),
  spftQkvoSeqAvg: optional(boolean(), null, 'Average each sequence before estimating q, k, v and o.'),
  spftMlpSeqAvg: optional(boolean(), null, 'Average each sequence before estimating the MLP.'),
  spftSparseOutputTokens: optional(
    number(fraction),
    null,
    'Fraction of the labelled tokens that is sparse after all; these then have a say in which channels are kept.',
  ),
  spftScoreTokens: optional(integer(atLeast0), null, 'So many tokens of each sequence give the scores; 0: all.'),
  spftScoreContextTokens: optional(boolean(), null, 'Scores come from the sparse tokens alone.'),
  spftCompensationRank: optional(
    integer(atLeast0),
    null,
    'What dropped MLP channels would have given is replaced by a linear estimate of this rank; 0: by nothing.',
  ),
  spftSelectionInterval: optional(integer(atLeast1), null, 'Channels are chosen anew every so many steps.'),
  spftDenseEvery: optional(integer(atLeast0), null, 'Every so many-th step is dense; 0: none.'),
  spftGradient: optional(
    { type: 'string', values: GRADIENT } as KeyShape<(typeof GRADIENT)[number]>,
    null,
    'Of sparse rows: exact, cut or straight_through.',
  ),

  // Kinds of run.
  evalOnly: boolean(false, 'Evaluate the adapter in output_dir; do not train.'),
  enableUnsloth: boolean(
    false,
    "Upstream's switch for Unsloth: adapters on all seven projections, as it does; the fused functions are always on here.",
  ),
  benchmark: boolean(false, 'Measure the speed of steps and stop.'),
} satisfies KeyTable;

/** A complete training config: every key has its value from flag, file or default. */
export type TrainConfig = ValuesOf<typeof TRAIN_KEYS>;
/** Name of a training key in code. */
export type TrainKey = keyof TrainConfig;
