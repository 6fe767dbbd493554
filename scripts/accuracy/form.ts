/** @file Form and content of answers to MAWPS, counted apart: an equation, a right equation, a right number. */
import type { EvaluationResult } from '@spft/trainer';

/** What the adapter says about form and content of the answers to MAWPS. */
export interface FormCounts {
  readonly questions: number;
  /** Begin with an equation, `X=…`. */
  readonly equation: number;
  /** … whose value is right. */
  readonly rightEquation: number;
  /** Whatever the form, the final number is right. */
  readonly rightNumber: number;
  /** Right as what it says it is: an equation by its value, words by their final number. */
  readonly right: number;
}

/** Form and content apart: whether training could see the question shows in the form alone. */
export function formOf(result: Pick<EvaluationResult, 'predictions'> | undefined): FormCounts | null {
  if (result === undefined) return null;
  let [equation, rightEquation, rightNumber, right] = [0, 0, 0, 0];
  for (const { output, expected, correct } of result.predictions) {
    if (correct) rightNumber++;
    const found = /^\s*X\s*=\s*([-+*/().\d\s]+)/i.exec(output);
    if (!found) {
      if (correct) right++;
      continue;
    }
    equation++;
    const value = valueOfExpression(found[1]!);
    if (value !== null && Math.abs(value - Number(expected)) <= 0.001) rightEquation++;
  }
  const questions = result.predictions.length;
  return { questions, equation, rightEquation, rightNumber, right: right + rightEquation };
}

/** Of an expression of numbers, + − * / and parentheses; null where it is none. A full stop after the last number is none of it. */
export function valueOfExpression(text: string): number | null {
  const tokens = text.match(/\d+\.?\d*|\.\d+|[-+*/()]/g) ?? [];
  let at = 0;
  const primary = (): number => {
    const token = tokens[at++];
    if (token === '(') {
      const value = sum();
      if (tokens[at++] !== ')') throw new SyntaxError('parenthesis');
      return value;
    }
    if (token === '-') return -primary();
    if (token === '+') return primary();
    if (token === undefined || !/\d/.test(token)) throw new SyntaxError('number');
    return Number(token);
  };
  const product = (): number => {
    let value = primary();
    while (tokens[at] === '*' || tokens[at] === '/')
      value = tokens[at++] === '*' ? value * primary() : value / primary();
    return value;
  };
  const sum = (): number => {
    let value = product();
    while (tokens[at] === '+' || tokens[at] === '-')
      value = tokens[at++] === '+' ? value + product() : value - product();
    return value;
  };
  try {
    const value = sum();
    return Number.isFinite(value) ? value : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
