import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ModelError } from '../errors.js';
import { checkVocabulary, createTokenizer, type TokenizerFiles } from './hugging-face-tokenizer.js';

interface Golden {
  readonly texts: { text: string; ids: number[]; bare: number[]; decoded: string; skipped: string }[];
  readonly chats: { messages: { role: string; content: string }[]; add_generation_prompt: boolean; text: string }[];
  readonly vocab_size: number;
}
const read = (name: string, file: string) =>
  JSON.parse(readFileSync(new URL(`../../fixtures/tokenizers/${name}/${file}`, import.meta.url), 'utf8'));
const filesOf = (name: string) => ({
  tokenizer: read(name, 'tokenizer.json'),
  config: read(name, 'tokenizer_config.json'),
});

describe.each(['llama2', 'llama3'])('createTokenizer() of a tokenizer like that of %s', (name) => {
  const golden = read(name, 'golden.json') as Golden;
  const tokenizer = createTokenizer(filesOf(name));

  it.each(golden.texts.map((t) => [JSON.stringify(t.text), t] as const))(
    'encodes and decodes %s as transformers does',
    (_, t) => {
      expect(tokenizer.encode(t.text)).toEqual(t.ids);
      expect(tokenizer.encode(t.text, { addSpecialTokens: false })).toEqual(t.bare);
      expect(tokenizer.decode(t.ids)).toBe(t.decoded);
      expect(tokenizer.decode(t.ids, { skipSpecialTokens: true })).toBe(t.skipped);
    },
  );

  it('has the size of the vocabulary and the ids of the named tokens', () => {
    expect(tokenizer.vocabSize).toBe(golden.vocab_size);
    expect(tokenizer.bosTokenId).toBe(tokenizer.tokenId('<|begin|>'));
    expect(tokenizer.eosTokenId).toBe(tokenizer.tokenId('<|end|>'));
    // llama2 has no padding token: the end of text stands in.
    expect(tokenizer.padTokenId).toBe(tokenizer.tokenId(name === 'llama2' ? '<|end|>' : '<|pad|>'));
    expect(tokenizer.tokenId('no such token')).toBeUndefined();
  });

  it.each(golden.chats)('renders a chat as transformers does, generation prompt: $add_generation_prompt', (chat) => {
    expect(tokenizer.applyChatTemplate(chat.messages, { addGenerationPrompt: chat.add_generation_prompt })).toBe(
      chat.text,
    );
  });
});

