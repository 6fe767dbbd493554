import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ModelError } from '../errors.js';
import { checkVocabulary, createTokenizer, type TokenizerFiles } from './hugging-face-tokenizer.js';

const read = (file: string) =>
  JSON.parse(readFileSync(new URL(`../../fixtures/tokenizers/llama3/${file}`, import.meta.url), 'utf8'));
const [json, config] = [read('tokenizer.json'), read('tokenizer_config.json')];
const [BEGIN, END, PAD, NEXT] = [400, 401, 402, 405];
const make = (more: object = {}, files: Partial<TokenizerFiles> = {}) =>
  createTokenizer({ tokenizer: json, config: { ...config, ...more }, ...files });
const extra = {
  content: '<|extra|>',
  special: true,
  lstrip: false,
  rstrip: false,
  normalized: false,
  single_word: false,
};

describe('clean_up_tokenization_spaces', () => {
  const forced = 'clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output';

  it('is ignored for BPE, as in transformers: decoded texts are what was encoded', () => {
    const tokenizer = make({ clean_up_tokenization_spaces: true });
    for (const text of ['x != y', 'a , b . c ? d !', "it 's", " I do n't"]) {
      expect(tokenizer.decode(tokenizer.encode(text, { addSpecialTokens: false }))).toBe(text);
    }
  });

  it('is obeyed where the file insists on it', () => {
    const tokenizer = make({ clean_up_tokenization_spaces: true, [forced]: true });
    expect(tokenizer.decode(tokenizer.encode('x != y , z .', { addSpecialTokens: false }))).toBe('x!= y, z.');
  });
});

describe('the tokens around a text', () => {
  const ends = (more: object, files: Partial<TokenizerFiles> = {}) => {
    const ids = make(more, files).encode('the');
    return [ids[0] === BEGIN, ids.at(-1) === END];
  };

  it('keep the begin token where only add_eos_token is set', () => {
    expect(ends({ add_eos_token: true })).toEqual([true, true]);
    expect(ends({ add_eos_token: false })).toEqual([true, false]);
    expect(ends({ add_bos_token: false, add_eos_token: true })).toEqual([false, true]);
    expect(ends({ add_bos_token: true })).toEqual([true, false]);
    expect(ends({})).toEqual([true, false]);
  });

  it('are those of the class where tokenizer.json says nothing', () => {
    const bare = { ...json, post_processor: null };
    expect(ends({ tokenizer_class: 'LlamaTokenizerFast', add_eos_token: true }, { tokenizer: bare })).toEqual([
      true,
      true,
    ]);
    expect(ends({ add_eos_token: true }, { tokenizer: bare })).toEqual([false, true]);
  });
});

describe('tokens that are in no tokenizer.json', () => {
  const ids = (tokenizer: ReturnType<typeof make>) => tokenizer.encode('a<|extra|>b', { addSpecialTokens: false });
  const [a] = make().encode('a', { addSpecialTokens: false });
  const [b] = make().encode('b', { addSpecialTokens: false });

  it.each<[string, object, Partial<TokenizerFiles>?]>([
    ['added_tokens_decoder', { added_tokens_decoder: { [NEXT]: extra } }],
    ['added_tokens.json', {}, { addedTokens: { '<|extra|>': NEXT } }],
    ['additional_special_tokens', { additional_special_tokens: ['<|extra|>'] }],
    ['additional_special_tokens as an object', { additional_special_tokens: [extra] }],
    ['extra_special_tokens', { extra_special_tokens: ['<|extra|>'] }],
    ['named extra_special_tokens', { extra_special_tokens: { eot_token: '<|extra|>' } }],
    ['a named token of its own', { eot_token: '<|extra|>' }],
    ['special_tokens_map.json', {}, { specialTokensMap: { additional_special_tokens: ['<|extra|>'] } }],
  ])('are known from %s, with the id that transformers gives', (_, more, files) => {
    const tokenizer = make(more, files);
    expect(ids(tokenizer)).toEqual([a, NEXT, b]);
    // Nothing says that a token of added_tokens.json is special.
    expect(tokenizer.decode([a!, NEXT], { skipSpecialTokens: true })).toBe(files?.addedTokens ? 'a<|extra|>' : 'a');
    expect(tokenizer.vocabSize).toBe(NEXT + 1);
  });

  it('reach the templates by their names', () => {
    const template = { chat_template: '{{ eot_token }}|{{ bos_token }}' };
    const tokenizer = make({ ...template, extra_special_tokens: { eot_token: '<|header|>' } });
    expect(tokenizer.applyChatTemplate([])).toBe('<|header|>|<|begin|>');
  });

  it('count by added_tokens_decoder where both files name some', () => {
    expect(ids(make({ added_tokens_decoder: {} }, { addedTokens: { '<|extra|>': NEXT } }))).not.toContain(NEXT);
  });

  it('are refused where their ids contradict tokenizer.json', () => {
    expect(() => make({ added_tokens_decoder: { 7: { ...extra, content: '<|pad|>' } } })).toThrow(
      'the id 7 in added_tokens_decoder and 402',
    );
    expect(() => make({ added_tokens_decoder: { 7: extra } })).toThrow(
      "the id 7 is '<|extra|>' in added_tokens_decoder and",
    );
    expect(() => make({}, { addedTokens: { '<|pad|>': 1.5 } })).toThrow('wanted a token id, a whole number');
  });
});

