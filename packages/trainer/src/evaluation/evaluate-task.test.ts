import { describe, expect, it } from 'vitest';
import { wordTokenizer } from '../../test/word-tokenizer.js';
import { textTemplate } from '../data/prompt.js';
import { NUMBER_ANSWER } from './answers.js';
import { type EvaluateOptions, evaluateTask, type TokenGenerator } from './evaluate-task.js';

const template = textTemplate('t', { withoutInput: '{instruction} =' }, { stop: '### Response:' });
const task = {
  name: 'sums',
  answers: NUMBER_ANSWER,
  maxNewTokens: 5,
  examples: ['1', '1 + 1', '1 + 1 + 1', '2 + 2', '1 + 1 + 1 + 1 + 1'].map((instruction) => ({
    instruction,
    input: '',
    answer: String(instruction.split(' + ').reduce((sum, term) => sum + Number(term), 0)),
  })),
};

/** Answers with what `write` says to each prompt's text; remembers the prompts of each batch. */
function answering(write: (prompt: string) => string) {
  const tokenizer = wordTokenizer();
  const batches: string[][] = [];
  const options: unknown[] = [];
  const generator: TokenGenerator = async (promptIds, given) => {
    const prompts = promptIds.map((ids) => tokenizer.decode(ids, { skipSpecialTokens: true }));
    batches.push(prompts);
    options.push(given);
    return prompts.map((prompt) => tokenizer.encode(write(prompt), { addSpecialTokens: false }));
  };
  const run = (more: EvaluateOptions = {}) => evaluateTask(generator, tokenizer, task, { template, ...more });
  return { run, batches, options };
}

const sum = (prompt: string) => (prompt.match(/\d/g) ?? []).reduce((total, term) => total + Number(term), 0);

describe('evaluateTask()', () => {
  it('counts right answers and tells every prediction, in the order of the examples', async () => {
    const { run } = answering((prompt) => (prompt === '2 + 2 =' ? ' no idea' : ` it is ${sum(prompt)}.`));
    const result = await run({ batchSize: 2, keepPrompts: true });
    expect(result).toMatchObject({ task: 'sums', correct: 4, total: 5, accuracy: 0.8 });
    expect(result.predictions.map((p) => p.expected)).toEqual(['1', '2', '3', '4', '5']);
    expect(result.predictions[1]).toEqual({
      prompt: '<s>1 + 1 =',
      output: 'it is 2.',
      predicted: 2,
      expected: '2',
      correct: true,
    });
    expect(result.predictions[3]).toMatchObject({ output: 'no idea', predicted: null, correct: false });
    expect(result.seconds).toBeGreaterThanOrEqual(0);
  });

  it('batches by length, longest first, and reports after every batch', async () => {
    const { run, batches } = answering((prompt) => `${sum(prompt)}`);
    const progress: unknown[] = [];
    await run({ batchSize: 2, onProgress: ({ done, total, correct }) => progress.push([done, total, correct]) });
    expect(batches).toEqual([['1 + 1 + 1 + 1 + 1 =', '1 + 1 + 1 ='], ['1 + 1 =', '2 + 2 ='], ['1 =']]);
    expect(progress).toEqual([
      [2, 5, 2],
      [4, 5, 4],
      [5, 5, 5],
    ]);
  });

  it('does not read on after the end token or the next turn', async () => {
    const afterEnd = await answering((prompt) => `${sum(prompt)}</s> 99`).run();
    expect(afterEnd.accuracy).toBe(1);
    const afterTurn = await answering((prompt) => `${sum(prompt)}\n### Response: 99`).run();
    expect(afterTurn.accuracy).toBe(1);
    const readOn = await answering((prompt) => `${sum(prompt)} 99`).run();
    expect(readOn.accuracy).toBe(0);
  });

  it("passes the task's length and the caller's end tokens on", async () => {
    const { run, options } = answering(() => '');
    await run({ limit: 1 });
    await run({ limit: 1, maxNewTokens: 9, eosTokenIds: [4] });
    expect(options).toEqual([{ maxNewTokens: 5 }, { maxNewTokens: 9, eosTokenIds: [4] }]);
  });

  it('takes the first examples under a limit, or those that the seed draws', async () => {
    const { run } = answering(() => '');
    const answers = async (options: EvaluateOptions) => (await run(options)).predictions.map((p) => p.expected);
    expect(await answers({ limit: 2 })).toEqual(['1', '2']);
    const drawn = await answers({ limit: 2, seed: 3 });
    expect(drawn).toHaveLength(2);
    expect(await answers({ limit: 2, seed: 3 })).toEqual(drawn);
    const draws = new Set(
      await Promise.all([1, 2, 3, 4, 5, 6].map(async (seed) => String(await answers({ limit: 2, seed })))),
    );
    expect(draws.size).toBeGreaterThan(1);
  });

  it("evaluates with upstream's evaluation prompt by default", async () => {
    const { run, batches } = answering(() => '');
    await run({ template: undefined, limit: 1 });
    expect(batches[0]?.[0]).toContain(
      'completes the request. \n\n                ### Instruction:\n                1\n\n',
    );
  });

  it('refuses a generator that loses prompts, and options out of range', async () => {
    const lossy = evaluateTask(async () => [], wordTokenizer(), task, { template });
    await expect(lossy).rejects.toThrow('the generator gave 0 outputs for 5 prompts');
    await expect(answering(() => '').run({ batchSize: 0 })).rejects.toThrow('batchSize is 0');
    await expect(answering(() => '').run({ limit: -1 })).rejects.toThrow('count is -1');
    const nothing = evaluateTask(async () => [], wordTokenizer(), { ...task, examples: [] });
    await expect(nothing).rejects.toThrow('sums has no example');
  });
});
