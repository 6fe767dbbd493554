/** @file What generation asks of a model: prompts at once, then one token of every sequence a step. */
import { gatherRows, packedAttention, packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import type { LlamaForCausalLM } from '../llama.js';
import type { KeysValuesListener } from '../step.js';
import type { DensePass } from './dense-pass.js';

/** Which tokens of prompts of these lengths are dense, [T] in packed order, 1 or 0. */
export type DensePromptTokens = (lengths: readonly number[]) => ArrayLike<number>;

export interface DecoderOptions {
  /** Whether the likeliest tokens are wanted, rather than the logits. */
  readonly greedy: boolean;
  /** Steps that there will be at most. */
  readonly maxNewTokens: number;
  /** With it prompts are read as the model's sparsity plan has it, these tokens densely. */
  readonly densePromptTokens?: DensePromptTokens | undefined;
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

/** What reading of prompts needs. */
export interface PromptReader {
  readonly model: LlamaForCausalLM;
  readonly pass: DensePass;
  readonly densePromptTokens?: DensePromptTokens | undefined;
}

/**
 * Reads prompts as one packed batch.
 * @param fill given each layer's rotated keys and values, [T, K·d] in packed order.
 * @returns hidden states of each prompt's last token, [B, H], owned by the caller.
 */
export function readPrompts(
  { model, pass, densePromptTokens }: PromptReader,
  prompts: readonly (readonly number[])[],
  fill: KeysValuesListener,
): tf.Tensor2D {
  const lengths = prompts.map(({ length }) => length);
  const dense = densePromptTokens?.(lengths);
  const layout = packTokens({ lengths, dense: (token) => dense === undefined || dense[token] === 1 });
  const { sequenceStarts, rowOfToken, positionOfRow } = layout;
  const heads = model.headLayout;
  return tf.tidy(() => {
    const last = tf.tensor1d(
      sequenceStarts.slice(1).map((end) => rowOfToken[end - 1]!),
      'int32',
    );
    if (dense === undefined) {
      const hidden = pass.hidden(Int32Array.from(prompts.flat()), positionOfRow, (layer, q, k, v) => {
        fill(layer, k, v);
        return packedAttention(q, k, v, layout, heads);
      });
      return gatherRows(hidden, last);
    }
    const packed = tf.tensor1d(rowOfToken, 'int32');
    const hidden = model.sparseHidden(layout, prompts.flat(), (layer, k, v) =>
      fill(layer, gatherRows(k, packed), gatherRows(v, packed)),
    );
    return gatherRows(hidden, last);
  });
}