describe('a padding token', () => {
  it('comes before further tokens, as in transformers', () => {
    const tokenizer = make({ pad_token: '[PAD]', extra_special_tokens: { img_token: '<|extra|>' } });
    expect([tokenizer.padTokenId, tokenizer.tokenId('<|extra|>'), tokenizer.vocabSize]).toEqual([
      NEXT,
      NEXT + 1,
      NEXT + 2,
    ]);
  });

  it('that only the config has is added beyond all others, and needs no embedding', () => {
    const tokenizer = make({ pad_token: '[PAD]' });
    expect([tokenizer.padTokenId, tokenizer.vocabSize]).toEqual([NEXT, NEXT]);
    expect(() => checkVocabulary(tokenizer, NEXT)).not.toThrow();
  });

  it('one beyond the embedding does not refuse the model', () => {
    const added = [...json.added_tokens, { id: NEXT, ...extra, content: '<pad>' }];
    const tokenizer = make({ pad_token: '<pad>' }, { tokenizer: { ...json, added_tokens: added } });
    expect(tokenizer.padTokenId).toBe(NEXT);
    expect(() => checkVocabulary(tokenizer, NEXT)).not.toThrow();
    expect(() => checkVocabulary(tokenizer, NEXT - 1)).toThrow(ModelError);
  });
});

describe('split_special_tokens', () => {
  it('makes special tokens in a text ordinary characters', () => {
    expect(make({ split_special_tokens: true }).encode('a<|pad|>b')).not.toContain(PAD);
    expect(make().encode('a<|pad|>b')).toContain(PAD);
  });
});

describe('a byte order mark', () => {
  it('survives encoding and decoding, anywhere', () => {
    const tokenizer = make();
    for (const text of ['\ufeffx', 'x\ufeffa', 'x\ufeff']) {
      expect(tokenizer.decode(tokenizer.encode(text, { addSpecialTokens: false }))).toBe(text);
    }
    const llama2 = JSON.parse(
      readFileSync(new URL('../../fixtures/tokenizers/llama2/tokenizer.json', import.meta.url), 'utf8'),
    );
    const fallback = createTokenizer({ tokenizer: llama2 });
    expect(fallback.decode(fallback.encode('x\ufeffa', { addSpecialTokens: false }))).toBe('x\ufeffa');
  });
});

