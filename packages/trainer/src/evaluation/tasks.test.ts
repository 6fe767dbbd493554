import { describe, expect, it } from 'vitest';
import { findTaskKind, inferTaskKind, TASK_KINDS, taskKind } from './tasks.js';

describe('taskKind()', () => {
  it("knows all sets of upstream's configs by their names there", () => {
    const configured =
      'gsm8k+svamp+mawps+boolq+piqa+social-iqa+hellaswag+winogrande+arc-easy+arc-challenge+openbookqa'.split('+');
    expect(configured.map((name) => taskKind(name).name)).toEqual(configured);
    expect(TASK_KINDS.map((kind) => kind.name)).toEqual(configured);
  });

  it.each([
    ['social_i_qa', 'social-iqa'],
    ['ARC-Easy', 'arc-easy'],
    ['ARC-easy', 'arc-easy'],
    ['ARC-Challenge', 'arc-challenge'],
    ['SVAMP', 'svamp'],
    ['GSM8K', 'gsm8k'],
  ])('takes %s for %s', (spelling, name) => {
    expect(taskKind(spelling).name).toBe(name);
  });

  it('refuses others and offers the nearest', () => {
    expect(findTaskKind('gsm9k')).toBeNull();
    expect(() => taskKind('gsm9k')).toThrow("there is no evaluation set 'gsm9k'; did you mean 'gsm8k'?");
  });

  it('gives reasoning in numbers 256 tokens and choices 32', () => {
    expect(taskKind('mawps').maxNewTokens).toBe(256);
    expect(taskKind('winogrande').maxNewTokens).toBe(32);
  });
});

describe('inferTaskKind()', () => {
  it.each([
    [['1', '2.5', '-3'], 'number'],
    [['true', 'false'], 'true/false'],
    [['answer1', 'answer5'], 'answer'],
    [['ending2'], 'ending'],
    [['solution2', 'solution1'], 'solution'],
    [['option1'], 'option'],
  ])('sees of which kind %j are', (answers, name) => {
    expect(inferTaskKind(answers, 'f').answers.name).toBe(name);
  });

  it('refuses what is of no one kind', () => {
    expect(() => inferTaskKind(['1', 'true'], 'mine.json')).toThrow(
      "mine.json: its answers ('1', 'true', …) are not all",
    );
  });
});
