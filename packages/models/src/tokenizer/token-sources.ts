/**
 * @file Tokens that are in no tokenizer.json: of `added_tokens_decoder`, added_tokens.json, the lists of special tokens, and the padding token,
 * with the ids that transformers gives them: the next ones.
 */
import { showValue } from '@spft/safetensors';
import { ModelError } from '../errors.js';
import type { TokenizerConfig } from './config.js';
import type { AddedToken } from './pipeline/added-tokens.js';
import { isTokenId } from './pipeline/reading.js';

interface Known {
  idOf(token: string): number | undefined;
  tokenOf(id: number): string | undefined;
  readonly nextId: number;
  readonly added: readonly AddedToken[];
}

/**
 * What is to be added to tokenizer.json's own tokens; tokens of its vocabulary may become special by it.
 * @throws ModelError when an id is another one than the token has, or a named token is nowhere.
 */
export function addTokens(config: TokenizerConfig, addedTokens: unknown, known: Known): AddedToken[] {
  const added = new Map<string, AddedToken>();
  const isAdded = new Set(known.added.map((token) => token.content));
  let nextId = known.nextId;
  const idOf = (token: string) => added.get(token)?.id ?? known.idOf(token);
  const add = (token: AddedToken) => {
    added.set(token.content, token);
    if (token.id >= nextId) nextId = token.id + 1;
  };
  const specials = new Set([...Object.values(config.named), ...config.special]);
  const listed = config.addedTokensDecoder ?? (addedTokens == null ? [] : fromFile(addedTokens, specials));
  for (const token of [...listed].sort((a, b) => a.id - b.id)) {
    const id = idOf(token.content);
    if (id !== undefined && id !== token.id) {
      throw new ModelError(
        `the tokenizer's files disagree: '${token.content.slice(0, 60)}' has the id ${token.id} in ${config.addedTokensDecoder ? 'added_tokens_decoder' : 'added_tokens.json'} and ${id} in tokenizer.json; take both from one model`,
      );
    }
    const other = known.tokenOf(token.id);
    if (id === undefined && other !== undefined) {
      throw new ModelError(
        `the tokenizer's files disagree: the id ${token.id} is '${token.content.slice(0, 60)}' in ${config.addedTokensDecoder ? 'added_tokens_decoder' : 'added_tokens.json'} and '${other.slice(0, 60)}' in tokenizer.json; take both from one model`,
      );
    }
    // What tokenizer.json says of its own tokens counts, unless it says nothing but their id.
    if (id === undefined || (!isAdded.has(token.content) && config.addedTokensDecoder)) add(token);
  }
  const plain = (content: string, id: number): AddedToken => ({
    id,
    content,
    singleWord: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }); // prettier-ignore
  for (const [key, text] of inOrder(config.named)) {
    if (idOf(text) !== undefined) continue;
    // transformers adds these too; but without an embedding they are of no use, and then two files do not belong together.
    if (/^(bos|eos|unk)_token$/.test(key)) {
      throw new ModelError(
        `tokenizer_config.json: ${key}: ${showValue(text).replaceAll('"', "'")} is no token of tokenizer.json; the two belong to different tokenizers`,
      );
    }
    add(plain(text, nextId));
  }
  for (const text of config.special) {
    const id = idOf(text);
    if (id === undefined) add(plain(text, nextId));
    else if (!isAdded.has(text) && !added.has(text)) add(plain(text, id));
  }
  return [...added.values()];
}

/** Named tokens as transformers adds them: those that every tokenizer may have, then further ones. */
function inOrder(named: Readonly<Record<string, string>>): [string, string][] {
  const place = (key: string) => {
    const at = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'].indexOf(key.replace('_token', ''));
    return at < 0 ? 7 : at;
  };
  return Object.entries(named).sort(([a], [b]) => place(a) - place(b));
}

/** added_tokens.json: special where another file names them so. */
function fromFile(value: unknown, specials: ReadonlySet<string>): AddedToken[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ModelError(`added_tokens.json: wanted an object from token to id, found ${showValue(value)}`);
  }
  return Object.entries(value).map(([content, id]) => {
    if (!isTokenId(id)) {
      throw new ModelError(
        `added_tokens.json: ${showValue(content, 40)}: wanted a token id, a whole number, found ${showValue(id)}`,
      );
    }
    return {
      id,
      content,
      singleWord: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: specials.has(content),
    };
  });
}