describe('createTokenizer()', () => {
  let deep: unknown = 1;
  for (let n = 0; n < 50_000; n++) deep = [deep];
  const model = (more: object) => ({ tokenizer: { ...json, model: { ...json.model, ...more } } });
  const part = (more: object) => ({ tokenizer: { ...json, ...more } });
  const token = (more: object) => part({ added_tokens: [{ ...json.added_tokens[0], ...more }] });

  it.each<[string, Partial<TokenizerFiles>, string]>([
    [
      'a vocabulary of fractions',
      model({ vocab: { a: 1.5 } }),
      'wanted a token id, a whole number, 0 or more, found 1.5',
    ],
    ['a vocabulary of negative ids', model({ vocab: { a: -1 } }), 'found -1'],
    ['a vocabulary of ids beyond 32 bits', model({ vocab: { a: 2 ** 53 - 1 } }), 'wanted a token id'],
    ['a vocabulary of texts', model({ vocab: { a: '1' } }), 'found "1"'],
    ['a vocabulary that is a list', model({ vocab: [] }), 'model.vocab: wanted an object'],
    ['an added token with a fraction for id', token({ id: 2.5 }), 'added_tokens[0].id: wanted a token id'],
    ['an added token without content', token({ content: 3 }), 'added_tokens[0].content: wanted a string, found 3'],
    ['an added token with text for a flag', token({ lstrip: 'no' }), 'added_tokens[0].lstrip: wanted true or false'],
    ['an added token with an unknown field', token({ colour: 1 }), 'added_tokens[0].colour: is not known'],
    ['added tokens that are no list', part({ added_tokens: {} }), 'added_tokens: wanted an array'],
    ['dropout in merging', model({ dropout: 0.1 }), 'model.dropout: wanted null'],
    ['another model', model({ type: 'Unigram' }), 'model.type: wanted BPE'],
    ['merges of three', model({ merges: ['a b c'] }), 'model.merges[0]: wanted two tokens'],
    ['merges of strangers', model({ merges: [['a', 'no such']] }), 'model.merges[0]: wanted tokens of the vocabulary'],
    ['a suffix of words', model({ end_of_word_suffix: '</w>' }), 'end_of_word_suffix'],
    ['an unknown field of the model', model({ surprise: true }), 'model.surprise: is not known'],
    ['an unknown normalizer', part({ normalizer: { type: 'Nmt' } }), 'Unknown Normalizer type: Nmt'],
    [
      'an unknown pre-tokenizer',
      part({ pre_tokenizer: { type: 'UnicodeScripts' } }),
      'Unknown PreTokenizer type: UnicodeScripts',
    ],
    [
      'a number for a pattern',
      part({ normalizer: { type: 'Replace', pattern: 3, content: '' } }),
      'normalizer.pattern: wanted an object',
    ],
    [
      'a bad expression',
      part({ normalizer: { type: 'Replace', pattern: { Regex: '(' }, content: '' } }),
      'no regular expression',
    ],
    [
      'a back reference',
      part({ normalizer: { type: 'Replace', pattern: { Regex: '(a)\\1' }, content: '' } }),
      'back reference',
    ],
    [
      'an unknown behaviour',
      part({ pre_tokenizer: { type: 'Split', pattern: { String: 'a' }, behavior: 'Sideways', invert: false } }),
      "'Isolated'",
    ],
    [
      'a field that nothing heeds',
      part({ pre_tokenizer: { type: 'Digits', individual_digits: true, base: 7 } }),
      'pre_tokenizer.base: is not known',
    ],
    ['an unknown field of the file', part({ plugins: [] }), 'file.plugins: is not known'],
    [
      'a template without the text',
      part({ post_processor: { type: 'TemplateProcessing', single: [], pair: [], special_tokens: {} } }),
      'post_processor.single',
    ],
    [
      'text for a flag',
      { config: { ...config, add_bos_token: 'yes' } },
      'add_bos_token: wanted true or false, found "yes"',
    ],
    ['a number for a token', { config: { ...config, eos_token: 3 } }, 'eos_token: wanted a token'],
    ['words for ids', { config: { ...config, added_tokens_decoder: { x: extra } } }, 'wanted token ids as keys'],
    ['deep values', part({ normalizer: deep }), 'normalizer: wanted an object'],
    [
      'deep values for flags',
      { config: { ...config, split_special_tokens: deep } },
      'split_special_tokens: wanted true or false',
    ],
    ['deep values for templates', { config: { ...config, chat_template: deep } }, 'chat_template'],
  ])('refuses %s by name', (_, files, message) => {
    const attempt = () => createTokenizer({ tokenizer: json, config, ...files });
    expect(attempt).toThrow(ModelError);
    expect(attempt).toThrow(message);
  });

  it.each(['(a+)+b', '(?:a|a)*b', '\\s*x', '(?=.*z).'])('splits long texts soon by /%s/', (source) => {
    const split = { type: 'Split', pattern: { Regex: source }, behavior: 'Isolated', invert: false };
    const pre_tokenizer = {
      type: 'Sequence',
      pretokenizers: [split, { type: 'ByteLevel', add_prefix_space: false, use_regex: false }],
    };
    const tokenizer = createTokenizer({ tokenizer: { ...json, pre_tokenizer }, config });
    expect(tokenizer.encode('a '.repeat(500) + 'a'.repeat(2000)).length).toBeGreaterThan(500);
  });
});
