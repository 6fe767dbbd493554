/**
 * @file What a run's keys say of the frozen weights: `--peft qlora` and `qdora` are LoRA and DoRA on weights in 4 bits (QLoRA, Dettmers et al. 2023), by the
 * names that bitsandbytes and transformers have for the rest.
 */
import { createHash } from 'node:crypto';
import { TRAIN_KEYS, type TrainConfig } from '@spft/config';
import type { LlamaForCausalLM, LoadOptions, TrainableModel } from '@spft/models';
import { frozenNumbers } from '@spft/models/internals';
import { chooseOutlierChannels, type Sample, type SampleSource } from '@spft/trainer';
import * as tf from '@tensorflow/tfjs';
import { CliError } from '../errors.js';

/** The keys that decide it. */
export type FrozenKeys = Pick<
  TrainConfig,
  | 'peft'
  | 'basePrecision'
  | 'fp8KeepTransposed'
  | 'fp8OutlierChannels'
  | 'modulesToNotConvert'
  | 'bnb_4bitQuantType'
  | 'bnb_4bitUseDoubleQuant'
  | 'bnb_4bitComputeDtype'
  | 'bnb_4bitEmbeddings'
>;

export type FrozenOptions = Pick<
  LoadOptions,
  | 'basePrecision'
  | 'keepTransposed'
  | 'outlierChannels'
  | 'modulesToNotConvert'
  | 'doubleQuantisation'
  | 'quantiseEmbeddings'
>;

const ON_4_BITS: Readonly<Record<string, string>> = { qlora: 'lora', qdora: 'dora' };

/** The adapter's method of a key `peft`: that of `qlora` is `lora`. */
export const adapterMethod = (peft: string): string => ON_4_BITS[peft] ?? peft;

/** Whether a key `peft` asks for frozen weights in 4 bits. */
export const wants4Bits = (peft: string | null): boolean => peft !== null && Object.hasOwn(ON_4_BITS, peft);

/** What the active backend computes products in. */
function computeDtype(): 'float32' | 'bfloat16' {
  // `cuda` says what it has weights in; the others know float32 alone.
  const { weightType } = tf.backend() as { weightType?: unknown };
  return weightType === 'bf16' ? 'bfloat16' : 'float32';
}

/** What the keys `bf16` and `fp16` ask for and the active backend does not do; null where it does. */
export function precisionNote({ bf16, fp16 }: Pick<TrainConfig, 'bf16' | 'fp16'>): string | null {
  const computes = computeDtype();
  const key = fp16 ? 'fp16' : bf16 && computes !== 'bfloat16' ? 'bf16' : null;
  return key && `${key} has no effect: the backend '${tf.getBackend()}' computes in ${computes}`;
}

/**
 * How the base is to be loaded on the active backend.
 * @throws CliError for keys that contradict each other, and for a dtype that the backend does not compute in.
 */
export function frozenOptions(keys: FrozenKeys): FrozenOptions {
  const { peft, basePrecision: asked, fp8KeepTransposed: keepTransposed, bnb_4bitQuantType: type } = keys;
  const in4Bits = wants4Bits(peft);
  if (in4Bits && asked === 'fp8')
    throw new CliError(`peft: ${peft} has frozen weights in ${type}, base_precision says fp8; leave one of them out`);
  if ((asked === 'nf4' || asked === 'fp4') && type !== TRAIN_KEYS.bnb_4bitQuantType.default && type !== asked)
    throw new CliError(`base_precision is ${asked} and bnb_4bit_quant_type ${type}; leave one of them out`);
  const basePrecision = in4Bits && asked === 'bf16' ? type : asked;
  const is4Bits = basePrecision === 'nf4' || basePrecision === 'fp4';
  const wanted = keys.bnb_4bitComputeDtype;
  if (is4Bits && wanted !== null && wanted !== computeDtype()) {
    throw new CliError(
      `bnb_4bit_compute_dtype: the backend '${tf.getBackend()}' computes in ${computeDtype()}, not in ${wanted}; leave it out` +
        (tf.getBackend() === 'cuda'
          ? ', or set SPFT_CUDA_PRECISION=float32 for float32'
          : ', or choose cuda for bfloat16'),
    );
  }
  return {
    ...{ basePrecision, keepTransposed },
    ...(keys.fp8OutlierChannels !== null && { outlierChannels: keys.fp8OutlierChannels }),
    modulesToNotConvert: keys.modulesToNotConvert,
    ...{ doubleQuantisation: keys.bnb_4bitUseDoubleQuant, quantiseEmbeddings: keys.bnb_4bitEmbeddings },
  };
}

/** Where the base is in FP8 and has outlier channels to choose: by samples all over the run's data, before anything else. */
export function chooseOutliers(
  { basePrecision, fp8OutlierChannels }: Pick<FrozenKeys, 'basePrecision' | 'fp8OutlierChannels'>,
  model: TrainableModel,
  samples: readonly Sample[] | SampleSource,
): void {
  if (basePrecision === 'fp8' && fp8OutlierChannels !== 0) chooseOutlierChannels(model, samples);
}

/** The forms that a model's linear layers are in, joined by `+`, and which are not; null where all are plain. */
export function formsOf(model: Pick<LlamaForCausalLM, 'linears'>): string | null {
  const numbers = frozenNumbers(model.linears);
  if (numbers === null) return null;
  const { forms, plain } = numbers;
  return `${forms.join('+')}${plain.length > 0 ? ` but for ${namesOf(plain)}` : ''}`;
}

/** As many as fit into a line. */
export const namesOf = (names: readonly string[]): string =>
  names.length <= 4 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;

/**
 * What tells the numbers that a model computes with from those of its files, as part of a file's name: predictors and measurements of one are none of the
 * other's. Null where all linear layers are plain.
 */
export function numbersName(model: Pick<LlamaForCausalLM, 'linears'>): string | null {
  const numbers = frozenNumbers(model.linears);
  if (numbers === null) return null;
  const { forms, plain } = numbers;
  // Names of layers may be more than a file's name takes.
  const digest = createHash('sha256').update(plain.join()).digest('hex').slice(0, 8);
  return `${forms.join('+').replaceAll(' double quantised', '-double')}${plain.length > 0 ? `-but-${digest}` : ''}`;
}
