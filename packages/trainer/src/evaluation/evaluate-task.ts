/**
 * @file Evaluation by generation: prompts in, answers out, compared (spft/test/main.py).
 *
 * Upstream passes a bare `GenerationConfig(max_new_tokens)`, which is greedy decoding of one beam; so is this, as long as the generator
 * does not sample. An output ends at the end token and where the model begins another `### Response:`.
 */
import type { Tokenizer } from '@spft/models';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { type PromptTemplate, promptTemplate } from '../data/prompt.js';
import { subset } from '../data/split.js';
import { tokenizePrompt } from '../data/tokenize.js';
import { gatherJson, type Ranks } from '../loop/ranks.js';
import type { EvaluationExample, EvaluationTask } from './tasks.js';

export interface GeneratorOptions {
  readonly maxNewTokens: number;
  /** Tokens that end a sequence, beside the generator's own. */
  readonly eosTokenIds?: readonly number[];
}

/** Continues prompts: `(prompts, options) => generate(model, prompts, options)`. Gives the new tokens of each. */
export type TokenGenerator = (promptIds: number[][], options: GeneratorOptions) => Promise<number[][]>;

export interface EvaluateOptions {
  /** Name of a registered template, or a template: the one that was trained with. Default: upstream's. */
  readonly template?: string | PromptTemplate;
  /** Prompts a batch. Default 8. */
  readonly batchSize?: number;
  /** Overrides the task's. */
  readonly maxNewTokens?: number;
  /** Tokens that end a sequence. Default: the generator's own; the tokenizer's end token ends it in any case. */
  readonly eosTokenIds?: readonly number[];
  /** At most so many examples. */
  readonly limit?: number;
  /** Draws the examples under `limit`; without it the first ones are taken. */
  readonly seed?: number;
  /** Keep the prompts among the predictions. Default false. */
  readonly keepPrompts?: boolean;
  /** Among which the batches are dealt out; every rank gets the whole result. */
  readonly ranks?: Ranks | null;
  /** Told after every batch. */
  readonly onProgress?: (progress: EvaluationProgress) => void;
}

const OPTIONS: OptionNames<EvaluateOptions> = {
  ...{ template: true, batchSize: true, maxNewTokens: true, eosTokenIds: true, limit: true, seed: true },
  ...{ keepPrompts: true, ranks: true, onProgress: true },
};

export interface EvaluationProgress {
  readonly task: string;
  readonly done: number;
  readonly total: number;
  readonly correct: number;
  readonly seconds: number;
}

export interface Prediction {
  readonly prompt?: string;
  /** What the model wrote. */
  readonly output: string;
  /** The answer found in it; null when there is none. */
  readonly predicted: string | number | null;
  readonly expected: string;
  readonly correct: boolean;
}

export interface EvaluationResult {
  readonly task: string;
  readonly correct: number;
  readonly total: number;
  /** `correct / total`. */
  readonly accuracy: number;
  readonly seconds: number;
  /** In the order of the examples. */
  readonly predictions: readonly Prediction[];
}

interface Question {
  readonly index: number;
  readonly example: EvaluationExample;
  readonly ids: number[];
}

/**
 * Lets the generator answer every example. Batches are of prompts of like length, longest first: what does not fit in memory fails at once.
 * @throws RangeError when the task has no example or an option is out of its range.
 */
export async function evaluateTask(
  generator: TokenGenerator,
  tokenizer: Pick<Tokenizer, 'encode' | 'decode' | 'eosTokenId'>,
  task: EvaluationTask,
  options: EvaluateOptions = {},
): Promise<EvaluationResult> {
  assertKnownOptions('evaluateTask', options, OPTIONS);
  const { batchSize = 8, maxNewTokens = task.maxNewTokens, eosTokenIds, limit, seed, keepPrompts = false } = options;
  if (!(Number.isInteger(batchSize) && batchSize > 0)) {
    throw new RangeError(`evaluateTask: batchSize is ${batchSize}, must be a positive whole number`);
  }
  if (task.examples.length === 0) throw new RangeError(`evaluateTask: ${task.name} has no example`);
  const template = promptTemplate(options.template);
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  const examples = limit === undefined ? task.examples : subset(task.examples, limit, seed);
  const questions: Question[] = examples
    .map((example, index) => ({ index, example, ids: tokenizePrompt(tokenizer, example, template) }))
    .sort((a, b) => b.ids.length - a.ids.length || a.index - b.index);

  const predictions: Prediction[] = new Array(questions.length);
  const { rank, size } = options.ranks ?? { rank: 0, size: 1 };
  let [done, correct] = [0, 0];
  for (let number = 0; done < questions.length; number++) {
    const batch = questions.slice(done, done + batchSize);
    if (number % size !== rank) {
      done += batch.length;
      continue;
    }
    const outputs = await generator(
      batch.map(({ ids }) => ids),
      { maxNewTokens, ...(eosTokenIds === undefined ? {} : { eosTokenIds }) },
    );
    if (outputs.length !== batch.length) {
      throw new RangeError(`evaluateTask: the generator gave ${outputs.length} outputs for ${batch.length} prompts`);
    }
    batch.forEach(({ index, example, ids }, row) => {
      const output = textOf(outputs[row]!, tokenizer, template.stop);
      const predicted = task.answers.extract(output);
      const isCorrect = predicted !== null && task.answers.matches(predicted, example.answer);
      if (isCorrect) correct++;
      predictions[index] = {
        ...(keepPrompts ? { prompt: tokenizer.decode(ids) } : {}),
        output,
        predicted,
        expected: example.answer,
        correct: isCorrect,
      };
    });
    done += batch.length;
    options.onProgress?.({ task: task.name, done, total: questions.length, correct, seconds: seconds() });
  }
  if (options.ranks && size > 1) {
    // Each has holes where others have predictions.
    for (const theirs of await gatherJson(options.ranks, Object.entries(predictions))) {
      for (const [index, prediction] of theirs) predictions[Number(index)] = prediction;
    }
    correct = predictions.filter((prediction) => prediction.correct).length;
  }
  return { task: task.name, correct, total: done, accuracy: correct / done, seconds: seconds(), predictions };
}

/** The text up to the end token and the template's stop. */
function textOf(ids: number[], tokenizer: Pick<Tokenizer, 'decode' | 'eosTokenId'>, stop: string | undefined): string {
  const end = tokenizer.eosTokenId === null ? -1 : ids.indexOf(tokenizer.eosTokenId);
  const text = tokenizer.decode(end < 0 ? ids : ids.slice(0, end), { skipSpecialTokens: true });
  return (stop === undefined ? text : text.split(stop)[0]!).trim();
}
