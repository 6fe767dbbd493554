import { describe, expect, it } from 'vitest';
import { humanEvalPrompt, parseProblem, passAtK, programOf } from './human-eval.js';

const problem = {
  taskId: 'HumanEval/0',
  prompt: 'from typing import List\n\n\ndef add(a: int) -> int:\n    """ Add. """\n',
  entryPoint: 'add',
};

describe('humanEvalPrompt()', () => {
  it('is the original’s, blanks included', () => {
    const prompt = humanEvalPrompt(problem);
    expect(prompt.startsWith('Below is an instruction that describes a task.\n Write a response')).toBe(true);
    expect(prompt).toContain('Complete the following Python code: \nNotes:');
    expect(prompt.endsWith(`code:\n\`\`\`python\n${problem.prompt}\n\`\`\`\n\n### Response:\n\`\`\`python\n `)).toBe(
      true,
    );
  });
});

describe('programOf()', () => {
  it.each([
    [
      'ends at the closing fence',
      'def add(a):\n    return a\n```\nThis adds.',
      'from typing import List\n\ndef add(a):\n    return a\n',
    ],
    [
      'keeps triple quotes and fences in strings of a line',
      "def add(a):\n    s = '''x'''\n    return a",
      "from typing import List\n\ndef add(a):\n    s = '''x'''\n    return a\n",
    ],
    [
      'keeps the indentation of continued lines',
      'def add(a):\n    return f(a,\n             b)\n```',
      'from typing import List\n\ndef add(a):\n    return f(a,\n             b)\n',
    ],
    ['turns tabs to four spaces', 'def add(a):\n\treturn a', 'from typing import List\n\ndef add(a):\n    return a\n'],
    [
      'takes the blank of the prompt off',
      ' def add(a):\n    return a',
      'from typing import List\n\ndef add(a):\n    return a\n',
    ],
    [
      'takes what a fence of its own holds',
      'Sure:\n```python\ndef add(a):\n    return a\n```',
      'from typing import List\n\ndef add(a):\n    return a\n',
    ],
    [
      'takes what a fence holds that never closes',
      'Sure:\n```python\ndef add(a):\n    return a',
      'from typing import List\n\ndef add(a):\n    return a\n',
    ],
    [
      'repeats no import',
      'from typing import List\ndef add(a):\n    return a',
      'from typing import List\ndef add(a):\n    return a\n',
    ],
    [
      'goes on after the prompt where the function is not written',
      '    return a\n```',
      `${problem.prompt}    return a\n`,
    ],
    ['is a program even of nothing', '```', `${problem.prompt}\n`],
  ])('%s', (_, answer, program) => {
    expect(programOf(answer, problem)).toBe(program);
  });
});

describe('passAtK()', () => {
  it('is the chance that one of k drawn samples is right', () => {
    expect(passAtK(4, 1, 1)).toBeCloseTo(0.25, 12);
    expect(passAtK(4, 1, 2)).toBeCloseTo(0.5, 12);
    expect([passAtK(4, 0, 2), passAtK(4, 3, 2)]).toEqual([0, 1]);
  });
});

describe('parseProblem()', () => {
  it('names the field that is missing', () => {
    expect(parseProblem({ task_id: 'x', prompt: 'y' })).toBe("wanted a string in 'entry_point', found undefined");
  });
});
