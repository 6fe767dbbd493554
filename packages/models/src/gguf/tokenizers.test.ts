/** @file Tokenizers to GGUF's metadata and back: the same ids, and what llama.cpp does not have is refused with its reason. */
import { readFileSync } from 'node:fs';
import { bool, float32s, int32s, Metadata, type MetadataValue, string, strings, uint32 } from '@spft/gguf';
import { describe, expect, it } from 'vitest';
import { ModelError } from '../errors.js';
import { createTokenizer, type TokenizerFiles } from '../tokenizer/hugging-face-tokenizer.js';
import { ggufOfTokenizer } from './gguf-of-tokenizer.js';
import { mergesOfScores, scoresOfMerges } from './sentencepiece.js';
import { TOKEN_TYPE } from './token-types.js';
import { tokenizerOfGguf } from './tokenizer-of-gguf.js';

// biome-ignore lint/suspicious/noExplicitAny: parts of a JSON file that tests change
type Json = Record<string, any>;

const read = (name: string): { tokenizer: Json; config: Json } => {
  const file = (base: string) =>
    JSON.parse(readFileSync(new URL(`../../fixtures/tokenizers/${name}/${base}`, import.meta.url), 'utf8')) as Json;
  return { tokenizer: file('tokenizer.json'), config: file('tokenizer_config.json') };
};
const TEXTS = ["I'll say 1234 times: naïve, 日本語!", '  two  blanks\n\n\tand <|begin|> in it', '🙂', 'hello world'];

/** Llama 2's kind, with every pair that makes a token, as a SentencePiece model has them. */
function sentencePiece(): { tokenizer: Json; config: Json } {
  const files = read('llama2');
  const { model } = files.tokenizer;
  const vocab = Object.entries(model.vocab as Record<string, number>).sort((a, b) => a[1] - b[1]);
  const tokens = vocab.map(([token]) => token);
  const types = tokens.map((token) => (/^<.*>$/.test(token) ? TOKEN_TYPE.byte : TOKEN_TYPE.normal));
  model.merges = mergesOfScores(
    tokens,
    types,
    tokens.map((_, id) => -id),
  );
  return files;
}

const FILES: readonly [string, () => TokenizerFiles][] = [
  ["Llama 3's", () => read('llama3')],
  ["Llama 2's", sentencePiece],
];

describe('ggufOfTokenizer()', () => {
  it.each(FILES)('writes what gives the same ids again: %s', (_, files) => {
    const tokenizer = createTokenizer(files());
    const { metadata, notices } = ggufOfTokenizer(files(), tokenizer.vocabSize + 3, [tokenizer.eosTokenId!]);
    expect(notices).toEqual([]);
    const again = createTokenizer(tokenizerOfGguf(new Metadata(metadata)));
    for (const text of TEXTS) {
      expect(again.encode(text)).toEqual(tokenizer.encode(text));
      expect(again.decode(again.encode(text))).toBe(tokenizer.decode(tokenizer.encode(text)));
    }
    expect([again.vocabSize, again.bosTokenId, again.eosTokenId, again.padTokenId]).toEqual([
      ...[tokenizer.vocabSize, tokenizer.bosTokenId, tokenizer.eosTokenId, tokenizer.padTokenId],
    ]);
    expect(again.chatTemplates).toEqual(tokenizer.chatTemplates);
    const tokens = new Metadata(metadata).strings('tokenizer.ggml.tokens')!;
    expect(tokens.slice(-3)).toEqual([0, 1, 2].map((n) => `[PAD${tokenizer.vocabSize + n}]`));
  });

  it('names the second token that ends a text, and templates beside the default one', () => {
    const files = read('llama3');
    files.config.chat_template = [
      { name: 'default', template: 'a' },
      { name: 'tool_use', template: 'b' },
    ];
    const metadata = new Metadata(ggufOfTokenizer(files, 405, [401, 403]).metadata);
    expect([metadata.count('tokenizer.ggml.eos_token_id'), metadata.count('tokenizer.ggml.eot_token_id')]).toEqual([
      401, 403,
    ]);
    expect(metadata.string('tokenizer.chat_template.tool_use')).toBe('b');
    const again = createTokenizer(tokenizerOfGguf(metadata));
    expect([...again.chatTemplates]).toEqual([...Object.entries({ default: 'a', tool_use: 'b' })]);
  });

  it.each<[string, (files: { tokenizer: Json; config: Json }) => void, string]>([
    [
      'cuts texts in a way of its own',
      ({ tokenizer }) => {
        tokenizer.pre_tokenizer.pretokenizers[0].pattern.Regex = '\\p{N}';
      },
      'pre_tokenizer: llama.cpp is not known to cut texts as',
    ],
    [
      'has a normalizer',
      ({ tokenizer }) => {
        tokenizer.normalizer = { type: 'Lowercase' };
      },
      'normalizer: llama.cpp has none for byte-level vocabularies',
    ],
    [
      'puts more around a text',
      ({ tokenizer }) => {
        const { single } = tokenizer.post_processor.processors[1];
        single.unshift({ ...single[0] });
      },
      'llama.cpp can put begin (400) and end (401) alone',
    ],
  ])('refuses a tokenizer that %s', (_, change, message) => {
    const files = read('llama3');
    change(files);
    expect(() => ggufOfTokenizer(files, 405, [401])).toThrow(ModelError);
    expect(() => ggufOfTokenizer(files, 405, [401])).toThrow(message);
  });

  it('refuses merges that are no SentencePiece model', () => {
    expect(() => ggufOfTokenizer(read('llama2'), 420, [2])).toThrow('are not all the pairs that make its tokens');
  });

  it('says that llama.cpp brings no text into the form NFC', () => {
    const files = read('llama3');
    files.tokenizer.normalizer = { type: 'NFC' };
    expect(ggufOfTokenizer(files, 405, [401]).notices).toEqual([expect.stringContaining('NFC')]);
  });
});

