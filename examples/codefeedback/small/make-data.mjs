/** Writes small data of our own in the forms of CodeFeedback-Filtered-Instruction (`query`, `answer`) and of HumanEval. */
import { writeFileSync } from 'node:fs';

const functions = [
  ['add', 'a, b', 'the sum of two numbers', 'return a + b'],
  ['double', 'x', 'twice a number', 'return 2 * x'],
  ['is_even', 'n', 'whether a number is even', 'return n % 2 == 0'],
  ['largest', 'items', 'the largest item of a list', 'return max(items)'],
  ['reverse', 'text', 'a text from its end to its beginning', 'return text[::-1]'],
  ['count', 'items, wanted', 'how often an item is in a list', 'return sum(1 for item in items if item == wanted)'],
  ['square', 'x', 'a number times itself', 'return x * x'],
  ['words', 'text', 'how many words a text has', 'return len(text.split())'],
];
const questions = [
  'Write a Python function that gives',
  'How do I write a function in Python for',
  'Please show Python code for',
];
const rows = functions.flatMap(([name, parameters, does, body]) =>
  questions.map((question) => ({
    query: `${question} ${does}.`,
    answer: `Here is one:\n\`\`\`python\ndef ${name}(${parameters}):\n    ${body}\n\`\`\`\nIt gives ${does}.`,
    resource: 'spft-examples',
    lang: 'python',
  })),
);
const problems = [
  ['triple', 'x: int', 'int', 'Return three times x.', ['triple(2)', '6']],
  ['shortest', 'words: list', 'str', 'Return the shortest of the words.', ["shortest(['ab', 'c'])", "'c'"]],
  ['is_odd', 'n: int', 'bool', 'Return whether n is odd.', ['is_odd(3)', 'True']],
].map(([name, parameters, type, does, [call, value]], n) => ({
  task_id: `Small/${n}`,
  prompt: `def ${name}(${parameters}) -> ${type}:\n    """ ${does}\n    >>> ${call}\n    ${value}\n    """\n`,
  entry_point: name,
  canonical_solution: '',
  test: `def check(candidate):\n    assert candidate is not None\n`,
}));
const lines = (values) => `${values.map((value) => JSON.stringify(value)).join('\n')}\n`;
writeFileSync(new URL('train.jsonl', import.meta.url), lines(rows));
writeFileSync(new URL('problems.jsonl', import.meta.url), lines(problems));
