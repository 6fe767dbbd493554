import { describe, expect, it } from 'vitest';
import { parseColumnMap, parseDataRecord } from './data-record.js';

describe('parseDataRecord()', () => {
  it.each([
    [
      { instruction: 'i', output: 'o' },
      { instruction: 'i', input: '', output: 'o' },
    ],
    [
      { prompt: 'p', completion: 'c' },
      { prompt: 'p', completion: 'c' },
    ],
    [{ text: 't', meta: 1 }, { text: 't' }],
    [
      { messages: [{ role: 'user', content: [{ type: 'text', text: 'q' }] }] },
      { messages: [{ role: 'user', content: 'q' }] },
    ],
    [
      { conversations: [{ from: 'gpt', value: 'a' }], tools: '[{"name": "f"}]' },
      { messages: [{ role: 'assistant', content: 'a', learned: true }], tools: [{ name: 'f' }] },
    ],
    [
      { prompt: [{ role: 'assistant', content: 'a' }], completion: [{ role: 'assistant', content: 'b' }] },
      {
        messages: [
          { role: 'assistant', content: 'a', learned: false },
          { role: 'assistant', content: 'b', learned: true },
        ],
      },
    ],
  ])('reads %j', (row, record) => {
    expect(parseDataRecord(row)).toEqual(record);
  });

  it('reads columns of other names as what they stand for, and no others', () => {
    const columns = parseColumnMap(['instruction=query', 'output=answer']);
    expect(parseDataRecord({ query: 'q', answer: 'a', messages: 5 }, { columns })).toEqual({
      ...{ instruction: 'q', input: '', output: 'a' },
    });
    expect(parseDataRecord({ body: 't' }, { textField: 'body' })).toEqual({ text: 't' });
  });

  it.each([
    [{ question_text: 'x', reply: 'y' }, "it has 'question_text', 'reply'; wanted instruction and output, messages"],
    [{ messages: [] }, "'messages' is empty"],
    [{ messages: 'x' }, 'wanted a list of messages in \'messages\', found "x"'],
    [{ messages: [{ role: 'user' }] }, "message 1 of 'messages': wanted its text in 'content' or 'value'"],
    [{ messages: [{ role: 'robot', content: '' }] }, "'robot' is no speaker that is known"],
    [{ messages: [{ role: 'user', content: [{ type: 'image' }] }] }, 'images and sounds are not supported'],
    [{ conversations: [{ from: 'gpt', value: 'a' }], tools: '{' }, "wanted a list of functions in 'tools'"],
    [{ prompt: 'p', completion: 5 }, "two strings or two lists of messages in 'prompt' and 'completion'"],
  ])('says what is wrong with %j', (row, problem) => {
    expect(parseDataRecord(row)).toContain(problem);
  });

  it('names the columns that there are where a mapped one is missing', () => {
    const columns = parseColumnMap(['instruction=query']);
    expect(parseDataRecord({ querry: 'q', answer: 'a' }, { columns })).toBe(
      "lacks the column 'query' (mapped to instruction); did you mean 'querry'? it has 'querry', 'answer'",
    );
  });
});

describe('parseColumnMap()', () => {
  it('refuses what is no field, with the nearest', () => {
    expect(() => parseColumnMap(['instructions=query'])).toThrow(
      "'instructions' is no field of a record; did you mean 'instruction'?",
    );
    expect(() => parseColumnMap(['query'])).toThrow("wanted FIELD=COLUMN, e.g. instruction=query, found 'query'");
  });
});
