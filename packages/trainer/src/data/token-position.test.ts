import { readFileSync } from 'node:fs';
import { createTokenizer } from '@spft/models';
import { describe, expect, it } from 'vitest';
import { IGNORED_LABEL } from '../batch/samples.js';
import { tokensBefore } from './token-position.js';
import { tokenizeRecord } from './tokenize.js';

const json = JSON.parse(
  readFileSync(new URL('../../../models/fixtures/tokenizers/llama3/tokenizer.json', import.meta.url), 'utf8'),
);
const named = { bos_token: '<|begin|>', eos_token: '<|end|>' };
const plain = createTokenizer({ tokenizer: json, config: named });
const template = { name: 'test', prompt: ({ instruction }: { instruction: string }) => `${instruction}  ` };
const learned = (tokenizer: typeof plain, instruction: string, output: string) => {
  const { inputIds, labels } = tokenizeRecord(
    tokenizer,
    { instruction, input: '', output },
    { template, maxLength: 500 },
  );
  const first = labels.findIndex((label) => label !== IGNORED_LABEL);
  return { ids: inputIds.slice(first), context: first };
};

describe('tokenizeRecord()', () => {
  it('counts context by tokens, where decoded text would tell it wrong', () => {
    const lowered = createTokenizer({
      tokenizer: { ...json, normalizer: { type: 'Sequence', normalizers: [{ type: 'NFKC' }, { type: 'Lowercase' }] } },
      config: named,
    });
    const cleaned = createTokenizer({
      tokenizer: json,
      config: {
        ...named,
        clean_up_tokenization_spaces: true,
        clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output: true,
      },
    });
    for (const output of ['x != y , z .', 'true', '  blanks']) {
      const expected = learned(plain, 'ask', output).context;
      // The same pieces before the response, whatever becomes of the letters in it.
      expect(learned(cleaned, 'ask', output).context).toBe(expected);
      expect(learned(lowered, 'ask', output).context).toBe(expected);
    }
  });

  it('masks no token that reaches into the response', () => {
    for (const output of ['true', 'a', '12', '…', '\n', '😀']) {
      const { ids } = learned(plain, 'ask', output);
      const text = plain.decode(ids, { skipSpecialTokens: true });
      expect(text.trim() === '' ? text : text.trimStart()).toBe(output.trim() === '' ? text : output);
    }
  });
});

describe('tokensBefore()', () => {
  it('is the number of tokens that end before a place, at every place of many texts', () => {
    const texts = [
      "the answer is 12345, isn't it?",
      '  two  blanks ',
      'a\n\n\nb',
      '日本語 😀 naïve',
      "don't <|end|> stop",
    ];
    const encode = (text: string) => plain.encode(text, { addSpecialTokens: false });
    for (const text of texts) {
      const ids = encode(text);
      // Where each token ends, by its bytes: this tokenizer loses none.
      const ends = ids.map((_, n) => Buffer.byteLength(plain.decode(ids.slice(0, n + 1)).replace(/\ufffd+$/, '')));
      for (let position = 0; position <= text.length; position++) {
        if (/^[\udc00-\udfff]/.test(text.slice(position, position + 1))) continue;
        const bytes = Buffer.byteLength(text.slice(0, position));
        const { count } = tokensBefore(encode, ids, text, position);
        // Never a token that reaches over the place.
        expect(count === 0 || ends[count - 1]! <= bytes, `${count} before ${position} of '${text}'`).toBe(true);
        const most = ends.filter((end) => end <= bytes).length;
        // Of characters of several bytes some tokens end in the middle.
        if (/^[ -~\n]*$/.test(text))
          expect(most - count, `${count} of ${most} before ${position}`).toBeLessThanOrEqual(1);
      }
    }
  });
});