describe('createTokenizer()', () => {
  const { tokenizer: json, config } = filesOf('llama3');
  const change = (more: object, rest: Partial<TokenizerFiles> = {}) =>
    createTokenizer({ tokenizer: json, config: { ...config, ...more }, ...rest });
  const [begin, end] = [400, 401];

  it('adds bos and eos where tokenizer_config.json says so', () => {
    expect(change({ add_bos_token: false }).encode('the')).not.toContain(begin);
    const both = change({ add_bos_token: true, add_eos_token: true }).encode('the');
    expect([both[0], both.at(-1)]).toEqual([begin, end]);
    expect(change({ add_eos_token: true, tokenizer_class: 'LlamaTokenizer' }).encode('the')[0]).toBe(begin);
  });

  it('adds bos for the Llama tokenizer class where tokenizer.json does not say how', () => {
    const { post_processor, ...rest } = json;
    const of = (tokenizer_class: string) =>
      createTokenizer({ tokenizer: rest, config: { ...config, tokenizer_class } });
    expect(of('LlamaTokenizerFast').encode('the')[0]).toBe(begin);
    expect(of('PreTrainedTokenizerFast').encode('the')).not.toContain(begin);
  });

  it('takes named tokens from special_tokens_map.json and ids from config.json where nothing else names them', () => {
    const bare = { bos_token: null, eos_token: undefined, pad_token: undefined };
    const mapped = change(bare, { specialTokensMap: { bos_token: { content: '<|begin|>' }, eos_token: '<|end|>' } });
    expect([mapped.bosTokenId, mapped.eosTokenId, mapped.padTokenId]).toEqual([begin, end, end]);
    const fromIds = change(bare, { bosTokenId: begin, eosTokenId: end });
    expect([fromIds.bosTokenId, fromIds.eosTokenId]).toEqual([begin, end]);
    expect(fromIds.applyChatTemplate([{ role: 'user', content: 'x' }])).toMatch(/^<\|begin\|>/);
    expect(change(bare).bosTokenId).toBeNull();
  });

  it('decodes nothing to nothing and leaves out ids that no token has', () => {
    const tokenizer = change({});
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.decode([9999])).toBe('');
    expect(tokenizer.decode(Int32Array.of(...tokenizer.encode('the day'), 9999))).toBe('<|begin|>the day');
  });

  it('chooses among several chat templates by name', () => {
    const several = change({
      chat_template: [
        { name: 'default', template: 'default {{ messages[0].content }}' },
        { name: 'tool_use', template: 'tools {{ tools | length }}' },
      ],
    });
    const messages = [{ role: 'user', content: 'x' }];
    expect(several.applyChatTemplate(messages)).toBe('default x');
    expect(several.applyChatTemplate(messages, { template: 'tool_use', variables: { tools: [1, 2] } })).toBe('tools 2');
    expect(several.applyChatTemplate(messages, { variables: { tools: [1] } })).toBe('tools 1');
    expect(several.applyChatTemplate(messages, { template: 'mine: {{ messages[0].role }}' })).toBe('mine: user');
    expect(() => several.applyChatTemplate(messages, { template: 'rag' })).toThrow(
      "there is no chat template 'rag'; the tokenizer has 'default', 'tool_use'",
    );
  });

  it('prefers a template of chat_template.jinja', () => {
    const tokenizer = change({}, { chatTemplates: new Map([['default', 'from a file']]) });
    expect(tokenizer.applyChatTemplate([])).toBe('from a file');
  });

  it('says that there is no chat template, or that it refuses the messages', () => {
    expect(() => change({ chat_template: undefined }).applyChatTemplate([])).toThrow(
      'the tokenizer has no chat template',
    );
    const two = change({ chat_template: { a: 'a', b: 'b' } });
    expect(() => two.applyChatTemplate([])).toThrow("none called 'default'; choose one by name: a, b");
    const strict = change({ chat_template: "{{ raise_exception('roles must alternate') }}" });
    expect(() => strict.applyChatTemplate([])).toThrow(
      'the chat template refuses these messages: roles must alternate',
    );
    expect(() => change({ chat_template: '{% if %}' }).applyChatTemplate([])).toThrow(ModelError);
    expect(() => change({ chat_template: 3 })).not.toThrow(TypeError);
  });

  it.each<[string, () => unknown, string]>([
    ['is no object', () => createTokenizer({ tokenizer: [] }), 'tokenizer.json: wanted a JSON object, found []'],
    [
      'has no vocabulary',
      () => createTokenizer({ tokenizer: { model: {} } }),
      'tokenizer.json: wanted a vocabulary in model.vocab',
    ],
    [
      'is of an unknown kind',
      () => createTokenizer({ tokenizer: { ...json, decoder: { type: 'Runes' } } }),
      'tokenizer.json cannot be used: Unknown Decoder type: Runes',
    ],
    ['lacks a named token', () => change({ eos_token: '</s>' }), "eos_token: '</s>' is no token of tokenizer.json"],
    [
      'has a chat template of an unknown form',
      () => change({ chat_template: [{ name: 'x' }] }),
      'chat_template: wanted a string or a list of {name, template}',
    ],
    [
      'lacks the token of a byte and that of unknown texts',
      () => {
        const { '!': _, ...vocab } = json.model.vocab;
        const model = { ...json.model, unk_token: '<gone>' };
        return createTokenizer({ tokenizer: { ...json, model: { ...model, vocab } }, config }).encode('!');
      },
      "the tokenizer has no token for '<gone>'",
    ],
  ])('says what is wrong with a tokenizer that %s', (_, make, message) => {
    expect(make).toThrow(ModelError);
    expect(make).toThrow(message);
  });
});

describe('checkVocabulary()', () => {
  it('refuses a vocabulary that exceeds the embedding', () => {
    const { vocabSize } = createTokenizer(filesOf('llama3'));
    expect(() => checkVocabulary({ vocabSize }, vocabSize)).not.toThrow();
    expect(() => checkVocabulary({ vocabSize }, vocabSize - 1)).toThrow(
      `the tokenizer's vocabulary (${vocabSize} tokens) exceeds the model's embedding (${vocabSize - 1} rows)`,
    );
  });
});
