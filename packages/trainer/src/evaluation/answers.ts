/**
 * @file How an answer is found in what a model wrote, and when it is right: `extract_answer` of spft/test/main.py.
 *
 * Kept as they are: the first choice named counts, so `not answer2 but answer1` answers 2, and of `12` as a choice the 1 is taken; of
 * numbers the last one counts, commas anywhere are dropped, a minus directly before a digit is a sign (`5-3` ends in −3), and `%`, `$` and
 * units are ignored. Digits are those of ASCII, where Python takes every script's.
 */

/** A kind of answer. */
export interface AnswerRule {
  readonly name: string;
  /** The answer in an output, null when there is none. */
  extract(output: string): string | number | null;
  /** Whether an extracted answer is the dataset's. */
  matches(predicted: string | number, expected: string): boolean;
  /** Whether a dataset's answer is one of this kind at all: otherwise nothing could match it. */
  accepts(expected: string): boolean;
}

/** Numbers at most so far apart are the same (`miss`). */
const TOLERANCE = 0.001;

/** A number as Python's `float` reads it. Each digit can be matched in one way only: a text of a million of them is refused at once. */
const NUMBER = /^\s*[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?\s*$/i;

/** Arithmetic: the last number, right within 0.001. */
export const NUMBER_ANSWER: AnswerRule = {
  name: 'number',
  extract: (output) => {
    const last = output
      .replaceAll(',', '')
      .match(/-?\d+\.?\d*/g)
      ?.at(-1);
    return last === undefined ? null : Number(last);
  },
  matches: (predicted, expected) => Math.abs(Number(expected) - Number(predicted)) <= TOLERANCE,
  accepts: (expected) => NUMBER.test(expected),
};

/** One of some choices, named in full by the dataset (`answer3`) and by the digit alone in an output. */
export function choiceAnswer(prefix: string, digits: string): AnswerRule {
  const choice = new RegExp(`[${digits}]`);
  const whole = new RegExp(`^${prefix}[${digits}]$`);
  return {
    name: prefix,
    extract: (output) => {
      const digit = choice.exec(output)?.[0];
      return digit === undefined ? null : prefix + digit;
    },
    matches: (predicted, expected) => predicted === expected,
    accepts: (expected) => whole.test(expected),
  };
}

/** The first `true` or `false`, in capitals or not. */
export const TRUTH_ANSWER: AnswerRule = {
  name: 'true/false',
  extract: (output) => /true|false/.exec(output.toLowerCase())?.[0] ?? null,
  matches: (predicted, expected) => predicted === expected,
  accepts: (expected) => expected === 'true' || expected === 'false',
};
