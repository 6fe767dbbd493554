/** @file Training data: rows read, skipped rows counted, tokenised; and held-out samples, of a file or drawn from them. */
import { existsSync } from 'node:fs';
import type { TrainConfig } from '@spft/config';
import type { Tokenizer } from '@spft/models';
import { type InstructionRecord, type PromptTemplate, type Sample, splitDataset, tokenizeRecords } from '@spft/trainer';
import { loadDataset } from '@spft/trainer/node';
import { CliError } from '../errors.js';
import type { Output } from '../terminal/output.js';
import type { Status } from '../terminal/status-line.js';
import { bytes } from '../terminal/table.js';

export interface TrainingRecords {
  readonly train: readonly InstructionRecord[];
  /** Null where nothing is held out. */
  readonly validation: readonly InstructionRecord[] | null;
  readonly badRows: number;
}

/**
 * Reads a dataset, which is downloaded if it has a name and is missing.
 * @param validation a file, or how many rows (below 1: which fraction of them) are drawn out of the training data.
 * @throws DatasetError naming file and line.
 */
export async function openRecords(
  spec: string,
  keys: Pick<TrainConfig, 'skipBadRows' | 'seed' | 'dataSeed'>,
  validation: string | undefined,
  output: Output,
): Promise<TrainingRecords> {
  const all = await readRecords(spec, keys, output);
  if (validation === undefined) return { train: all.records, validation: null, badRows: all.badRows };
  const share = Number(validation);
  if (validation.trim() !== '' && Number.isFinite(share) && !existsSync(validation)) {
    const count = share < 1 ? Math.round(share * all.records.length) : share;
    if (!(Number.isInteger(count) && count > 0 && count < all.records.length)) {
      throw new CliError(
        `--validation: wanted a file, a fraction below 1 or a count below the ${all.records.length} rows, found ${validation}`,
      );
    }
    const split = splitDataset(all.records, count, keys.dataSeed ?? keys.seed);
    return { train: split.train, validation: split.validation, badRows: all.badRows };
  }
  const held = await readRecords(validation, keys, output);
  return { train: all.records, validation: held.records, badRows: all.badRows + held.badRows };
}

async function readRecords(spec: string, { skipBadRows }: Pick<TrainConfig, 'skipBadRows'>, output: Output) {
  const status = output.task(`data ${spec}`);
  try {
    const { records, badRows } = await loadDataset(spec, {
      skipBadRows,
      onProgress: ({ received, total }) =>
        status.update(total === null ? null : received / total, `${bytes(received)} downloaded`),
    });
    status.done(`${records.length} rows`);
    const first = badRows[0];
    if (first) {
      output.warn(`${badRows.length} rows were skipped; the first: ${first.file}:${first.line}: ${first.problem}`);
    }
    return { records, badRows: badRows.length };
  } catch (error) {
    status.fail();
    throw error;
  }
}

/** @throws DatasetError when a row has no label left within the maximum and such rows are not to be skipped. */
export function tokenize(
  records: readonly InstructionRecord[],
  tokenizer: Tokenizer,
  template: PromptTemplate,
  keys: Pick<TrainConfig, 'modelMaxLength' | 'skipBadRows'>,
  output: Output,
): Sample[] {
  const status = output.task('tokenise');
  const { samples, truncated, skipped } = withStatus(status, () =>
    tokenizeRecords(tokenizer, records, {
      template,
      maxLength: keys.modelMaxLength,
      unlabelled: keys.skipBadRows ? 'skip' : 'error',
      onProgress: (done, total) => status.update(done / total),
    }),
  );
  const tokens = samples.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
  status.done(`${samples.length} samples, ${(tokens / Math.max(1, samples.length)).toFixed(0)} tokens on average`);
  if (truncated > 0) {
    output.warn(
      `${truncated} of ${records.length} samples are longer than ${keys.modelMaxLength} tokens and were cut (model_max_length)`,
    );
  }
  if (skipped.length > 0) output.warn(`${skipped.length} samples have no label left and were skipped`);
  return samples;
}

/** Clears the line where an error follows. */
function withStatus<T>(status: Status, work: () => T): T {
  try {
    return work();
  } catch (error) {
    status.fail();
    throw error;
  }
}
