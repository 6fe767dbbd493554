/** @file Which rows of a batch have a loss: those whose next token, in the same sequence, has a label. Decided on the host. */
import { IGNORE_INDEX, type PackedBatch } from './types.js';

/** A batch in which no token is to be predicted, so that it has no loss. */
export class UnlabelledBatchError extends RangeError {
  readonly code = 'SPFT_UNLABELLED_BATCH';
  override readonly name = 'UnlabelledBatchError';
}

export interface LabelledRows {
  /** [R] rows, in the packed order of their tokens. */
  readonly rows: Int32Array;
  /** [R] the token that each is to predict. */
  readonly labels: Int32Array;
}

/** R is 0 where nothing has a label. The label of a sequence's first token never counts: nothing predicts it. */
export function labelledRows({ labels, layout }: PackedBatch): LabelledRows {
  const { sequenceStarts, rowOfToken } = layout;
  const [rows, wanted]: [number[], number[]] = [[], []];
  for (let b = 0; b + 1 < sequenceStarts.length; b++) {
    for (let token = sequenceStarts[b]!; token + 1 < sequenceStarts[b + 1]!; token++) {
      const label = labels[token + 1]!;
      if (label === IGNORE_INDEX) continue;
      rows.push(rowOfToken[token]!);
      wanted.push(label);
    }
  }
  return { rows: Int32Array.from(rows), labels: Int32Array.from(wanted) };
}

/** How many tokens of a batch count in its loss: what a `normalizer` is summed from. */
export function countLabelledTokens(batch: PackedBatch): number {
  return labelledRows(batch).rows.length;
}
