/**
 * @file A GGUF file's tokenizer as the files that `createTokenizer` takes: tokenizer.json made of tokens, types and merges, or of a SentencePiece model's
 * scores.
 */
import type { Metadata } from '@spft/gguf';
import { ModelError } from '../errors.js';
import type { TokenizerFiles } from '../tokenizer/hugging-face-tokenizer.js';
import { PRE_TOKENIZER_NAMES, preTokenizerNamed } from './pre-tokenizers.js';
import { mergesOfScores, SPACE } from './sentencepiece.js';
import { TOKEN_TYPE } from './token-types.js';

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: ArrayLike<number>;
}

/**
 * @param file its name, for messages.
 * @throws ModelError when the tokenizer is of a kind that cannot be used here. @throws GgufError for values of wrong types.
 */
export function tokenizerOfGguf(metadata: Metadata, file = 'the file'): TokenizerFiles {
  const fail = (problem: string): never => {
    throw new ModelError(`${file}: ${problem}`);
  };
  const model = metadata.string('tokenizer.ggml.model');
  if (model !== 'gpt2' && model !== 'llama') {
    const found = model === undefined ? 'none' : `'${model.slice(0, 60)}'`;
    return fail(
      `tokenizer.ggml.model: wanted 'gpt2' (byte-level pairs) or 'llama' (SentencePiece), found ${found}; others cannot be used here`,
    );
  }
  const tokens =
    metadata.strings('tokenizer.ggml.tokens') ?? fail('tokenizer.ggml.tokens: wanted a list of tokens, found none');
  const types = metadata.numbers('tokenizer.ggml.token_type') ?? new Int32Array(tokens.length).fill(TOKEN_TYPE.normal);
  if (types.length !== tokens.length)
    fail(`tokenizer.ggml.token_type: has ${types.length} types for ${tokens.length} tokens`);
  requireDistinct(tokens, types, fail);
  const vocabulary = { tokens, types };
  const textOf = (key: string) => {
    const id = metadata.count(`tokenizer.ggml.${key}_token_id`);
    if (id === undefined || id < tokens.length) return id === undefined ? undefined : tokens[id];
    return fail(`tokenizer.ggml.${key}_token_id: is ${id}, but there are ${tokens.length} tokens`);
  };
  const made =
    model === 'gpt2'
      ? byteLevel(metadata, vocabulary, fail)
      : sentencePiece(metadata, vocabulary, textOf('unknown'), fail);
  const named = {
    bos_token: textOf('bos'),
    eos_token: textOf('eos'),
    unk_token: textOf('unknown'),
    pad_token: textOf('padding'),
  };
  return {
    tokenizer: {
      ...{ version: '1.0', truncation: null, padding: null, post_processor: null },
      added_tokens: addedTokens(vocabulary),
      ...made.parts,
    },
    config: {
      ...Object.fromEntries(Object.entries(named).filter(([, text]) => text !== undefined)),
      add_bos_token: metadata.boolean('tokenizer.ggml.add_bos_token') ?? made.addsBos,
      add_eos_token: metadata.boolean('tokenizer.ggml.add_eos_token') ?? false,
      clean_up_tokenization_spaces: false,
      tokenizer_class: 'PreTrainedTokenizerFast',
      ...chatTemplates(metadata),
    },
  };
}

type Fail = (problem: string) => never;

function byteLevel(metadata: Metadata, vocabulary: Vocabulary, fail: Fail) {
  const name = metadata.string('tokenizer.ggml.pre');
  const pre = name === undefined ? undefined : preTokenizerNamed(name);
  if (pre === undefined) {
    return fail(
      `tokenizer.ggml.pre: ${name === undefined ? 'does not say how texts are cut, as files of old versions do not; convert the model again' : `is '${name.slice(0, 60)}', which is not known here`}; known are ${PRE_TOKENIZER_NAMES}`,
    );
  }
  const merges =
    metadata.strings('tokenizer.ggml.merges') ?? fail('tokenizer.ggml.merges: wanted a list of merges, found none');
  const pairs = merges.map((merge, n) => {
    const pair = merge.split(' ');
    return pair.length === 2
      ? pair
      : fail(`tokenizer.ggml.merges[${n}]: wanted two tokens, found ${JSON.stringify(merge.slice(0, 60))}`);
  });
  return {
    addsBos: pre.addsBos,
    parts: {
      normalizer: null,
      pre_tokenizer: pre.json,
      decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: bpe(vocabulary, pairs, { ignore_merges: pre.ignoreMerges }),
    },
  };
}

