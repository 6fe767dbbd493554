/** @file Training data: rows read, skipped rows counted, tokenised; and held-out samples, of a file or a split, or drawn from them. */
import { existsSync, statSync } from 'node:fs';
import type { TrainConfig } from '@spft/config';
import type { Tokenizer } from '@spft/models';
import { type DataRecord, type SampleSource, splitDataset } from '@spft/trainer';
import {
  at,
  isCompletion,
  isConversation,
  isInstruction,
  type LazyCounts,
  LazySamples,
  parseColumnMap,
  responseOf,
  type TemplateChoice,
} from '@spft/trainer/internals';
import { loadDataset, parseHubDataset, type TokenizedDataset, tokenizeDataset } from '@spft/trainer/node';
import { CliError } from '../errors.js';
import type { Output } from '../terminal/output.js';
import type { Status } from '../terminal/status-line.js';
import { bytes } from '../terminal/table.js';
import { type OpenedModel, trainedPositions } from './open-model.js';

export interface TrainingRecords {
  readonly train: readonly DataRecord[];
  /** Null where nothing is held out. */
  readonly validation: readonly DataRecord[] | null;
  readonly badRows: number;
}

/** The training keys that say what the rows of a data set are. */
export type DataKeys = Pick<
  TrainConfig,
  'skipBadRows' | 'datasetConfig' | 'datasetRevision' | 'datasetColumns' | 'datasetTextField' | 'splits'
>;

/**
 * Reads a dataset, which is downloaded if it has a name or is on the hub, and is missing.
 * @param validation a file, the name of a split of the same data set, or how many rows (below 1: which fraction of them) are drawn out of the
 * training data.
 * @throws DatasetError naming file and line; HubError of the hub.
 */
export async function openRecords(
  spec: string,
  keys: DataKeys & Pick<TrainConfig, 'seed' | 'dataSeed'>,
  validation: string | undefined,
  output: Output,
): Promise<TrainingRecords> {
  const split = keys.splits[0] ?? 'train';
  const all = await readRecords(spec, { keys, split }, output);
  if (validation === undefined) return { train: all.records, validation: null, badRows: all.badRows };
  const share = Number(validation);
  if (validation.trim() !== '' && Number.isFinite(share) && !existsSync(validation)) {
    const count = share < 1 ? Math.round(share * all.records.length) : share;
    if (!(Number.isInteger(count) && count > 0 && count < all.records.length)) {
      throw new CliError(
        `--validation: wanted a file, a fraction below 1 or a count below the ${all.records.length} rows, or the name of a split, found ${validation}`,
      );
    }
    const split = splitDataset(all.records, count, keys.dataSeed ?? keys.seed);
    return { train: split.train, validation: split.validation, badRows: all.badRows };
  }
  const isSplit = !existsSync(validation) && /^[\w-]+$/.test(validation) && hasSplits(spec);
  const held = isSplit
    ? await readRecords(spec, { keys, split: validation }, output)
    : await readRecords(validation, { keys, split: keys.splits[1] ?? 'test' }, output);
  return { train: all.records, validation: held.records, badRows: all.badRows + held.badRows };
}

function hasSplits(spec: string): boolean {
  return existsSync(spec) ? statSync(spec).isDirectory() : parseHubDataset(spec) !== null;
}

/** The rows of one split. @param limit reads no more than so many. */
export async function readRecords(
  spec: string,
  { keys, split, limit }: { readonly keys: DataKeys; readonly split: string; readonly limit?: number },
  output: Output,
): Promise<{ readonly records: readonly DataRecord[]; readonly badRows: number }> {
  const columns = parseColumnMap(keys.datasetColumns);
  const status = output.task(`data ${spec}`);
  try {
    const { records, badRows } = await loadDataset(spec, {
      ...{ skipBadRows: keys.skipBadRows, split, columns, limit },
      ...{ config: keys.datasetConfig, revision: keys.datasetRevision, textField: keys.datasetTextField },
      onProgress: ({ received, total }) =>
        status.update(total === null ? null : received / total, `${bytes(received)} downloaded`),
      onHubProgress: ({ file, receivedBytes, fileBytes }) =>
        status.update(fileBytes === null ? null : receivedBytes / fileBytes, `${file} ${bytes(receivedBytes)}`),
    });
    status.done(`${records.length} rows`);
    const first = badRows[0];
    if (first) {
      output.warn(`${badRows.length} rows were skipped; the first: ${first.file}:${first.line}: ${first.problem}`);
    }
    const empty = records.filter(isUnanswered);
    if (empty.length > 0) {
      const where = empty[0]!.source ? `; the first: ${at(empty[0]!.source)}` : '';
      output.warn(`${empty.length} of ${records.length} rows have an empty response, and teach to end at once${where}`);
    }
    return { records, badRows: badRows.length };
  } catch (error) {
    status.fail();
    throw error;
  }
}

