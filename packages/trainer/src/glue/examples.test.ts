import { fileURLToPath } from 'node:url';
import { floatLabel } from '@spft/models';
import { loadTokenizer } from '@spft/models/node';
import { describe, expect, it } from 'vitest';
import { glueSample, parseGlueRow } from './examples.js';
import { GLUE_TASKS, glueTask } from './tasks.js';

const base = fileURLToPath(new URL('../../../../examples/quickstart/base', import.meta.url));

describe('glueTask()', () => {
  it('knows nine, with the classes in the order of their numbers', () => {
    expect(GLUE_TASKS.map(({ name, classes }) => [name, classes.length])).toEqual([
      ['rte', 2],
      ['cola', 2],
      ['stsb', 0],
      ['sst2', 2],
      ['qnli', 2],
      ['mrpc', 2],
      ['mnli', 3],
      ['qqp', 2],
      ['wnli', 2],
    ]);
    expect(glueTask('rte').classes).toEqual(['entailment', 'not_entailment']);
    expect(glueTask('wnli').classes).toEqual(['not_entailment', 'entailment']);
    expect(Object.keys(glueTask('mnli').evaluated)).toEqual(['mnli', 'mnli-mm']);
    expect(() => glueTask('rtee')).toThrow("there is no GLUE task 'rtee'; did you mean 'rte'?");
  });
});

describe('parseGlueRow()', () => {
  const rte = glueTask('rte');
  const row = (label: unknown) => ({ sentence1: 'a', sentence2: 'b', label, idx: 0 });
  it.each([
    [1, 1],
    ['0', 0],
    ['not_entailment', 1],
    [-1, null],
  ])('takes the label %j', (label, expected) => {
    expect(parseGlueRow(rte, row(label))).toEqual({ texts: ['a', 'b'], label: expected });
  });

  it.each([
    [row(2), 'wanted as label of rte a number below 2 or one of entailment, not_entailment, found 2'],
    [{ sentence1: 'a', label: 0 }, "lacks the column 'sentence2' of rte; it has 'sentence1', 'label'"],
    [{ sentence1: 'a', sentence2: 'b' }, "lacks the column 'label'; it has 'sentence1', 'sentence2'"],
    [{ sentence1: 5, sentence2: 'b', label: 0 }, "wanted a string in 'sentence1', found 5"],
  ])('refuses %j', (bad, problem) => {
    expect(parseGlueRow(rte, bad)).toBe(problem);
  });
});

describe('glueSample()', () => {
  it('encodes a pair as the tokenizer does each, the longer one cut, the label at the last token', async () => {
    const tokenizer = await loadTokenizer(base);
    const [a, b] = ['What is 2 + 3? It is five, is it not?', 'Five.'];
    const sample = glueSample(tokenizer, { texts: [a, b], label: 1 }, glueTask('rte'), 64);
    expect(sample.inputIds).toEqual([...tokenizer.encode(a), ...tokenizer.encode(b)]);
    expect(
      Array.from(sample.labels).map((label, t) => (t + 1 === sample.labels.length ? label : label === -100)),
    ).toEqual([...new Array(sample.labels.length - 1).fill(true), 1]);
    const cut = glueSample(tokenizer, { texts: [a, b], label: 1 }, glueTask('rte'), 12);
    expect(cut.inputIds).toEqual([
      ...tokenizer.encode(a).slice(0, 12 - tokenizer.encode(b).length),
      ...tokenizer.encode(b),
    ]);
    expect(Array.from(glueSample(tokenizer, { texts: [a, b], label: 3.5 }, glueTask('stsb'), 64).labels).at(-1)).toBe(
      floatLabel(3.5),
    );
  });
});
