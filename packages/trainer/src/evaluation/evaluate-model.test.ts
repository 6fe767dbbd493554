import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { generate } from '../../../models/src/index.js';
import { tinyModel } from '../../../models/test/tiny.js';
import { wordTokenizer } from '../../test/word-tokenizer.js';
import { textTemplate } from '../data/prompt.js';
import { tokenizePrompt } from '../data/tokenize.js';
import { evaluateTask } from './evaluate-task.js';
import { taskKind } from './tasks.js';

beforeAll(() => tf.setBackend('cpu'));

describe('evaluateTask() of a Llama', () => {
  it('finds in batches what generation alone gives for each prompt, and leaves no tensor behind', async () => {
    const model = await tinyModel();
    const tokenizer = wordTokenizer();
    const template = textTemplate('t', { withoutInput: '{instruction} is' });
    const examples = ['1', '1 2', '2 1 3', '3 3 1 2'].map((instruction) => ({ instruction, input: '', answer: '1' }));
    // The other tokens of the model, so that it can say something.
    tokenizer.encode(Array.from({ length: 30 }, (_, i) => ` ${i}`).join(''));
    const alone = [];
    for (const example of examples) {
      const [ids] = await generate(model, [tokenizePrompt(tokenizer, example, template)], { maxNewTokens: 6 });
      const end = ids!.indexOf(tokenizer.eosTokenId);
      alone.push(tokenizer.decode(end < 0 ? ids! : ids!.slice(0, end), { skipSpecialTokens: true }).trim());
    }
    const before = tf.memory().numTensors;
    const { predictions, total } = await evaluateTask(
      (prompts, options) => generate(model, prompts, options),
      tokenizer,
      { name: 'sums', answers: taskKind('gsm8k').answers, maxNewTokens: 6, examples },
      { template, batchSize: 3 },
    );
    expect(tf.memory().numTensors).toBe(before);
    expect([total, predictions.map((p) => p.output)]).toEqual([4, alone]);
    expect(new Set(alone).size).toBeGreaterThan(1);
  });
});
