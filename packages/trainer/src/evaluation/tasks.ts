/** @file The evaluation sets by name: what their answers look like, how long they are, where LLM-Adapters keeps them. */
import { nearestName } from '@spft/safetensors/internals';
import { DatasetError } from '../data/dataset-error.js';
import type { InstructionRecord } from '../data/record.js';
import { type AnswerRule, choiceAnswer, NUMBER_ANSWER, TRUTH_ANSWER } from './answers.js';

/** A kind of evaluation set. */
export interface TaskKind {
  /** Upstream's name, which is also its directory's. */
  readonly name: string;
  readonly answers: AnswerRule;
  /** Tokens that an output may have: 256 for reasoning in numbers, 32 for a choice. */
  readonly maxNewTokens: number;
  /** Other spellings, LLM-Adapters' directory first. */
  readonly aliases: readonly string[];
}

/** Questions with their answers. */
export interface EvaluationTask {
  readonly name: string;
  readonly answers: AnswerRule;
  readonly maxNewTokens: number;
  readonly examples: readonly EvaluationExample[];
}

export interface EvaluationExample {
  readonly instruction: string;
  readonly input: string;
  readonly answer: string;
}

const arithmetic = (name: string, ...aliases: string[]): TaskKind => ({
  name,
  answers: NUMBER_ANSWER,
  maxNewTokens: 256,
  aliases,
});
const choice = (name: string, answers: AnswerRule, ...aliases: string[]): TaskKind => ({
  name,
  answers,
  maxNewTokens: 32,
  aliases,
});
/** Five choices also where a question has four, as upstream. */
const ANSWER = choiceAnswer('answer', '12345');

/** All that upstream evaluates, in the order of its configs. */
export const TASK_KINDS: readonly TaskKind[] = [
  arithmetic('gsm8k'),
  arithmetic('svamp', 'SVAMP'),
  arithmetic('mawps'),
  choice('boolq', TRUTH_ANSWER),
  choice('piqa', choiceAnswer('solution', '12')),
  choice('social-iqa', ANSWER, 'social_i_qa', 'social_iqa', 'siqa'),
  choice('hellaswag', choiceAnswer('ending', '1234')),
  choice('winogrande', choiceAnswer('option', '12')),
  choice('arc-easy', ANSWER, 'ARC-Easy'),
  choice('arc-challenge', ANSWER, 'ARC-Challenge'),
  choice('openbookqa', ANSWER),
];

/** The kind of a name in any of its spellings, whatever its capitals; null when there is none. */
export function findTaskKind(name: string): TaskKind | null {
  const same = (other: string) => other.toLowerCase() === name.toLowerCase();
  return TASK_KINDS.find((kind) => same(kind.name) || kind.aliases.some(same)) ?? null;
}

/** @throws DatasetError when there is no such set. */
export function taskKind(name: string): TaskKind {
  const kind = findTaskKind(name);
  if (kind !== null) return kind;
  const names = TASK_KINDS.map((k) => k.name);
  const near = nearestName(name, names);
  throw new DatasetError(
    `there is no evaluation set '${name}'${near === null ? '' : `; did you mean '${near}'?`} (known: ${names.join(', ')}; or give the path of a JSON file)`,
  );
}

/**
 * The kind that a file without a known name is of, by its answers.
 * @throws DatasetError when they are of no one kind.
 */
export function inferTaskKind(answers: readonly string[], file: string): Omit<TaskKind, 'name' | 'aliases'> {
  const fits = TASK_KINDS.find((kind) => answers.length > 0 && answers.every((a) => kind.answers.accepts(a)));
  if (fits !== undefined) return { answers: fits.answers, maxNewTokens: fits.maxNewTokens };
  throw new DatasetError(
    `${file}: its answers (${answers
      .slice(0, 3)
      .map((a) => `'${a}'`)
      .join(
        ', ',
      )}, …) are not all numbers, true/false, or choices of one name (answer1, solution1, ending1, option1); ` +
      'say of which kind it is: gsm8k=FILE or the like',
    { file },
  );
}

/** What an evaluation needs of a record: the question and the bare answer. @returns the problem as text when the record has none that fits. */
export function toExample(record: InstructionRecord, answers: AnswerRule | null): EvaluationExample | string {
  const { instruction, input, answer } = record;
  if (answer === undefined) return `lacks 'answer', with which outputs are compared`;
  if (answers !== null && !answers.accepts(answer)) return `wanted ${answers.name} as 'answer', found '${answer}'`;
  return { instruction, input, answer };
}
