/**
 * @file Records as token ids and labels, as `generate_and_tokenize_prompt_*` of spft/data.py makes them: the whole text is tokenised, cut to
 * the maximum and ended; then as many labels are masked as the prompt alone has tokens, but none that belongs to the response.
 */
import type { Tokenizer } from '@spft/models';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { countLabels, IGNORED_LABEL, type Sample } from '../batch/samples.js';
import { type ConversationRecord, singleExchange } from './conversation.js';
import { type DataRecord, isCompletion, isConversation, isText } from './data-record.js';
import { at, DatasetError } from './dataset-error.js';
import { type PromptFields, type PromptTemplate, promptTemplate } from './prompt.js';
import { type ResponseField, responseOf } from './record.js';
import { commonLength, tokensBefore } from './token-position.js';
import { tokenizeConversation } from './tokenize-conversation.js';

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

export const TOKENIZE_OPTIONS: OptionNames<TokenizeOptions> = {
  ...{ template: true, maxLength: true, response: true, trainOnInputs: true },
};

export interface TokenizedSample extends Sample {
  readonly inputIds: number[];
  readonly labels: number[];
  /** Whether something was cut off. */
  readonly truncated: boolean;
}

/**
 * One record. A response that is cut off gets no token of the end, so that a model does not learn to stop in mid-sentence.
 * - An instruction goes into the template; the response carries the loss.
 * - A conversation goes into a template that knows turns (`conversation`); every assistant's message carries the loss. A template without
 *   takes one question and its answer.
 * - A prompt and its completion are joined as they are; the completion carries the loss.
 * - Of a text every token does.
 * @throws DatasetError when the template cannot take the conversation.
 */
export function tokenizeRecord(tokenizer: Encoder, record: DataRecord, options: TokenizeOptions): TokenizedSample {
  assertKnownOptions('tokenizeRecord', options, TOKENIZE_OPTIONS);
  const { maxLength, trainOnInputs = false } = options;
  if (!(Number.isInteger(maxLength) && maxLength > 0)) {
    throw new RangeError(`tokenizeRecord: maxLength is ${maxLength}, must be a positive whole number`);
  }
  const whole = isText(record)
    ? textSample(tokenizer, record.text)
    : isCompletion(record)
      ? promptSample(tokenizer, BARE, { instruction: record.prompt, input: '' }, record.completion, trainOnInputs)
      : isConversation(record)
        ? conversationSample(tokenizer, record, promptTemplate(options.template), trainOnInputs)
        : promptSample(
            tokenizer,
            promptTemplate(options.template),
            record,
            responseOf(record, options.response),
            trainOnInputs,
          );
  const truncated = whole.inputIds.length > maxLength;
  if (truncated) {
    whole.inputIds.length = whole.labels.length = maxLength;
    // Without a label nothing is learned of it, and it is counted.
    if (isCompletion(record) && record.whole) whole.labels.fill(IGNORED_LABEL);
  }
  return { ...whole, truncated };
}

type Labelled = Pick<TokenizedSample, 'inputIds' | 'labels'>;

/** The prompt is the instruction and nothing else. */
const BARE: PromptTemplate = { name: 'bare', prompt: ({ instruction }) => instruction };

function textSample(tokenizer: Encoder, text: string): Labelled {
  const inputIds = tokenizer.encode(text, { addSpecialTokens: true });
  const eos = tokenizer.eosTokenId;
  if (eos !== null && inputIds.at(-1) !== eos) inputIds.push(eos);
  return { inputIds, labels: inputIds.slice() };
}

function promptSample(
  tokenizer: Encoder,
  template: PromptTemplate,
  fields: PromptFields,
  response: string,
  trainOnInputs: boolean,
): Labelled {
  const { addSpecialTokens = true } = template;
  const eos = tokenizer.eosTokenId;
  const text = template.full?.(fields, response) ?? template.prompt(fields) + response;
  const inputIds = tokenizer.encode(text, { addSpecialTokens });
  const ends = template.full !== undefined || eos === null || inputIds.at(-1) === eos;
  if (!ends) inputIds.push(eos);
  const context = trainOnInputs ? 0 : contextLength(tokenizer, template, inputIds, text, template.prompt(fields));
  return { inputIds, labels: inputIds.slice().fill(IGNORED_LABEL, 0, context) };
}

function conversationSample(
  tokenizer: Encoder,
  record: ConversationRecord,
  template: PromptTemplate,
  trainOnInputs: boolean,
): Labelled {
  const { conversation, addSpecialTokens } = template;
  if (conversation) {
    const { inputIds, labels } = tokenizeConversation(tokenizer, record, { conversation, addSpecialTokens });
    return { inputIds, labels: trainOnInputs ? inputIds.slice() : labels };
  }
  const exchange = singleExchange(record);
  if (typeof exchange !== 'string') {
    return promptSample(tokenizer, template, { ...exchange, input: '' }, exchange.output, trainOnInputs);
  }
  const { source } = record;
  throw new DatasetError(`${source ? `${at(source)}: ` : ''}template '${template.name}': ${exchange}`, { ...source });
}

/**
 * How many tokens are context: as many as the prompt alone has, less those that reach into the response. A prompt that ends in blanks is
 * tokenised otherwise before a response than alone: `␣|␣` and `␣|␣t|rue`, where masking two tokens would leave `rue` to learn from.
 */
function contextLength(
  tokenizer: Encoder,
  template: PromptTemplate,
  ids: readonly number[],
  text: string,
  prompt: string,
): number {
  // A chat template may render the exchange otherwise than its beginning: then what both have in common is context.
  return tokensBefore((part) => promptIds(tokenizer, template, part), ids, text, commonLength(text, prompt)).count;
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
  records: readonly DataRecord[],
  { unlabelled, onProgress, ...options }: TokenizeAllOptions,
): TokenizedRecords {
  // Also where there is no record.
  assertKnownOptions('tokenizeRecords', options, TOKENIZE_OPTIONS);
  const samples: TokenizedSample[] = [];
  const skipped: number[] = [];
  records.forEach((record, index) => {
    const sample = tokenizeRecord(tokenizer, record, options);
    if (countLabels(sample.labels) > 0) samples.push(sample);
    else skipped.push(index);
    onProgress?.(index + 1, records.length);
  });
  const first = skipped[0];
  if (first !== undefined && (unlabelled !== 'skip' || samples.length === 0)) {
    const { source } = records[first]!;
    throw new DatasetError(
      `${source ? at(source) : `record ${first}`}: no label is left: the prompt alone fills the maximum of ${options.maxLength} tokens, or the response is empty ` +
        `(${skipped.length} of ${records.length} records are so); raise model_max_length${samples.length === 0 ? '' : ', or leave such records out (skip_bad_rows)'}`,
      { ...source },
    );
  }
  return { samples, truncated: samples.filter((s) => s.truncated).length, skipped };
}