function sentencePiece(metadata: Metadata, vocabulary: Vocabulary, unknown: string | undefined, fail: Fail) {
  const scores =
    metadata.numbers('tokenizer.ggml.scores') ?? fail("tokenizer.ggml.scores: wanted the tokens' scores, found none");
  if (scores.length !== vocabulary.tokens.length)
    fail(`tokenizer.ggml.scores: has ${scores.length} for ${vocabulary.tokens.length} tokens`);
  if (metadata.boolean('tokenizer.ggml.remove_extra_whitespaces') === true) {
    fail('tokenizer.ggml.remove_extra_whitespaces: is true, which is not heeded here');
  }
  const prefix = metadata.boolean('tokenizer.ggml.add_space_prefix') ?? true;
  const spaces = { type: 'Replace', pattern: { String: ' ' }, content: SPACE };
  const merges = mergesOfScores(vocabulary.tokens, vocabulary.types, scores);
  if (merges === null)
    return fail('tokenizer.ggml.tokens: has tokens so long that no text would be read in time; the file is damaged');
  return {
    addsBos: true,
    parts: {
      normalizer: prefix ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: SPACE }, spaces] } : spaces,
      pre_tokenizer: null,
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
          { type: 'ByteFallback' },
          { type: 'Fuse' },
          ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
        ],
      },
      model: bpe(vocabulary, merges, { unk_token: unknown ?? null, fuse_unk: true, byte_fallback: true }),
    },
  };
}

function bpe({ tokens, types }: Vocabulary, merges: readonly (readonly string[])[], rest: Record<string, unknown>) {
  const vocab = Object.create(null) as Record<string, number>;
  tokens.forEach((token, id) => {
    // Rows of the embedding without a token.
    if (types[id] !== TOKEN_TYPE.unused) vocab[token] = id;
  });
  return {
    ...{ type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null },
    ...{ fuse_unk: false, byte_fallback: false, ignore_merges: false },
    ...rest,
    vocab,
    merges,
  };
}

/** Tokens that stand in a text as they are. */
function addedTokens({ tokens, types }: Vocabulary) {
  const isAdded = (type: number | undefined) =>
    type === TOKEN_TYPE.control || type === TOKEN_TYPE.userDefined || type === TOKEN_TYPE.unknown;
  return tokens.flatMap((content, id) => {
    if (!isAdded(types[id])) return [];
    const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    return [{ id, content, ...plain, special: types[id] !== TOKEN_TYPE.userDefined }];
  });
}

function chatTemplates(metadata: Metadata): { readonly chat_template?: unknown } {
  const single = metadata.string('tokenizer.chat_template');
  const named = (metadata.strings('tokenizer.chat_templates') ?? []).flatMap((name) => {
    const template = metadata.string(`tokenizer.chat_template.${name}`);
    return template === undefined ? [] : [{ name, template }];
  });
  if (named.length === 0) return single === undefined ? {} : { chat_template: single };
  return { chat_template: [...(single === undefined ? [] : [{ name: 'default', template: single }]), ...named] };
}

function requireDistinct(tokens: readonly string[], types: ArrayLike<number>, fail: Fail): void {
  const seen = new Map<string, number>();
  tokens.forEach((token, id) => {
    if (types[id] === TOKEN_TYPE.unused) return;
    const other = seen.get(token);
    if (other !== undefined)
      fail(
        `tokenizer.ggml.tokens: ${JSON.stringify(token.slice(0, 60))} is token ${other} and ${id}; which one counts is not defined`,
      );
    seen.set(token, id);
  });
}
