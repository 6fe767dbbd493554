/**
 * @file Samples as they come, checked and cut before a run starts: what would stop it in its third hour stops it in its first second.
 */
import { listed, TrainerError, type TrainerErrorReason } from '../errors.js';

/** Label of a context token, as `IGNORE_INDEX` of `@spft/models`; here so that the loop needs that package's types alone. */
export const IGNORED_LABEL = -100;

/** One tokenised sample; `labels[t]` is the label of token t, −100 for context. */
export interface Sample {
  readonly inputIds: ArrayLike<number>;
  readonly labels: ArrayLike<number>;
}

/** A sample that fits, with its index among those given. */
export interface PreparedSample extends Sample {
  readonly index: number;
}

export interface SampleRules {
  /** Longest sample in tokens. */
  readonly maxLength: number;
  /** Token ids and labels are below it; not checked where it is not known. */
  readonly vocabSize?: number | undefined;
  /** What to do with a longer one: keep its first tokens as upstream's tokenizer does, leave it out, or refuse. Default `truncate`. */
  readonly longSamples?: 'truncate' | 'skip' | 'error';
  /** What to do with a sample that has no label left to learn from: leave it out, or refuse. Default `error`. */
  readonly unlabelledSamples?: 'skip' | 'error';
}

export interface PreparedSamples {
  readonly samples: readonly PreparedSample[];
  readonly truncated: number;
  readonly skipped: number;
}

/** Labels that a model can be asked to predict: the first token of a sequence has nothing before it. */
export function countLabels(labels: ArrayLike<number>, start = 0, end = labels.length): number {
  let count = 0;
  for (let t = start + 1; t < end; t++) if (labels[t] !== IGNORED_LABEL) count++;
  return count;
}

/**
 * Checks every sample and applies the rules.
 * @throws TrainerError naming the samples that are malformed, too long or without labels, and when none is left.
 */
export function prepareSamples(samples: readonly Sample[], rules: SampleRules): PreparedSamples {
  const { maxLength, vocabSize, longSamples = 'truncate', unlabelledSamples = 'error' } = rules;
  const prepared: PreparedSample[] = [];
  const tooLong: number[] = [];
  const unlabelled: number[] = [];
  let truncated = 0;
  samples.forEach((sample, index) => {
    const { inputIds, labels } = checked(sample, index, vocabSize);
    const long = inputIds.length > maxLength;
    if (long && longSamples !== 'truncate') {
      tooLong.push(index);
      return;
    }
    const cut = (tokens: ArrayLike<number>) => (long ? Array.prototype.slice.call(tokens, 0, maxLength) : tokens);
    const fitted = { index, inputIds: cut(inputIds), labels: cut(labels) };
    if (countLabels(fitted.labels) === 0) {
      unlabelled.push(index);
      return;
    }
    if (long) truncated++;
    prepared.push(fitted);
  });

  if (tooLong.length > 0 && longSamples === 'error') {
    throw new TrainerError(
      'samples',
      `${tooLong.length} of ${samples.length} samples are longer than ${maxLength} tokens (${listed(tooLong)}); ` +
        `raise model_max_length, or let them be truncated or skipped (longSamples)`,
    );
  }
  if (unlabelled.length > 0 && unlabelledSamples === 'error') {
    throw new TrainerError(
      'samples',
      `${unlabelled.length} of ${samples.length} samples have no labelled token within ${maxLength} tokens ` +
        `(${listed(unlabelled)}): nothing can be learned from them; raise model_max_length or skip them (unlabelledSamples)`,
    );
  }
  if (prepared.length === 0) {
    throw new TrainerError('samples', `no sample to train on: ${samples.length} given, all of them left out`);
  }
  return { samples: prepared, truncated, skipped: tooLong.length + unlabelled.length };
}

function checked(sample: Sample, index: number, vocabSize: number | undefined): Sample {
  const { inputIds, labels } = sample;
  if (inputIds.length === 0) throw new TrainerError('samples', `sample ${index} is empty; it needs at least one token`);
  if (inputIds.length !== labels.length) {
    throw new TrainerError(
      'samples',
      `sample ${index} has ${inputIds.length} tokens and ${labels.length} labels; give one label a token, ${IGNORED_LABEL} for context`,
    );
  }
  checkTokens(sample, 'samples', index, vocabSize);
  return sample;
}

/** More than a token id of 32 bits can be. */
const ID_LIMIT = 2 ** 31;

/**
 * Checks that every token is an id and every label an id or ignored: a value that is none would be rounded, or read from another row, where the
 * batch is laid out.
 * @throws TrainerError naming the first that is not, by its place.
 */
export function checkTokens(
  { inputIds, labels }: Sample,
  reason: TrainerErrorReason,
  sample: number,
  vocabSize = ID_LIMIT,
): void {
  for (let t = 0; t < inputIds.length; t++) {
    const [id, label] = [inputIds[t]!, labels[t]!];
    const idFits = isId(id, vocabSize);
    if (idFits && (label === IGNORED_LABEL || isId(label, vocabSize))) continue;
    const ids = vocabSize === ID_LIMIT ? 'a whole number of at least 0' : `a whole number from 0 to ${vocabSize - 1}`;
    const [what, value, wanted] = idFits
      ? (['label', label, `${ids}, or ${IGNORED_LABEL} for a token without one`] as const)
      : (['id', id, ids] as const);
    const hint =
      Number.isInteger(value) && value >= vocabSize ? "; was the text encoded with another model's tokenizer?" : '';
    throw new TrainerError(reason, `sample ${sample}, token ${t}: wanted as ${what} ${wanted}, found ${value}${hint}`);
  }
}

const isId = (value: number, vocabSize: number): boolean => Number.isInteger(value) && value >= 0 && value < vocabSize;

/** A digest of every token and label (FNV-1a over 32-bit words): whether a resumed run has the data of the one it continues. */
export function samplesDigest(samples: readonly Sample[]): string {
  let h = 0x811c9dc5 | 0;
  const add = (word: number) => {
    h = Math.imul(h ^ word, 0x01000193);
    h ^= h >>> 15;
  };
  for (const { inputIds, labels } of samples) {
    add(inputIds.length);
    for (let t = 0; t < inputIds.length; t++) {
      add(inputIds[t]!);
      add(labels[t]!);
    }
  }
  return (h >>> 0).toString(16).padStart(8, '0');
}
