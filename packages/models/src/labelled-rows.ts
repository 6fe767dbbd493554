/** @file Which rows of a batch have a loss: those whose next token, in the same sequence, has a label. Decided on the host. */
import { type BatchRows, IGNORE_INDEX, type PackedBatch } from './types.js';

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

/**
 * Every id and label is checked as it was given: in the typed arrays of a forward pass, a fraction or NaN would be another token already.
 * @throws RangeError naming the first that no row of the vocabulary belongs to.
 */
function requireTokens({ inputIds, labels }: PackedBatch, vocabSize: number): void {
  const isId = (value: number) => Number.isInteger(value) && value >= 0 && value < vocabSize;
  const ids = `a whole number from 0 to ${vocabSize - 1}`;
  for (let t = 0; t < inputIds.length; t++) {
    if (!isId(inputIds[t]!)) {
      throw new RangeError(
        `batch: token ${t}: wanted as id ${ids}, found ${inputIds[t]}; was the text encoded with another model's tokenizer?`,
      );
    }
  }
  for (let t = 0; t < labels.length; t++) {
    if (labels[t] !== IGNORE_INDEX && !isId(labels[t]!)) {
      throw new RangeError(
        `batch: token ${t}: wanted as label ${ids}, or ${IGNORE_INDEX} for a token without one, found ${labels[t]}`,
      );
    }
  }
}

/**
 * What a model with `vocabSize` embeddings reads of a batch.
 * @throws RangeError when an id has no embedding, or the batch has not an id and a label for each token. @throws UnlabelledBatchError.
 */
export function batchRows(batch: PackedBatch, vocabSize: number): BatchRows {
  const { inputIds, layout } = batch;
  requireTokens(batch, vocabSize);
  requireLengths(batch);
  const labelled = labelledRows(batch);
  if (labelled.rows.length === 0) {
    throw new UnlabelledBatchError(
      `the batch has no labelled token to predict among its ${batch.inputIds.length} tokens, so it has no loss; ` +
        'leave such samples out, or raise the maximum length if it cut their answers off',
    );
  }
  // Ascending, so that of these rows too the dense ones come first; the order of a sum's terms is free.
  const order = [...labelled.rows.keys()].sort((a, b) => labelled.rows[a]! - labelled.rows[b]!);
  const lossRows = Int32Array.from(order, (n) => labelled.rows[n]!);
  return {
    ids: layout.tokenOfRow.map((token) => inputIds[token]!),
    lossRows,
    lossLabels: Int32Array.from(order, (n) => labelled.labels[n]!),
    denseLossRows: lossRows.filter((row) => row < layout.denseTokens).length,
  };
}

/** @throws RangeError when a batch has not an id and a label for each token of its layout. */
export function requireLengths({ inputIds, labels, layout }: PackedBatch): void {
  if (inputIds.length === layout.tokens && labels.length === layout.tokens) return;
  throw new RangeError(
    `batch: inputIds (${inputIds.length}) and labels (${labels.length}) must have one entry for each of the layout's ` +
      `${layout.tokens} tokens`,
  );
}

/** @throws RangeError when an id has no embedding. */
export function checkIds(ids: Int32Array, vocabSize: number): void {
  const wrong = ids.find((id) => !(id >= 0 && id < vocabSize));
  if (wrong !== undefined) {
    throw new RangeError(
      `token id ${wrong} has no embedding: the model has ${vocabSize}; was the text encoded with another model's tokenizer?`,
    );
  }
}

/** How many tokens of a batch count in its loss: what a `normalizer` is summed from. */
export function countLabelledTokens(batch: PackedBatch): number {
  return labelledRows(batch).rows.length;
}
