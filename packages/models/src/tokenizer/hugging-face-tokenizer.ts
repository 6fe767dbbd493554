/**
 * @file The tokenizer of a Hugging Face model from its JSON files, as transformers (5.24) makes it: tokenizer.json at work (pipeline/), with
 * the tokens that other files add, named tokens with their fallbacks, and what is put around a text.
 */
import { showValue } from '@spft/safetensors';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { ModelError } from '../errors.js';
import { chatTemplatesOf, renderChatTemplate } from './chat-template.js';
import { configOf, type TokenizerConfig } from './config.js';
import { type Pipeline, pipelineOf } from './pipeline/index.js';
import { addTokens } from './token-sources.js';
import type { ChatMessage, ChatTemplateOptions, DecodeOptions, EncodeOptions, Tokenizer } from './types.js';

export interface TokenizerFiles {
  /** tokenizer.json. */
  readonly tokenizer: unknown;
  /** tokenizer_config.json. */
  readonly config?: unknown;
  /** special_tokens_map.json; counts where tokenizer_config.json says nothing. */
  readonly specialTokensMap?: unknown;
  /** added_tokens.json: ids by token; counts where tokenizer_config.json has no `added_tokens_decoder`. */
  readonly addedTokens?: unknown;
  /** Templates from files of their own (chat_template.jinja), by name; they count before those of tokenizer_config.json. */
  readonly chatTemplates?: ReadonlyMap<string, string>;
  /** Ids from generation_config.json or config.json, for a tokenizer that names no such tokens. */
  readonly bosTokenId?: number | null;
  readonly eosTokenId?: number | null;
  readonly padTokenId?: number | null;
}

const FILES: OptionNames<TokenizerFiles> = {
  ...{ tokenizer: true, config: true, specialTokensMap: true, addedTokens: true, chatTemplates: true },
  ...{ bosTokenId: true, eosTokenId: true, padTokenId: true },
};

/** @throws ModelError when the files are no tokenizer that can be used here. */
export function createTokenizer(files: TokenizerFiles): Tokenizer {
  assertKnownOptions('createTokenizer', files, FILES);
  return new HuggingFaceTokenizer(files);
}

class HuggingFaceTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  readonly padTokenId: number | null;
  readonly chatTemplates: ReadonlyMap<string, string>;
  readonly #pipeline: Pipeline;
  readonly #before: readonly number[];
  readonly #after: readonly number[];
  readonly #cleansUp: boolean;
  /** Texts of the named tokens, as templates see them. */
  readonly #named: Readonly<Record<string, string>>;

  constructor(files: TokenizerFiles) {
    const config = configOf(files.config, files.specialTokensMap);
    const pipeline = pipelineOf(object(files.tokenizer, 'tokenizer.json'), {
      more: (known) => addTokens(config, files.addedTokens, known),
      splitsSpecial: config.splitsSpecialTokens,
    });
    this.#pipeline = pipeline;
    const named = { ...config.named };
    const id = (key: string, fallback: number | null | undefined) => {
      const text = named[key];
      return text === undefined ? (fallback ?? null) : pipeline.idOf(text)!;
    };
    this.bosTokenId = id('bos_token', files.bosTokenId);
    this.eosTokenId = id('eos_token', files.eosTokenId);
    this.padTokenId = id('pad_token', files.padTokenId) ?? this.eosTokenId;
    // Nothing here pads: a padding token that was added beyond all others needs no embedding.
    const isLast =
      named.pad_token !== undefined && this.padTokenId === pipeline.highestId && this.padTokenId !== this.eosTokenId;
    this.vocabSize = pipeline.highestId + (isLast ? 0 : 1);
    // transformers lets the templates see the tokens that it knows; those that only config.json has are known by their text too.
    for (const [key, value] of [
      ['bos_token', this.bosTokenId],
      ['eos_token', this.eosTokenId],
    ] as const) {
      const text = value === null ? undefined : pipeline.tokenOf(value);
      if (named[key] === undefined && text !== undefined) named[key] = text;
    }
    this.#named = named;
    ({ before: this.#before, after: this.#after } = around(pipeline, config));
    this.#cleansUp = config.cleansUp;
    this.chatTemplates = new Map([...chatTemplatesOf(config.chatTemplate), ...(files.chatTemplates ?? [])]);
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    assertKnownOptions('encode', options, { addSpecialTokens: true });
    const { addSpecialTokens = true } = options;
    // A half of a surrogate pair is no character; every encoder makes this of it.
    const ids = this.#pipeline.encode(text.replace(/\p{Surrogate}/gu, '\ufffd'));
    return addSpecialTokens ? [...this.#before, ...ids, ...this.#after] : ids;
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    assertKnownOptions('decode', options, { skipSpecialTokens: true });
    const { skipSpecialTokens = false } = options;
    const text = this.#pipeline.decode(Array.from(ids), skipSpecialTokens);
    return this.#cleansUp ? cleanUp(text) : text;
  }

  tokenId(token: string): number | undefined {
    return this.#pipeline.idOf(token);
  }

  applyChatTemplate(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): string {
    assertKnownOptions('applyChatTemplate', options, { addGenerationPrompt: true, template: true, variables: true });
    return renderChatTemplate(this.chatTemplates, this.#named, messages, options);
  }
}

/**
 * What is put around a text: what tokenizer.json's post-processor says, but for the one of `add_bos_token` and `add_eos_token` that is said.
 * Where the file has no post-processor, tokenizers of Llama's class begin with the begin token.
 */
function around({ around: said, idOf }: Pipeline, config: TokenizerConfig): { before: number[]; after: number[] } {
  const id = (key: string) => (config.named[key] === undefined ? undefined : idOf(config.named[key]));
  const [bos, eos] = [id('bos_token'), id('eos_token')];
  const before = [...(said?.before ?? [])];
  const after = [...(said?.after ?? [])];
  const addBos = config.addBosToken ?? (said === null && config.isLlamaClass ? true : undefined);
  if (bos !== undefined && addBos !== undefined && before.includes(bos) !== addBos) {
    if (addBos) before.unshift(bos);
    else before.splice(0, before.length, ...before.filter((token) => token !== bos));
  }
  if (eos !== undefined && config.addEosToken !== undefined && after.includes(eos) !== config.addEosToken) {
    if (config.addEosToken) after.push(eos);
    else after.splice(0, after.length, ...after.filter((token) => token !== eos));
  }
  return { before, after };
}

/** What transformers' `clean_up_tokenization` does to English text. */
function cleanUp(text: string): string {
  const marks = ['.', '?', '!', ','].reduce((t, mark) => t.replaceAll(` ${mark}`, mark), text);
  return ["n't", "'m", "'s", "'ve", "'re"].reduce(
    (t, end) => t.replaceAll(` ${end}`, end),
    marks.replaceAll(" ' ", "'"),
  );
}

function object(value: unknown, file: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Readonly<Record<string, unknown>>;
  throw new ModelError(`${file}: wanted a JSON object, found ${showValue(value)}`);
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
