/**
 * @file The tokenizer of a Hugging Face model from its JSON files, by Hugging Face's own JavaScript implementation.
 *
 * Added to it: named tokens with their fallbacks, `add_bos_token` and `add_eos_token` as transformers heeds them, ids that no token has, and
 * an error that says what to do where the library would fail somewhere within.
 */
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { ModelError } from '../errors.js';
import { chatTemplatesOf, renderChatTemplate } from './chat-template.js';
import type { ChatMessage, ChatTemplateOptions, DecodeOptions, EncodeOptions, Tokenizer } from './types.js';

type Json = Readonly<Record<string, unknown>>;

/** What is used of the library. Its own declarations import without extensions, which TypeScript does not follow under `nodenext`. */
interface HuggingFaceTokenizerJson {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[]; tokens: string[] };
  decode(ids: number[], options: { skip_special_tokens: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
}
const HuggingFaceJson = LibraryTokenizer as unknown as new (tokenizer: Json, config: Json) => HuggingFaceTokenizerJson;

export interface TokenizerFiles {
  /** tokenizer.json. */
  readonly tokenizer: unknown;
  /** tokenizer_config.json. */
  readonly config?: unknown;
  /** special_tokens_map.json; counts where tokenizer_config.json says nothing. */
  readonly specialTokensMap?: unknown;
  /** Templates from files of their own (chat_template.jinja), by name; they count before those of tokenizer_config.json. */
  readonly chatTemplates?: ReadonlyMap<string, string>;
  /** Ids from generation_config.json or config.json, for a tokenizer that names no such tokens. */
  readonly bosTokenId?: number | null;
  readonly eosTokenId?: number | null;
  readonly padTokenId?: number | null;
}

const NAMED_TOKENS = [
  'bos_token',
  'eos_token',
  'unk_token',
  'pad_token',
  'sep_token',
  'cls_token',
  'mask_token',
] as const;

/** @throws ModelError when the files are no tokenizer that can be used here. */
export function createTokenizer(files: TokenizerFiles): Tokenizer {
  return new HuggingFaceTokenizer(files);
}

class HuggingFaceTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  readonly padTokenId: number | null;
  readonly chatTemplates: ReadonlyMap<string, string>;
  readonly #inner: HuggingFaceTokenizerJson;
  /** Texts of the named tokens, as templates see them. */
  readonly #named: Readonly<Record<string, string>>;

  constructor(files: TokenizerFiles) {
    const json = object(files.tokenizer, 'tokenizer.json');
    const config = object(files.config ?? {}, 'tokenizer_config.json');
    const map = object(files.specialTokensMap ?? {}, 'special_tokens_map.json');
    this.vocabSize = highestId(json) + 1;
    const named: Record<string, string> = {};
    for (const key of NAMED_TOKENS) {
      const text = tokenText(config[key]) ?? tokenText(map[key]);
      if (text !== undefined) named[key] = text;
    }
    try {
      this.#inner = new HuggingFaceJson(completed(json, config, named), {
        ...config,
        // transformers' default for Llama; the library's is true.
        clean_up_tokenization_spaces: config.clean_up_tokenization_spaces ?? false,
      });
    } catch (cause) {
      throw new ModelError(
        `tokenizer.json cannot be used: ${(cause as Error).message}; save it again with a current version of transformers`,
        { cause },
      );
    }
    const id = (key: string, fallback: number | null | undefined) => {
      const text = named[key];
      if (text === undefined) return fallback ?? null;
      const found = this.tokenId(text);
      if (found !== undefined) return found;
      throw new ModelError(
        `tokenizer_config.json: ${key}: '${text}' is no token of tokenizer.json; the two belong to different tokenizers`,
      );
    };
    this.bosTokenId = id('bos_token', files.bosTokenId);
    this.eosTokenId = id('eos_token', files.eosTokenId);
    this.padTokenId = id('pad_token', files.padTokenId) ?? this.eosTokenId;
    // transformers lets the templates see the tokens that it knows; those that only config.json has are known by their text too.
    for (const [key, value] of [
      ['bos_token', this.bosTokenId],
      ['eos_token', this.eosTokenId],
    ] as const) {
      const text = value === null ? undefined : this.#inner.id_to_token(value);
      if (named[key] === undefined && text !== undefined) named[key] = text;
    }
    this.#named = named;
    this.chatTemplates = new Map([...chatTemplatesOf(config.chat_template), ...(files.chatTemplates ?? [])]);
  }

  encode(text: string, { addSpecialTokens = true }: EncodeOptions = {}): number[] {
    const { ids, tokens } = this.#inner.encode(text, { add_special_tokens: addSpecialTokens });
    const unknown = ids.indexOf(undefined);
    if (unknown >= 0) {
      throw new ModelError(
        `the tokenizer has no token for '${tokens[unknown]}' and none for unknown texts (unk_token); its vocabulary is incomplete`,
      );
    }
    return ids as number[];
  }

  decode(ids: ArrayLike<number>, { skipSpecialTokens = false }: DecodeOptions = {}): string {
    const known = Array.from(ids).filter((id) => this.#inner.id_to_token(id) !== undefined);
    return known.length === 0 ? '' : this.#inner.decode(known, { skip_special_tokens: skipSpecialTokens });
  }

  tokenId(token: string): number | undefined {
    return this.#inner.token_to_id(token);
  }

  applyChatTemplate(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): string {
    return renderChatTemplate(this.chatTemplates, this.#named, messages, options);
  }
}

/**
 * tokenizer.json with everything that the library insists on, and with the post-processor that transformers would put in: one that adds bos
 * and eos as tokenizer_config.json says, where it does say so.
 */
function completed(json: Json, config: Json, named: Readonly<Record<string, string>>): Json {
  const full = {
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    ...json,
    added_tokens: json.added_tokens ?? [],
  };
  const isLlamaClass = /^LlamaTokenizer(Fast)?$/.test(String(config.tokenizer_class));
  const said = typeof config.add_bos_token === 'boolean' || typeof config.add_eos_token === 'boolean';
  if (!said && !(isLlamaClass && full.post_processor === null)) return full;
  const special: Record<string, { id: string; ids: number[]; tokens: string[] }> = {};
  const piece = (key: 'bos_token' | 'eos_token', add: unknown) => {
    const text = named[key];
    if (add !== true || text === undefined) return [];
    special[text] = { id: text, ids: [], tokens: [text] };
    return [{ SpecialToken: { id: text, type_id: 0 } }];
  };
  const before = piece('bos_token', config.add_bos_token ?? isLlamaClass);
  const after = piece('eos_token', config.add_eos_token ?? false);
  const sequence = (id: 'A' | 'B') => [...before, { Sequence: { id, type_id: 0 } }, ...after];
  return {
    ...full,
    post_processor: {
      type: 'TemplateProcessing',
      single: sequence('A'),
      pair: [...sequence('A'), ...sequence('B')],
      special_tokens: special,
    },
  };
}

function object(value: unknown, file: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw new ModelError(`${file}: wanted a JSON object, found ${JSON.stringify(value)?.slice(0, 80) ?? 'nothing'}`);
}

/** A token is given by its text or as an object with `content`; null and '' mean none. */
function tokenText(value: unknown): string | undefined {
  const text = typeof value === 'object' && value !== null ? (value as { content?: unknown }).content : value;
  return typeof text === 'string' && text !== '' ? text : undefined;
}

/** Highest id of vocabulary and added tokens; −1 when there is none. */
function highestId(json: Json): number {
  const { vocab } = object(json.model ?? {}, 'tokenizer.json: model');
  let highest = Array.isArray(vocab) ? vocab.length - 1 : -1;
  const take = (id: unknown) => {
    if (typeof id === 'number' && id > highest) highest = id;
  };
  if (vocab && !Array.isArray(vocab)) for (const id of Object.values(vocab as object)) take(id);
  for (const token of (json.added_tokens as { id?: unknown }[] | undefined) ?? []) take(token.id);
  if (highest < 0) throw new ModelError('tokenizer.json: wanted a vocabulary in model.vocab, found none');
  return highest;
}

/**
 * @param embeddingRows the model's vocabulary size.
 * @throws ModelError when there are tokens without an embedding.
 */
export function checkVocabulary(tokenizer: Pick<Tokenizer, 'vocabSize'>, embeddingRows: number): void {
  if (tokenizer.vocabSize <= embeddingRows) return;
  throw new ModelError(
    `the tokenizer's vocabulary (${tokenizer.vocabSize} tokens) exceeds the model's embedding (${embeddingRows} rows): tokens from ${embeddingRows} on have no embedding; ` +
      'use the tokenizer that the model was trained with, or a model whose embedding was resized for it',
  );
}
