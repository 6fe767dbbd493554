/** @file Text generation: greedy or by sampling, for batches of prompts of different lengths. */
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import * as tf from '@tensorflow/tfjs';
import type { LlamaForCausalLM } from '../llama.js';
import { deriveSeed } from '../seed.js';
import { Decoder } from './decoder.js';
import { canRecord, RecordedDecoder } from './recorded-decoder.js';
import { checkSampling, type SamplingOptions, sampleToken } from './sampling.js';
import type { DensePromptTokens, TokenDecoder } from './token-decoder.js';

export interface GenerateOptions extends SamplingOptions {
  /** A sequence ends after so many tokens, if not before. */
  readonly maxNewTokens: number;
  /** Draw tokens rather than take the likeliest. Default false; temperature, topK and topP count only with it. */
  readonly doSample?: boolean;
  /** Seeds the draws: with the same prompt at the same index the same tokens, whatever else is in the batch. Default 0. */
  readonly seed?: number;
  /** Tokens that end a sequence. Default: the model config's. */
  readonly eosTokenIds?: readonly number[];
  /**
   * Prompts are read as the model's sparsity plan computes a batch in which these tokens are dense, given the prompts' lengths; what is generated is dense. It
   * answers as an adapter was trained, where the default, all channels for every token, answers as it is used.
   */
  readonly densePromptTokens?: DensePromptTokens | undefined;
  /** Told of every token as soon as it is chosen. */
  readonly onToken?: (event: GeneratedToken) => void;
}

const OPTIONS: OptionNames<GenerateOptions> = {
  ...{ maxNewTokens: true, doSample: true, seed: true, eosTokenIds: true, densePromptTokens: true, onToken: true },
  ...{ temperature: true, topK: true, topP: true },
};

export interface GeneratedToken {
  /** Index of the prompt. */
  readonly sequence: number;
  /** How many tokens this sequence got before. */
  readonly index: number;
  readonly token: number;
}

function check(promptIds: readonly (readonly number[])[], options: GenerateOptions): void {
  assertKnownOptions('generate', options, OPTIONS);
  const empty = promptIds.findIndex((prompt) => prompt.length === 0);
  if (empty >= 0) {
    throw new RangeError(`generate: prompt ${empty} is empty; begin with a token, e.g. the tokenizer's bos_token`);
  }
  if (!(Number.isInteger(options.maxNewTokens) && options.maxNewTokens > 0)) {
    throw new RangeError(`generate: maxNewTokens is ${options.maxNewTokens}, must be a positive whole number`);
  }
  if (options.doSample) checkSampling(options);
}

/** The next token of each row, of what a decoder gave; `sequences` are the rows' prompts. */
function chosenOf(
  values: ArrayLike<number>,
  sequences: readonly number[],
  index: number,
  options: GenerateOptions,
): number[] {
  if (!options.doSample) return Array.from(values);
  const V = values.length / sequences.length;
  return sequences.map((sequence, row) => {
    const uniform = deriveSeed(options.seed ?? 0, sequence, index) / 2 ** 32;
    return sampleToken((values as Float32Array).subarray(row * V, (row + 1) * V), options, uniform);
  });
}

/**
 * Continues each prompt, with adapters if any are attached and all channels whatever the sparsity plan, unless `densePromptTokens` asks for it.
 * @returns the new tokens of each prompt, its end token included if it came to one.
 * @throws TypeError when `densePromptTokens` is given and no sparsity is attached; RangeError when a prompt is empty, a token has no embedding, or an option is out of its range.
 */
export async function generate(
  model: LlamaForCausalLM,
  promptIds: readonly (readonly number[])[],
  options: GenerateOptions,
): Promise<number[][]> {
  check(promptIds, options);
  const generated: number[][] = promptIds.map(() => []);
  if (promptIds.length === 0) return generated;
  const ends = new Set(options.eosTokenIds ?? model.config.eosTokenIds);
  const { maxNewTokens, doSample = false, densePromptTokens } = options;
  const asked = { greedy: !doSample, maxNewTokens, densePromptTokens };
  const decoder: TokenDecoder = canRecord(model) ? new RecordedDecoder(model, asked) : new Decoder(model, asked);
  let given: tf.Tensor | null = null;
  let ahead: tf.Tensor | null = null;
  try {
    let sequences = promptIds.map((_, sequence) => sequence);
    const done = new Set<number>();
    given = decoder.prefill(promptIds);
    for (let index = 0; ; index++) {
      const isLast = index + 1 === maxNewTokens;
      const reading = given.data();
      // What is chosen is on the device, so the next step can begin before it is known here. One too many, where all sequences end with these.
      if (decoder.takesTensors && !isLast) ahead = decoder.step(given as tf.Tensor1D);
      let tokens = chosenOf(await reading, sequences, index, options);
      given.dispose();
      given = null;
      sequences.forEach((sequence, row) => {
        if (done.has(sequence)) return;
        const token = tokens[row]!;
        generated[sequence]!.push(token);
        options.onToken?.({ sequence, index, token });
        if (ends.has(token)) done.add(sequence);
      });
      if (done.size === promptIds.length || isLast) return generated;
      const going = sequences.flatMap((sequence, row) => (done.has(sequence) ? [] : [row]));
      // A finished sequence is carried along until half of them are: taking rows out of the cache copies it.
      if (going.length * 2 <= sequences.length) {
        decoder.keepRows(going);
        [sequences, tokens] = [going.map((row) => sequences[row]!), going.map((row) => tokens[row]!)];
        if (ahead !== null) {
          const all: tf.Tensor = ahead;
          ahead = tf.tidy(() => tf.gather(all, tf.tensor1d(going, 'int32')));
          all.dispose();
        }
      }
      given = ahead ?? decoder.step(tokens);
      ahead = null;
    }
  } finally {
    tf.dispose([given, ahead] as tf.TensorContainer);
    decoder.dispose();
  }
}
