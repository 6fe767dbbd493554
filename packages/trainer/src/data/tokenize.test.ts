import { readFileSync } from 'node:fs';
import { createTokenizer, type Tokenizer } from '@spft/models';
import { describe, expect, it } from 'vitest';
import { wordTokenizer } from '../../test/word-tokenizer.js';
import { chatPromptTemplate } from './chat-prompt.js';
import { DatasetError } from './dataset-error.js';
import { textTemplate } from './prompt.js';
import { tokenizePrompt, tokenizeRecord, tokenizeRecords } from './tokenize.js';

const template = textTemplate('t', { withoutInput: 'Q: {instruction} A:' });
const record = { instruction: 'one and one', input: '', output: ' makes two', answer: '2' };

function realTokenizer(name: string): Tokenizer {
  const read = (file: string) =>
    JSON.parse(
      readFileSync(new URL(`../../../models/fixtures/tokenizers/${name}/${file}`, import.meta.url), 'utf8'),
    ) as unknown;
  return createTokenizer({ tokenizer: read('tokenizer.json'), config: read('tokenizer_config.json') });
}

describe('tokenizeRecord()', () => {
  it('begins with the bos token, ends with the eos token, and has labels from the response on', () => {
    const tokenizer = wordTokenizer();
    const { inputIds, labels, truncated } = tokenizeRecord(tokenizer, record, { template, maxLength: 64 });
    expect(tokenizer.decode(inputIds)).toBe('<s>Q: one and one A: makes two</s>');
    expect(labels).toEqual([-100, -100, -100, -100, -100, -100, ...inputIds.slice(6)]);
    expect(tokenizer.decode(labels.slice(6))).toBe(' makes two</s>');
    expect(truncated).toBe(false);
  });

  it('gives all tokens labels on request', () => {
    const { inputIds, labels } = tokenizeRecord(wordTokenizer(), record, {
      template,
      maxLength: 64,
      trainOnInputs: true,
    });
    expect(labels).toEqual(inputIds);
  });

  it('learns the field that is asked for', () => {
    const tokenizer = wordTokenizer();
    const { inputIds } = tokenizeRecord(tokenizer, record, { template, maxLength: 64, response: 'answer' });
    expect(tokenizer.decode(inputIds)).toBe('<s>Q: one and one A:2</s>');
  });

  it('does not end a text twice, and takes the end for no part of the prompt', () => {
    const tokenizer = wordTokenizer({ endsTexts: true });
    const { inputIds, labels } = tokenizeRecord(tokenizer, record, { template, maxLength: 64 });
    expect(tokenizer.decode(inputIds)).toBe('<s>Q: one and one A: makes two</s>');
    expect(tokenizer.decode(labels.slice(6))).toBe(' makes two</s>');
    expect(tokenizer.decode(tokenizePrompt(tokenizer, record, template))).toBe('<s>Q: one and one A:');
  });

  it('cuts what is too long, its end token first', () => {
    const tokenizer = wordTokenizer();
    const whole = tokenizeRecord(tokenizer, record, { template, maxLength: 9 });
    expect([whole.inputIds.length, whole.truncated]).toEqual([9, false]);
    const cut = tokenizeRecord(tokenizer, record, { template, maxLength: 8 });
    expect(tokenizer.decode(cut.inputIds)).toBe('<s>Q: one and one A: makes two');
    expect([cut.labels.length, cut.truncated]).toEqual([8, true]);
    expect(() => tokenizeRecord(tokenizer, record, { template, maxLength: 0 })).toThrow('maxLength is 0');
  });

  it('masks as many tokens as the prompt alone has, with a real tokenizer', () => {
    const tokenizer = realTokenizer('llama3');
    const { inputIds, labels } = tokenizeRecord(tokenizer, record, { template: 'alpaca', maxLength: 512 });
    const context = labels.lastIndexOf(-100) + 1;
    expect(inputIds[0]).toBe(tokenizer.bosTokenId);
    expect(inputIds.at(-1)).toBe(tokenizer.eosTokenId);
    expect(tokenizer.decode(labels.slice(context, -1))).toBe(' makes two');
    expect(inputIds.slice(0, context)).toEqual(tokenizePrompt(tokenizer, record, 'alpaca'));
  });

  it.each(['llama2', 'llama3'])('masks nothing of a response whose first token begins in the prompt (%s)', (name) => {
    const tokenizer = realTokenizer(name);
    for (const answer of ['true', 'false', 'answer1', '42', '-7', '\nA: yes']) {
      const { labels } = tokenizeRecord(tokenizer, { ...record, output: answer }, { maxLength: 512 });
      const learned = tokenizer.decode(labels.slice(labels.lastIndexOf(-100) + 1), { skipSpecialTokens: true });
      expect(learned.trim()).toBe(answer.trim());
    }
  });
});

