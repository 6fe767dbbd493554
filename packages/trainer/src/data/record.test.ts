/**
 * @file What is taken for a record.
 * @own-process as V8 may give up on a text of millions of characters (RangeError, its stack for regular expressions) where hundreds of files ran before.
 */
import { describe, expect, it } from 'vitest';
import { parseRecord, responseOf } from './record.js';

describe('parseRecord()', () => {
  it('takes the rows of upstream as they are, a number as answer too', () => {
    const row = { instruction: 'Add.', input: '1 and 2', output: 'It is 3.', answer: 3, extra: true };
    expect(parseRecord(row)).toEqual({ instruction: 'Add.', input: '1 and 2', output: 'It is 3.', answer: '3' });
    expect(parseRecord({ instruction: 'Add.', output: '3' })).toEqual({ instruction: 'Add.', input: '', output: '3' });
  });

  it('takes rows of GSM8K without their calculator annotations', () => {
    const row = { question: 'How many?', answer: 'He has 12*90=<<12*90=1080>>1080 clips.\n#### 1,080' };
    expect(parseRecord(row)).toEqual({
      instruction: 'How many?',
      input: '',
      output: 'He has 12*90=1080 clips.\n#### 1,080',
      answer: '1080',
    });
  });

  it.each([
    ['so 5\n####   a  b \n', 'a  b'],
    ['####\n\n 72', '72'],
    ['#### 5\n#### 7', '7'],
    ['#### 5 #### 7', '5 #### 7'],
    ['#####', '#'],
    ['#### 5\nand more', undefined],
    ['####', undefined],
    ['#### \n', undefined],
  ])("finds GSM8K's result in %j: %j", (answer, result) => {
    const record = parseRecord({ question: 'x', answer });
    expect(typeof record === 'string' ? undefined : record.answer).toBe(result);
  });

  it('reads an answer of a million blanks or markers in one pass', () => {
    for (const answer of [
      `#### x${' '.repeat(1e6)}y\nz`,
      `${'#### '.repeat(1e6)}x\nz`,
      `####${'\n'.repeat(1e6)}x\ny`,
    ]) {
      expect(parseRecord({ question: 'x', answer })).toContain("wanted the result after '####'");
    }
  });

  it('shows a value of any depth', () => {
    let deep: unknown = 1;
    for (let level = 0; level < 100_000; level++) deep = [deep];
    expect(parseRecord({ instruction: deep, output: 'x' })).toMatch(/wanted a string in 'instruction', found \[\[\[/);
  });

  it('takes rows of MAWPS: the equation, then the answer', () => {
    const row = { id: 1, original_text: 'How many ?', segmented_text: 'How many ?', equation: 'X=(1.5+2.0)', ans: 3.5 };
    expect(parseRecord(row)).toEqual({
      instruction: 'How many ?',
      input: '',
      output: 'X=(1.5+2.0)\nThe answer is 3.5.',
      answer: '3.5',
    });
  });

  it.each([
    ['an array', [1], `wanted an object {"instruction": …, "output": …}, found [1]`],
    ['null', null, 'found null'],
    ['a number', 7, 'found 7'],
    ['no instruction', { output: 'x', prompt: 'y' }, "lacks 'instruction' (a string); it has 'output', 'prompt'"],
    ['no output', { instruction: 'x', answer: '1' }, "lacks 'output' (a string); it has 'instruction', 'answer'"],
    ['a number as output', { instruction: 'x', output: 5 }, "wanted a string in 'output', found 5"],
    ['an object as input', { instruction: 'x', output: 'y', input: {} }, "wanted a string in 'input', found {}"],
    ['a list as answer', { instruction: 'x', output: 'y', answer: [] }, "in 'answer', found []"],
    ['GSM8K without a result', { question: 'x', answer: 'so 5' }, `after '####' in 'answer', found "so 5"`],
    ['MAWPS without an equation', { original_text: 'x', ans: 1 }, "lacks 'equation'"],
  ])('says what is wrong with %s', (_, row, problem) => {
    expect(parseRecord(row)).toContain(problem);
  });

  it('needs the answer and not the output where that is asked for', () => {
    expect(parseRecord({ instruction: 'x', answer: '1' }, 'answer')).toEqual({
      instruction: 'x',
      input: '',
      output: '',
      answer: '1',
    });
    expect(parseRecord({ instruction: 'x', output: 'y' }, 'answer')).toContain("lacks 'answer'");
  });
});

describe('responseOf()', () => {
  const commonsense = { instruction: 'x', input: '', output: 'the correct answer is answer1', answer: 'answer1' };
  const math = { instruction: 'x', input: '', output: 'the correct answer is: 1 + 1 = 2', answer: '2' };

  it('is the bare answer for rows of commonsense_170k and the output for all others, as upstream does', () => {
    expect(responseOf(commonsense)).toBe('answer1');
    expect(responseOf(math)).toBe('the correct answer is: 1 + 1 = 2');
  });

  it('is what was asked for', () => {
    expect(responseOf(commonsense, 'output')).toBe('the correct answer is answer1');
    expect(responseOf(math, 'answer')).toBe('2');
    expect(() => responseOf({ instruction: 'x', input: '', output: 'y' }, 'answer')).toThrow('has no answer');
  });
});