/** Whether nothing follows the prompt. */
function isUnanswered(record: DataRecord): boolean {
  if (isInstruction(record)) return responseOf(record).trim() === '';
  return isCompletion(record) && record.completion.trim() === '';
}

/**
 * The template that the user named, or the tokenizer's chat template where the data are conversations.
 * @throws CliError where there is none.
 */
export function templateForRecords(
  records: readonly DataRecord[],
  asked: { readonly template: TemplateChoice; readonly isNamed: boolean },
  tokenizer: Tokenizer,
  output: Output,
): TemplateChoice {
  const first = asked.isNamed ? undefined : records.find(isConversation);
  if (first === undefined) return asked.template;
  if (tokenizer.chatTemplates.size > 0) {
    output.note("conversations: the prompts are made by the tokenizer's chat template (--template names another)");
    return { name: 'chat', format: null };
  }
  throw new CliError(
    `${first.source ? `${at(first.source)}: ` : ''}is a conversation, and the tokenizer has no chat template, as base models have none; give one by --chat_template_format (its Jinja text), or take --template alpaca where every conversation is one question and its answer`,
  );
}

/** What a run needs of tokenised data. */
export interface RunSamples {
  readonly source: SampleSource;
  /** Says what was cut and left out of samples that were made while the run went on. */
  readonly afterwards: () => void;
}

/**
 * @param visits how many samples the run asks for.
 * @throws DatasetError when no row has a label within the maximum.
 */
export async function tokenize(
  records: readonly DataRecord[],
  { tokenizer, directory, model }: Pick<OpenedModel, 'tokenizer' | 'directory'> & Partial<Pick<OpenedModel, 'model'>>,
  template: TemplateChoice,
  keys: Pick<TrainConfig, 'modelMaxLength'>,
  output: Output,
  visits = Infinity,
): Promise<RunSamples> {
  const status = output.task('tokenise');
  const made = await withStatus(status, () =>
    tokenizeDataset(tokenizer, directory, records, {
      ...{ template, maxLength: keys.modelMaxLength, visits },
      onProgress: (done, total) => status.update(done / total),
      notify: (message) => output.warn(message),
    }),
  );
  if (made.samples === null) {
    status.done(`as the steps ask for them, as the run sees ${visits} of ${records.length} rows`);
    const { source } = made;
    return { source, afterwards: () => source instanceof LazySamples && warnOf(source.counts, keys, model, output) };
  }
  const tokens = made.samples.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
  const longest = made.samples.reduce((most, { inputIds }) => Math.max(most, inputIds.length), 0);
  const mean = (tokens / made.samples.length).toFixed(0);
  status.done(
    `${made.samples.length} samples, ${mean} tokens on average${made.from === 'cache' ? ' (from the cache)' : ''}`,
  );
  const counts = { made: records.length, truncated: made.truncated!, unlabelled: made.unlabelled!, longest };
  warnOf(counts, keys, model, output, made);
  return { source: made.source, afterwards: () => {} };
}

function warnOf(
  counts: LazyCounts,
  { modelMaxLength }: Pick<TrainConfig, 'modelMaxLength'>,
  model: OpenedModel['model'] | undefined,
  output: Output,
  { firstUnlabelled }: Pick<TokenizedDataset, 'firstUnlabelled'> = { firstUnlabelled: null },
): void {
  const { made, truncated, unlabelled, longest } = counts;
  const positions = model && trainedPositions(model);
  if (positions !== undefined && longest > positions) {
    output.warn(
      `the longest sample has ${longest} tokens, and the model was trained on ${positions} positions (max_position_embeddings): it does not know those beyond; ` +
        'lower model_max_length',
    );
  }
  if (truncated > 0) {
    output.warn(
      `${truncated} of ${made} samples are longer than ${modelMaxLength} tokens and were cut (model_max_length)`,
    );
  }
  if (unlabelled > 0) {
    const where = firstUnlabelled?.source ? `; the first: ${at(firstUnlabelled.source)}` : '';
    output.warn(
      `${unlabelled} of ${made} rows have no token with a label within ${modelMaxLength} tokens and were left out${where}`,
    );
  }
}

/** Clears the line where an error follows. */
async function withStatus<T>(status: Status, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    status.fail();
    throw error;
  }
}
