/** @file What generation asks of a model: prompts at once, then one token of every sequence a step. */
import { packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import type { Attend, DensePass } from './dense-pass.js';

export interface DecoderOptions {
  /** Whether the likeliest tokens are wanted, rather than the logits. */
  readonly greedy: boolean;
  /** Steps that there will be at most. */
  readonly maxNewTokens: number;
}

/** One batch of sequences under generation. */
export interface TokenDecoder {
  /** Whether `step` takes tokens that nobody has read. */
  readonly takesTensors: boolean;
  /** Reads the prompts. @returns of the token after each, logits [B, V] or where it is greedy the likeliest, int32 [B]; owned by the caller. */
  prefill(prompts: readonly (readonly number[])[]): tf.Tensor;
  /** Adds a token to each row. @param tokens [B]. @returns as `prefill`. */
  step(tokens: readonly number[] | tf.Tensor1D): tf.Tensor;
  /** Goes on with these rows alone. */
  keepRows(rows: readonly number[]): void;
  dispose(): void;
}

/** What is chosen from, of logits that it takes over. */
export const choiceOf = (logits: tf.Tensor2D, greedy: boolean): tf.Tensor => {
  if (!greedy) return logits;
  const likeliest = tf.argMax(logits, 1);
  logits.dispose();
  return likeliest;
};

/** Hidden states of the last tokens of prompts that are read as one packed batch: [B, H], owned by the caller. */
export function lastHidden(
  pass: DensePass,
  prompts: readonly (readonly number[])[],
  attend: (layout: ReturnType<typeof packTokens>) => Attend,
): tf.Tensor2D {
  const layout = packTokens({ lengths: prompts.map(({ length }) => length), dense: () => true });
  return tf.tidy(() => {
    const hidden = pass.hidden(Int32Array.from(prompts.flat()), layout.positionOfRow, attend(layout));
    const last = tf.tensor1d(
      layout.sequenceStarts.slice(1).map((end) => end - 1),
      'int32',
    );
    return tf.gather(hidden, last);
  });
}
