/**
 * @file MT-Bench's table out of FastChat's judgment file: the mean score of each model by category. The original averages whatever lines there
 * are; here the last judgment of a model, question and turn counts, scores that were not found (−1) are left out and counted, and missing
 * turns are named.
 */
import { DatasetError } from '../data/dataset-error.js';
import { shown } from '../data/record.js';

export interface MtBenchQuestion {
  readonly id: number;
  readonly category: string;
  readonly turns: readonly string[];
}

export interface MtBenchJudgment {
  readonly question: number;
  readonly model: string;
  readonly turn: number;
  /** 1 to 10; −1 where the judge's text has no rating. */
  readonly score: number;
}

type Fields = Readonly<Record<string, unknown>>;

/** A row of FastChat's question.jsonl. @returns the problem as text. */
export function parseQuestion(row: unknown): MtBenchQuestion | string {
  const { question_id: id, category, turns } = (typeof row === 'object' && row !== null ? row : {}) as Fields;
  if (typeof id !== 'number') return `wanted a number in 'question_id', found ${shown(id)}`;
  if (typeof category !== 'string') return `wanted a string in 'category', found ${shown(category)}`;
  if (!Array.isArray(turns) || turns.length === 0 || !turns.every((turn) => typeof turn === 'string')) {
    return `wanted a list of texts in 'turns', found ${shown(turns)}`;
  }
  return { id, category, turns };
}

/** A row of gpt-4_single.jsonl; without `score`, it is read out of the judgment's text. @returns the problem as text. */
export function parseJudgment(row: unknown): MtBenchJudgment | string {
  const {
    question_id: question,
    model,
    turn,
    score,
    judgment,
  } = (typeof row === 'object' && row !== null ? row : {}) as Fields;
  if (typeof question !== 'number') return `wanted a number in 'question_id', found ${shown(question)}`;
  if (typeof model !== 'string') return `wanted a string in 'model', found ${shown(model)}`;
  if (turn !== 1 && turn !== 2) return `wanted 1 or 2 in 'turn', found ${shown(turn)}`;
  if (typeof score === 'number' && Number.isFinite(score)) return { question, model, turn, score };
  if (score !== undefined && score !== null) return `wanted a number in 'score', found ${shown(score)}`;
  if (typeof judgment !== 'string')
    return `wanted a number in 'score' or a text in 'judgment', found ${shown(judgment)}`;
  return { question, model, turn, score: ratingOf(judgment) };
}

/** FastChat's: the number in `[[…]]`, else in `[…]`, else −1. */
export function ratingOf(judgment: string): number {
  const match = /\[\[(\d+\.?\d*)\]\]/.exec(judgment) ?? /\[(\d+\.?\d*)\]/.exec(judgment);
  return match ? Number(match[1]) : -1;
}

export interface MtBenchModel {
  readonly model: string;
  /** Mean over all scores, not over categories; null where there is none. */
  readonly average: number | null;
  /** Mean over both turns, by category, in alphabetical order. */
  readonly categories: Readonly<Record<string, number>>;
  /** By turn. */
  readonly turns: Readonly<Record<'1' | '2', number | null>>;
  /** Judgments that count of which the score was not found. */
  readonly withoutRating: number;
  /** Judgments that a later one of the same question and turn replaced. */
  readonly replaced: number;
  /** Question and turn of which there is no judgment. */
  readonly missing: readonly (readonly [question: number, turn: number])[];
}

/** `last`: the last judgment of each question and turn; `all`: every one; `published`: every one, and −1 averaged in, as the original does. */
export type MtBenchRule = 'last' | 'all' | 'published';

/**
 * The table, models in the order in which they first appear.
 * @throws DatasetError when a judgment is of a question that is not in the file, or there is no judgment.
 */
export function mtBenchTable(
  questions: readonly MtBenchQuestion[],
  judgments: readonly MtBenchJudgment[],
  rule: MtBenchRule = 'last',
): MtBenchModel[] {
  const categoryOf = new Map(questions.map(({ id, category }) => [id, category]));
  const models = new Map<string, MtBenchJudgment[]>();
  for (const judgment of judgments) {
    if (!categoryOf.has(judgment.question)) {
      throw new DatasetError(
        `a judgment of ${judgment.model} is of question ${judgment.question}, which is not in the question file; give the file that the answers were made from`,
      );
    }
    models.set(judgment.model, [...(models.get(judgment.model) ?? []), judgment]);
  }
  if (models.size === 0)
    throw new DatasetError('there is no judgment; wanted lines with question_id, model, turn and score');
  return [...models].map(([model, all]) => {
    const last = new Map(all.map((judgment) => [`${judgment.question} ${judgment.turn}`, judgment]));
    const counting = rule === 'last' ? [...last.values()] : all;
    const rated = rule === 'published' ? counting : counting.filter(({ score }) => score !== -1);
    const mean = (of: readonly MtBenchJudgment[]) =>
      of.length === 0 ? null : of.reduce((sum, { score }) => sum + score, 0) / of.length;
    const categories = [...new Set(categoryOf.values())].sort().flatMap((category) => {
      const value = mean(rated.filter(({ question }) => categoryOf.get(question) === category));
      return value === null ? [] : [[category, value] as const];
    });
    const turn = (n: number) => mean(rated.filter((judgment) => judgment.turn === n));
    const missing = questions.flatMap(({ id, turns }) =>
      turns.flatMap((_, n) => (last.has(`${id} ${n + 1}`) ? [] : [[id, n + 1] as const])),
    );
    return {
      ...{
        model,
        average: mean(rated),
        categories: Object.fromEntries(categories),
        turns: { '1': turn(1), '2': turn(2) },
      },
      withoutRating: counting.filter(({ score }) => score === -1).length,
      replaced: rule === 'last' ? all.length - last.size : 0,
      missing,
    };
  });
}

/** FastChat's temperatures by category; others 0.7, and 0 is greedy. */
export const MT_BENCH_TEMPERATURES: Readonly<Record<string, number>> = {
  ...{ writing: 0.7, roleplay: 0.7, extraction: 0, math: 0, coding: 0, reasoning: 0, stem: 0.1, humanities: 0.1 },
};