describe('scoresOfMerges()', () => {
  const tokens = ['a', 'b', 'ab', 'abb', 'bb'];
  const types = tokens.map(() => TOKEN_TYPE.normal);

  it('are the ranks of what is made, where they say all', () => {
    const merges = [
      ['a', 'b'],
      ['b', 'b'],
      ['a', 'bb'],
      ['ab', 'b'],
    ] as const;
    const scores = scoresOfMerges(tokens, types, merges)!;
    expect([...scores]).toEqual([-5, -5, 0, -2, -1]);
    expect(
      mergesOfScores(tokens, types, scores)!
        .map((pair) => pair.join(' '))
        .sort(),
    ).toEqual(merges.map((pair) => pair.join(' ')).sort());
  });

  it('are none where a pair is missing, or a token is made twice with another between', () => {
    expect(scoresOfMerges(tokens, types, [['a', 'b']])).toBeNull();
    expect(
      scoresOfMerges(tokens, types, [
        ['ab', 'b'],
        ['a', 'b'],
        ['a', 'bb'],
        ['b', 'b'],
      ]),
    ).toBeNull();
  });

  it('gives up on tokens that would take minutes', () => {
    expect(mergesOfScores(['x'.repeat(1e5)], [1], [0])).toBeNull();
  });
});

describe('tokenizerOfGguf()', () => {
  const plain = (): Map<string, MetadataValue> =>
    new Map([
      ['tokenizer.ggml.model', string('gpt2')],
      ['tokenizer.ggml.pre', string('smollm')],
      ['tokenizer.ggml.tokens', strings(['<s>', 'a', 'b', 'ab', '1', 'Ġ'])],
      ['tokenizer.ggml.token_type', int32s(Int32Array.of(3, 1, 1, 1, 1, 1))],
      ['tokenizer.ggml.merges', strings(['a b'])],
      ['tokenizer.ggml.bos_token_id', uint32(0)],
    ]);
  const made = (...changes: [string, MetadataValue | null][]) => {
    const metadata = plain();
    for (const [key, value] of changes) {
      if (value === null) metadata.delete(`tokenizer.ggml.${key}`);
      else metadata.set(`tokenizer.ggml.${key}`, value);
    }
    return createTokenizer(tokenizerOfGguf(new Metadata(metadata), 'a.gguf'));
  };

  it('cuts texts as the name says, and adds what llama.cpp adds', () => {
    expect(made().encode('ab11 ab<s>')).toEqual([3, 4, 4, 5, 3, 0]);
    expect(made(['add_bos_token', bool(true)]).encode('ab')).toEqual([0, 3]);
    expect(made(['pre', string('llama-bpe')]).encode('ab')).toEqual([0, 3]);
    expect(made(['pre', string('llama-bpe')], ['add_bos_token', bool(false)]).encode('ab')).toEqual([3]);
  });

  it.each<[string, [string, MetadataValue | null][], string]>([
    [
      'another model',
      [['model', string('t5')]],
      "wanted 'gpt2' (byte-level pairs) or 'llama' (SentencePiece), found 't5'",
    ],
    ['no model', [['model', null]], 'found none'],
    [
      'an unknown way to cut texts',
      [['pre', string('tekken')]],
      "tokenizer.ggml.pre: is 'tekken', which is not known here; known are llama-bpe",
    ],
    ['none', [['pre', null]], 'does not say how texts are cut'],
    ['no tokens', [['tokens', null]], 'tokenizer.ggml.tokens: wanted a list of tokens, found none'],
    ['fewer types', [['token_type', int32s(Int32Array.of(3))]], 'has 1 types for 6 tokens'],
    ['a token twice', [['tokens', strings(['<s>', 'a', 'b', 'ab', 'a', 'Ġ'])]], '"a" is token 1 and 4'],
    ['no merges', [['merges', null]], 'tokenizer.ggml.merges: wanted a list of merges, found none'],
    ['a merge that is none', [['merges', strings(['ab'])]], 'tokenizer.ggml.merges[0]: wanted two tokens, found "ab"'],
    [
      'a special id that no token has',
      [['bos_token_id', uint32(6)]],
      'tokenizer.ggml.bos_token_id: is 6, but there are 6 tokens',
    ],
    ['no scores', [['model', string('llama')]], "tokenizer.ggml.scores: wanted the tokens' scores, found none"],
    [
      'fewer scores',
      [
        ['model', string('llama')],
        ['scores', float32s(new Float32Array(2))],
      ],
      'has 2 for 6 tokens',
    ],
  ])('refuses %s', (_, changes, message) => {
    expect(() => made(...changes)).toThrow(ModelError);
    expect(() => made(...changes)).toThrow(message);
    expect(() => made(...changes)).toThrow(/^a\.gguf: /);
  });
});
