import { fileURLToPath } from 'node:url';
import type { Tokenizer } from '@spft/models';
import { loadTokenizer } from '@spft/models/node';
import { beforeAll, describe, expect, it } from 'vitest';
import { IGNORED_LABEL } from '../batch/samples.js';
import { chatPromptTemplate } from './chat-prompt.js';
import { type ConversationRecord, parseConversation } from './conversation.js';
import { tokenizeRecord } from './tokenize.js';

const CHATML =
  "{% for m in messages %}{{ '<|begin_of_text|>' + m.role + '\n' + m.content + '<|end_of_text|>\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|begin_of_text|>assistant\n' }}{% endif %}";

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await loadTokenizer(fileURLToPath(new URL('../../../../examples/quickstart/base', import.meta.url)));
});

/** The texts of runs of tokens with loss, from the labels alone. */
function learned(row: Readonly<Record<string, unknown>>, format: string, maxLength = 512): string[] {
  const record = parseConversation(row) as ConversationRecord;
  const { inputIds, labels } = tokenizeRecord(tokenizer, record, {
    template: chatPromptTemplate(tokenizer, { format }),
    maxLength,
  });
  expect(labels.every((label, t) => label === IGNORED_LABEL || label === inputIds[t])).toBe(true);
  const runs: number[][] = [];
  labels.forEach((label, t) => {
    if (label === IGNORED_LABEL) return;
    if (t === 0 || labels[t - 1] === IGNORED_LABEL) runs.push([]);
    runs.at(-1)!.push(label);
  });
  return runs.map((run) => tokenizer.decode(run));
}

const turns = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'What is 2 + 3?' },
  { role: 'assistant', content: 'It is 5.' },
  { role: 'user', content: 'And 5?' },
  { role: 'assistant', content: 'It is 5.' },
];

describe('tokenizeRecord() of a conversation', () => {
  it('gives loss to every message of the assistant with the token that ends it, and to nothing else', () => {
    expect(learned({ messages: turns }, CHATML)).toEqual(['It is 5.<|end_of_text|>', 'It is 5.<|end_of_text|>']);
  });

  it('labels exactly the tokens of the rendered turns', () => {
    const record = parseConversation({ messages: turns }) as ConversationRecord;
    const template = chatPromptTemplate(tokenizer, { format: CHATML });
    const { inputIds, labels } = tokenizeRecord(tokenizer, record, { template, maxLength: 512 });
    const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });
    const said = (role: string, content: string) => encode(`<|begin_of_text|>${role}\n${content}<|end_of_text|>\n`);
    expect(inputIds).toEqual(turns.flatMap(({ role, content }) => said(role, content)));
    const expected = turns.flatMap(({ role, content }) => {
      const ids = said(role, content);
      const header = encode(`<|begin_of_text|>${role}\n`).length;
      const end = ids.length - encode('\n').length;
      return ids.map((id, t) => (role === 'assistant' && t >= header && t < end ? id : IGNORED_LABEL));
    });
    expect(labels).toEqual(expected);
  });

  it('takes ShareGPT rows, where a function call is the model speaking and its result is not', () => {
    const row = {
      system: 'You may call functions.',
      conversations: [
        { from: 'human', value: 'Weather?' },
        { from: 'function_call', value: '{"name": "weather"}' },
        { from: 'observation', value: '{"sky": "blue"}' },
        { from: 'gpt', value: 'Blue.' },
      ],
    };
    expect(learned(row, CHATML)).toEqual(['{"name": "weather"}<|end_of_text|>', 'Blue.<|end_of_text|>']);
  });

  it('gives no loss to a message with weight 0 or train false', () => {
    const quiet = turns.map((turn, n) => (n === 2 ? { ...turn, weight: 0 } : turn));
    expect(learned({ messages: quiet }, CHATML)).toEqual(['It is 5.<|end_of_text|>']);
    expect(learned({ messages: turns.map((turn) => ({ ...turn, train: false })) }, CHATML)).toEqual([]);
  });

  it('keeps what ends a turn where the template has no token for it', () => {
    const plain =
      "{% for m in messages %}{{ m.role + ': ' + m.content + '\n\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";
    // The blank is part of the token that the message begins with.
    expect(learned({ messages: turns.slice(1, 3) }, plain)).toEqual([' It is 5.\n\n']);
  });

  it('finds the turns of a template that begins them otherwise than it asks for them', () => {
    const thinking = CHATML.replace(
      "'<|begin_of_text|>assistant\n' }}{% endif",
      "'<|begin_of_text|>assistant\n<think>' }}{% endif",
    );
    expect(learned({ messages: turns }, thinking)).toEqual(['It is 5.<|end_of_text|>', 'It is 5.<|end_of_text|>']);
  });

  it('refuses a template that leaves an earlier message out', () => {
    const forgetful =
      "{% for m in messages %}{% if loop.last or m.role == 'user' %}{{ m.role + ': ' + m.content + '\n' }}{% endif %}{% endfor %}";
    const messages = turns.slice(1).map((turn, n) => ({ ...turn, content: `${turn.content} ${n}` }));
    expect(() => learned({ messages }, forgetful)).toThrow('renders message 2 otherwise in the whole conversation');
  });

  it('says in the template’s words what it refuses', () => {
    expect(() => learned({ messages: turns }, "{{ raise_exception('system messages are not known here') }}")).toThrow(
      'system messages are not known here',
    );
  });

  it('cuts labels with the tokens', () => {
    expect(learned({ messages: turns }, CHATML, 30)).toEqual([]);
  });

  it('takes one exchange in a template without turns, and no more', () => {
    const exchange = parseConversation({ messages: turns.slice(0, 3) }) as ConversationRecord;
    const { inputIds } = tokenizeRecord(tokenizer, exchange, { template: 'plain', maxLength: 512 });
    expect(tokenizer.decode(inputIds, { skipSpecialTokens: true })).toBe('Be brief.\n\nWhat is 2 + 3?\nIt is 5.');
    const longer = {
      ...(parseConversation({ messages: turns }) as ConversationRecord),
      source: { file: 'f', line: 2 },
    };
    expect(() => tokenizeRecord(tokenizer, longer, { template: 'plain', maxLength: 512 })).toThrow(
      "f:2: template 'plain': this prompt template takes one question and its answer, found system, user, assistant, user, assistant",
    );
  });
});

describe('tokenizeRecord() of other forms', () => {
  it('gives loss to a completion and its end, nothing to its prompt', () => {
    const { inputIds, labels } = tokenizeRecord(
      tokenizer,
      { prompt: 'The sky is', completion: ' blue.' },
      { maxLength: 64 },
    );
    expect(tokenizer.decode(inputIds)).toBe('<|begin_of_text|>The sky is blue.<|end_of_text|>');
    expect(tokenizer.decode(labels.filter((label) => label !== IGNORED_LABEL))).toBe(' blue.<|end_of_text|>');
  });

  it('gives loss to every token of a text', () => {
    const { inputIds, labels } = tokenizeRecord(tokenizer, { text: 'The sky is blue.' }, { maxLength: 64 });
    expect(tokenizer.decode(inputIds)).toBe('<|begin_of_text|>The sky is blue.<|end_of_text|>');
    expect(labels).toEqual(inputIds);
  });
});
