/** @file A tokenizer for tests: a token a word, with its blanks before it; ids are given as words come. */
import type { Tokenizer } from '@spft/models';

type Words = Pick<Tokenizer, 'encode' | 'decode' | 'bosTokenId'> & { readonly eosTokenId: number };

export function wordTokenizer({ endsTexts = false } = {}): Words {
  const words = ['<s>', '</s>'];
  const id = (word: string) => {
    if (!words.includes(word)) words.push(word);
    return words.indexOf(word);
  };
  return {
    bosTokenId: 0,
    eosTokenId: 1,
    encode(text, { addSpecialTokens = true } = {}) {
      const ids = (text.match(/<\/?s>|\s*[^\s<]+|\s+$|\s+|</g) ?? []).map(id);
      return addSpecialTokens ? [0, ...ids, ...(endsTexts ? [1] : [])] : ids;
    },
    decode: (ids, { skipSpecialTokens = false } = {}) =>
      Array.from(ids)
        .filter((i) => !skipSpecialTokens || i > 1)
        .map((i) => words[i])
        .join(''),
  };
}
