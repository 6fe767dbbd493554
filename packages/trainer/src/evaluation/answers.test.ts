/**
 * @file How answers are found and compared.
 * @own-process as V8 may give up on a text of millions of characters (RangeError, its stack for regular expressions) where hundreds of files ran before.
 */
import { describe, expect, it } from 'vitest';
import { choiceAnswer, NUMBER_ANSWER, TRUTH_ANSWER } from './answers.js';

describe('NUMBER_ANSWER', () => {
  it.each([
    ['The answer is 576.', 576],
    ['He needs 24 * 24 = 576 tiles. The answer is 576', 576],
    ['$1,234,567.50 in all', 1234567.5],
    ['It sinks to -12 degrees', -12],
    ['-0.25', -0.25],
    ['3.75%', 3.75],
    ['between 5-3', -3],
    ['10 - 4', 4],
    ['first 7, then 8', 8],
    ['first 7,8', 78],
    ['1/2', 2],
    ['1.2.3', 3],
    ['.5', 5],
    ['007', 7],
    ['1e3', 3],
    ['a long one: 123456789012', 123456789012],
  ])('finds in %j the last number, %d', (output, number) => {
    expect(NUMBER_ANSWER.extract(output)).toBe(number);
  });

  it.each(['', 'none', 'twelve', '- . ,', 'Infinity', 'NaN'])('finds no number in %j', (output) => {
    expect(NUMBER_ANSWER.extract(output)).toBeNull();
  });

  it('compares within a thousandth', () => {
    expect(NUMBER_ANSWER.matches(1.834, '1.8333333333333335')).toBe(true);
    expect(NUMBER_ANSWER.matches(576, '576.0')).toBe(true);
    expect(NUMBER_ANSWER.matches(1.8345, '1.8333')).toBe(false);
    expect(NUMBER_ANSWER.matches(-576, '576.0')).toBe(false);
  });

  it('knows which answers of a dataset it can compare', () => {
    for (const good of ['576.0', '-3', '.5', '1e3', ' 7 ', '12.']) expect(NUMBER_ANSWER.accepts(good)).toBe(true);
    for (const bad of ['', ' ', 'C', '1,080', 'inf', '0x10', '1 2', '.', '1.2.3', 'e5', '5e'])
      expect(NUMBER_ANSWER.accepts(bad)).toBe(false);
    // In time that grows with the square of the length these would take hours.
    for (const end of ['x', '.x', 'e', ' x']) expect(NUMBER_ANSWER.accepts('7'.repeat(5e6) + end)).toBe(false);
  });
});

describe('choiceAnswer()', () => {
  it.each([
    ['answer', '12345', 'answer3', 'answer3'],
    ['answer', '12345', 'The correct answer is Answer 2.', 'answer2'],
    ['answer', '12345', 'not answer2 but answer1', 'answer2'],
    ['answer', '12345', '10', 'answer1'],
    ['answer', '12345', 'answer7 or answer5', 'answer5'],
    ['answer', '12345', 'answer6', null],
    ['ending', '1234', '5, no: ending4', 'ending4'],
    ['solution', '12', 'solution3', null],
    ['solution', '12', 'SOLUTION2', 'solution2'],
    ['option', '12', 'option1', 'option1'],
    ['option', '12', '', null],
  ])('as %s of %s finds in %j the first choice, %s', (prefix, digits, output, choice) => {
    expect(choiceAnswer(prefix, digits).extract(output)).toBe(choice);
  });

  it('takes only whole names for answers of a dataset', () => {
    const rule = choiceAnswer('answer', '12345');
    expect(rule.accepts('answer5')).toBe(true);
    for (const bad of ['answer6', '5', 'Answer5', 'answer55']) expect(rule.accepts(bad)).toBe(false);
    expect(rule.matches('answer5', 'answer5')).toBe(true);
    expect(rule.matches('answer5', 'answer4')).toBe(false);
  });
});

describe('TRUTH_ANSWER', () => {
  it.each([
    ['True', 'true'],
    ['the correct answer is FALSE, not true', 'false'],
    ['untrue', 'true'],
    ['yes', null],
    ['', null],
  ])('finds in %j the first truth value, %s', (output, truth) => {
    expect(TRUTH_ANSWER.extract(output)).toBe(truth);
  });
});
