/**
 * @file Records as token ids and labels, as `generate_and_tokenize_prompt_*` of spft/data.py makes them: the whole text is tokenised, cut to
 * the maximum and ended; then as many labels are masked as the prompt alone has tokens.
 */
import type { Tokenizer } from '@spft/models';
import { countLabels, IGNORED_LABEL, type Sample } from '../samples.js';
import { at, DatasetError } from './dataset-error.js';
import { type PromptFields, type PromptTemplate, promptTemplate } from './prompt.js';
import { type InstructionRecord, type ResponseField, responseOf } from './record.js';

type Encoder = Pick<Tokenizer, 'encode' | 'eosTokenId'>;

export interface TokenizeOptions {
  /** Name of a registered template, or a template. Default: upstream's. */
  readonly template?: string | PromptTemplate;
  /** `model_max_length`: longer texts are cut. (Upstream cuts these datasets to 256 whatever the key says.) */
  readonly maxLength: number;
  /** Which text is the response. Default `auto`. */
  readonly response?: ResponseField;
  /** Give the prompt labels too. Default false. */
  readonly trainOnInputs?: boolean;
}

export interface TokenizedSample extends Sample {
  readonly inputIds: number[];
  readonly labels: number[];
  /** Whether something was cut off. */
  readonly truncated: boolean;
}

/** One record. A response that is cut off gets no token of the end, so that a model does not learn to stop in mid-sentence. */
export function tokenizeRecord(
  tokenizer: Encoder,
  record: InstructionRecord,
  options: TokenizeOptions,
): TokenizedSample {
  const { maxLength, trainOnInputs = false } = options;
  if (!(Number.isInteger(maxLength) && maxLength > 0)) {
    throw new RangeError(`tokenizeRecord: maxLength is ${maxLength}, must be a positive whole number`);
  }
  const template = promptTemplate(options.template);
  const response = responseOf(record, options.response);
  const { addSpecialTokens = true } = template;
  const eos = tokenizer.eosTokenId;
  const text = template.full?.(record, response) ?? template.prompt(record) + response;
  const inputIds = tokenizer.encode(text, { addSpecialTokens });
  const ends = template.full !== undefined || eos === null || inputIds.at(-1) === eos;
  if (!ends) inputIds.push(eos);
  const truncated = inputIds.length > maxLength;
  if (truncated) inputIds.length = maxLength;
  const labels = inputIds.slice();
  if (!trainOnInputs) labels.fill(IGNORED_LABEL, 0, promptIds(tokenizer, template, template.prompt(record)).length);
  return { inputIds, labels, truncated };
}

/** The ids of the prompt that a model continues in evaluation. */
export function tokenizePrompt(tokenizer: Encoder, fields: PromptFields, template?: string | PromptTemplate): number[] {
  const chosen = promptTemplate(template);
  return promptIds(tokenizer, chosen, chosen.evaluationPrompt?.(fields) ?? chosen.prompt(fields));
}

/** A tokenizer that ends every text would end the prompt as well: that token is no part of it. */
function promptIds(tokenizer: Encoder, { addSpecialTokens = true }: PromptTemplate, prompt: string): number[] {
  const ids = tokenizer.encode(prompt, { addSpecialTokens });
  if (addSpecialTokens && ids.length > 0 && ids.at(-1) === tokenizer.eosTokenId) ids.pop();
  return ids;
}

export interface TokenizeAllOptions extends TokenizeOptions {
  /** What to do with a record whose prompt fills the maximum, so that no label is left to learn from: refuse, or leave out and count. Default `error`. */
  readonly unlabelled?: 'error' | 'skip';
  /** Told after every record. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface TokenizedRecords {
  readonly samples: TokenizedSample[];
  /** How many of the samples were cut. */
  readonly truncated: number;
  /** Indices of the records that were left out because no label was left. */
  readonly skipped: number[];
}

/**
 * All records, in their order.
 * @throws DatasetError when no label is left in a record, or in any.
 */
export function tokenizeRecords(
  tokenizer: Encoder,
  records: readonly InstructionRecord[],
  options: TokenizeAllOptions,
): TokenizedRecords {
  const samples: TokenizedSample[] = [];
  const skipped: number[] = [];
  records.forEach((record, index) => {
    const sample = tokenizeRecord(tokenizer, record, options);
    if (countLabels(sample.labels) > 0) samples.push(sample);
    else skipped.push(index);
    options.onProgress?.(index + 1, records.length);
  });
  const first = skipped[0];
  if (first !== undefined && (options.unlabelled !== 'skip' || samples.length === 0)) {
    const { source } = records[first]!;
    throw new DatasetError(
      `${source ? at(source) : `record ${first}`}: no label is left: the prompt alone fills the maximum of ${options.maxLength} tokens, or the response is empty ` +
        `(${skipped.length} of ${records.length} records are so); raise model_max_length${samples.length === 0 ? '' : ', or leave such records out (skip_bad_rows)'}`,
      { ...source },
    );
  }
  return { samples, truncated: samples.filter((s) => s.truncated).length, skipped };
}
