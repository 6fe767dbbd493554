/**
 * @file The batches that `spft speed` measures on: real rows of a data set, or, for a random model without a tokenizer, rows as the original's speed
 * script makes them (`scripts/speedup.sh`): so many tokens, so many of them with a label. Not all alike, as there, but of random ids.
 */
import type { TrainConfig } from '@spft/config';
import type { Tokenizer } from '@spft/models';
import { loadTokenizer } from '@spft/models/node';
import { IGNORED_LABEL, type SampleSource } from '@spft/trainer';
import { samplesDigest, seedFrom, type TemplateChoice } from '@spft/trainer/internals';
import { CliError } from '../errors.js';
import type { Output } from '../terminal/output.js';
import { openRecords, templateForRecords, tokenize } from './open-data.js';
import { locateModel } from './open-model.js';

export interface SpeedData {
  readonly source: SampleSource;
  readonly kind: 'real' | 'simulated';
  /** What the script takes for this data set; null for real rows. */
  readonly batchSize: number | null;
}

/** Tokens of a row, those at its end that have a label, rows of a batch: the original's table. */
const SIMULATED: Readonly<Record<string, readonly [tokens: number, labelled: number, batch: number]>> = {
  math10k: [512, 128, 8],
  csr170k: [512, 3, 8],
  csr15k: [512, 3, 8],
  codefeedback: [1024, 512, 6],
  wizardlm: [2048, 512, 2],
};

/** Rows that are made; a longer run sees them again in another order. */
const ROWS = 256;

/** Rows for a vocabulary of so many tokens. @throws CliError where the original has no lengths for the data set. */
export function simulatedData(dataset: string, vocabSize: number): SpeedData {
  const shape = Object.hasOwn(SIMULATED, dataset) ? SIMULATED[dataset] : undefined;
  if (!shape) {
    throw new CliError(
      `--shape has no tokenizer for ${dataset}: give --tokenizer DIR_OR_HUB_ID for its real rows, or one of ${Object.keys(SIMULATED).join(', ')}, whose lengths are known`,
    );
  }
  const [tokens, labelled, batchSize] = shape;
  const rows = Array.from({ length: ROWS }, (_, index) => {
    const inputIds = Int32Array.from({ length: tokens }, (_, t) => seedFrom(index, t) % vocabSize);
    return { index, inputIds, labels: inputIds.map((id, t) => (t < tokens - labelled ? IGNORED_LABEL : id)) };
  });
  const source = { length: ROWS, digest: samplesDigest(rows), sample: (index: number) => rows[index]! };
  return { source, kind: 'simulated', batchSize };
}

/**
 * Rows of the data set, tokenised as `spft train` does.
 * @param visits how many the runs ask for.
 */
export async function realData(
  dataset: string,
  config: TrainConfig,
  {
    tokenizer,
    directory,
    choice,
    visits,
  }: TokenizerOf & { readonly choice: { template: TemplateChoice; isNamed: boolean }; readonly visits: number },
  output: Output,
): Promise<SpeedData> {
  const records = await openRecords(dataset, config, undefined, output);
  const template = templateForRecords(records.train, choice, tokenizer, output);
  const { source } = await tokenize(records.train, { tokenizer, directory }, template, config, output, visits);
  return { source, kind: 'real', batchSize: null };
}

export interface TokenizerOf {
  readonly tokenizer: Tokenizer;
  readonly directory: string;
}

/** The tokenizer of a model, without its weights. */
export async function openTokenizer(name: string, output: Output, revision?: string): Promise<TokenizerOf> {
  const directory = await locateModel(name, output, revision === undefined ? {} : { revision });
  return { tokenizer: await loadTokenizer(directory), directory };
}
