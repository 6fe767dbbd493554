/** @file tokenizer_config.json and special_tokens_map.json: what of them counts, each field of its type. */
import { showValue } from '@spft/safetensors';
import { ModelError } from '../errors.js';
import { type AddedToken, addedTokenOf } from './pipeline/added-tokens.js';

type Json = Readonly<Record<string, unknown>>;

export interface TokenizerConfig {
  /** Texts of named tokens by their key: `bos_token` and the like, and names that the config gives to further ones. */
  readonly named: Readonly<Record<string, string>>;
  /** Texts of further special tokens. */
  readonly special: readonly string[];
  /** Added tokens with their ids, or null where the config says nothing of them. */
  readonly addedTokensDecoder: readonly AddedToken[] | null;
  readonly addBosToken: boolean | undefined;
  readonly addEosToken: boolean | undefined;
  readonly isLlamaClass: boolean;
  readonly splitsSpecialTokens: boolean;
  /** Only where the config insists: transformers ignores `clean_up_tokenization_spaces` for BPE, whose texts it corrupts (`x != y`). */
  readonly cleansUp: boolean;
  readonly chatTemplate: unknown;
}

const FORCED = 'clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output';

/** @throws ModelError naming what is of a wrong type. */
export function configOf(config: unknown, map: unknown): TokenizerConfig {
  const json = object(config ?? {}, 'tokenizer_config.json');
  const more = object(map ?? {}, 'special_tokens_map.json');
  const named: Record<string, string> = {};
  for (const [file, source] of [
    ['special_tokens_map.json', more],
    ['tokenizer_config.json', json],
  ] as const) {
    for (const [key, value] of Object.entries(source)) {
      if (!key.endsWith('_token') || typeof value === 'boolean') continue;
      const text = tokenText(value, `${file}: ${key.slice(0, 60)}`);
      if (text !== undefined) named[key] = text;
    }
  }
  const special: string[] = [];
  for (const [file, source] of [
    ['tokenizer_config.json', json],
    ['special_tokens_map.json', more],
  ] as const) {
    for (const key of ['additional_special_tokens', 'extra_special_tokens']) {
      const value = source[key] ?? [];
      const where = `${file}: ${key}`;
      if (Array.isArray(value)) special.push(...value.map((token) => required(token, where)));
      else
        for (const [name, token] of Object.entries(object(value, where)))
          named[name] ??= required(token, `${where}.${name.slice(0, 60)}`);
    }
  }
  const flag = (key: string) => {
    const value = json[key] ?? undefined;
    if (value === undefined || typeof value === 'boolean') return value;
    throw new ModelError(`tokenizer_config.json: ${key}: wanted true or false, found ${showValue(value)}`);
  };
  return {
    named,
    special,
    addedTokensDecoder: json.added_tokens_decoder == null ? null : decoder(json.added_tokens_decoder),
    addBosToken: flag('add_bos_token'),
    addEosToken: flag('add_eos_token'),
    isLlamaClass: /^LlamaTokenizer(Fast)?$/.test(typeof json.tokenizer_class === 'string' ? json.tokenizer_class : ''),
    splitsSpecialTokens: flag('split_special_tokens') ?? false,
    cleansUp: (flag('clean_up_tokenization_spaces') ?? false) && (flag(FORCED) ?? false),
    chatTemplate: json.chat_template,
  };
}

function decoder(value: unknown): AddedToken[] {
  const where = 'tokenizer_config.json: added_tokens_decoder';
  return Object.entries(object(value, where)).map(([key, token]) => {
    if (!/^\d{1,9}$/.test(key)) throw new ModelError(`${where}: wanted token ids as keys, found ${showValue(key)}`);
    return addedTokenOf(
      typeof token === 'string' ? { content: token, special: true } : withoutType(token),
      `added_tokens_decoder['${key}']`,
      Number(key),
    );
  });
}

/** Written by some versions: the class of the token. */
function withoutType(token: unknown): unknown {
  if (typeof token !== 'object' || token === null || Array.isArray(token)) return token;
  const { __type: _, id: __, ...rest } = token as Record<string, unknown>;
  return rest;
}

/** A token is given by its text or as an object with `content`; null and '' mean none. */
function tokenText(value: unknown, where: string): string | undefined {
  const text = typeof value === 'object' && value !== null ? (value as { content?: unknown }).content : value;
  if (text === null || text === undefined || text === '') return undefined;
  if (typeof text === 'string') return text;
  throw new ModelError(
    `${where}: wanted a token's text, an object with its content, or null, found ${showValue(value)}`,
  );
}

function required(value: unknown, where: string): string {
  const text = tokenText(value, where);
  if (text !== undefined) return text;
  throw new ModelError(`${where}: wanted a token's text, found ${showValue(value)}`);
}

function object(value: unknown, where: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw new ModelError(`${where}: wanted a JSON object, found ${showValue(value)}`);
}