describe('chatPromptTemplate()', () => {
  const words = wordTokenizer();
  const chats = {
    ...words,
    applyChatTemplate: (messages: readonly { role: string; content: string }[], options = {}) => {
      const { addGenerationPrompt, template: format } = options as { addGenerationPrompt?: boolean; template?: string };
      const turns = messages.map(({ role, content }) => `${role}: ${content}</s>`).join(' ');
      return `<s>${format ?? ''}${turns}${addGenerationPrompt ? ' assistant:' : ''}`;
    },
  };

  it("makes instruction and input the user's turn and the response the assistant's, which the template ends", () => {
    const chat = chatPromptTemplate(chats, { system: 'Be brief.' });
    const { inputIds, labels } = tokenizeRecord(
      words,
      { ...record, input: '1 1', output: '2' },
      { template: chat, maxLength: 99 },
    );
    expect(words.decode(inputIds)).toBe('<s>system: Be brief.</s> user: one and one\n\n1 1</s> assistant: 2</s>');
    expect(words.decode(labels.slice(labels.lastIndexOf(-100) + 1))).toBe(' 2</s>');
    expect(words.decode(tokenizePrompt(words, record, chat))).toBe(
      '<s>system: Be brief.</s> user: one and one</s> assistant:',
    );
  });

  it('takes another template by chat_template_format, of which "none" is none', () => {
    expect(chatPromptTemplate(chats, { format: '[mine]' }).prompt(record)).toMatch(/^<s>\[mine\]user:/);
    expect(chatPromptTemplate(chats, { format: 'none' }).prompt(record)).toMatch(/^<s>user:/);
  });
});

describe('tokenizeRecords()', () => {
  const long = { ...record, instruction: 'a b c d e f g h i j', source: { file: 'mine.jsonl', line: 12 } };

  it('counts what it cuts', () => {
    const progress: number[] = [];
    const { samples, truncated, skipped } = tokenizeRecords(
      wordTokenizer(),
      [record, { ...record, output: ' x y z z z' }],
      {
        template,
        maxLength: 9,
        onProgress: (done) => progress.push(done),
      },
    );
    expect([samples.length, truncated, skipped, progress]).toEqual([2, 1, [], [1, 2]]);
  });

  it('refuses records that keep no label, naming the first by file and line', () => {
    const run = () => tokenizeRecords(wordTokenizer(), [record, long], { template, maxLength: 9 });
    expect(run).toThrow(DatasetError);
    expect(run).toThrow(
      'mine.jsonl:12: no label is left: the prompt alone fills the maximum of 9 tokens, or the response is empty (1 of 2 records are so); raise model_max_length, or leave such records out',
    );
  });

  it('leaves them out on request, but not all of them', () => {
    const options = { template, maxLength: 9, unlabelled: 'skip' } as const;
    const { samples, skipped } = tokenizeRecords(wordTokenizer(), [long, record], options);
    expect([samples.length, skipped]).toEqual([1, [0]]);
    expect(() => tokenizeRecords(wordTokenizer(), [long], options)).toThrow('1 of 1 records are so');
  });
});
