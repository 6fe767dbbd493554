/** @file The model of tokenizer.json: byte-pair encoding, which all Llama-family models have, by the library's merging. */
import { showValue } from '@spft/safetensors';
import { ModelError } from '../../errors.js';
import { BPE } from './library.js';
import { asArray, asObject, Fields, isTokenId, refuse } from './reading.js';

export interface Bpe {
  /** Ids by token. */
  readonly vocab: ReadonlyMap<string, number>;
  readonly tokens: ReadonlyMap<number, string>;
  /** @throws ModelError where a piece has no token and there is none for unknown ones. */
  encode(piece: string): readonly number[];
}

/** @throws ModelError when it is another model, or a field of it cannot be heeded. */
export function bpeOf(value: unknown): Bpe {
  const fields = new Fields(value ?? {}, 'model');
  const vocab = vocabularyOf(fields.raw('vocab'));
  const { type = 'BPE' } = asObject(value, 'model');
  if (type !== 'BPE' && type !== null) {
    throw new ModelError(
      `tokenizer.json: model.type: wanted BPE, as Llama-family models have it, found ${showValue(type)}; use the model's own tokenizer`,
    );
  }
  const merges = mergesOf(fields.raw('merges') ?? [], vocab);
  const dropout = fields.raw('dropout') ?? 0;
  if (dropout !== 0)
    throw new ModelError(
      `tokenizer.json: model.dropout: wanted null, found ${showValue(dropout)}: it makes the ids of a text random; set it to null`,
    );
  const unknown = fields.raw('unk_token') ?? null;
  if (unknown !== null && typeof unknown !== 'string') refuse('model.unk_token', 'a string or null', unknown);
  const prefix = fields.raw('continuing_subword_prefix') ?? '';
  if (prefix !== '')
    throw new ModelError(
      `tokenizer.json: model.continuing_subword_prefix: wanted none, found ${showValue(prefix)}; it is not heeded here`,
    );
  const suffix = fields.raw('end_of_word_suffix') ?? '';
  if (suffix !== '')
    throw new ModelError(
      `tokenizer.json: model.end_of_word_suffix: wanted none, found ${showValue(suffix)}; it is not heeded here`,
    );
  const [fuse, fallback, ignore] = [
    fields.boolean('fuse_unk', false),
    fields.boolean('byte_fallback', false),
    fields.boolean('ignore_merges', false),
  ];
  fields.done();
  const inner = new BPE({ type: 'BPE', vocab: Object.fromEntries(vocab), merges });
  const isKnown = (c: string) => vocab.has(c) || (fallback && bytesOf(c, vocab) !== undefined);
  const known = (piece: string) =>
    Array.from(piece).every(isKnown) ? piece : Array.from(piece).filter(isKnown).join('');
  const unknownId = unknown === null ? undefined : vocab.get(unknown);
  return {
    vocab,
    tokens: new Map([...vocab].map(([token, id]) => [id, token])),
    encode(piece) {
      const whole = ignore ? vocab.get(piece) : undefined;
      if (whole !== undefined) return [whole];
      const ids: number[] = [];
      let wasUnknown = false;
      // Without a token for unknown characters the Rust library leaves them out, before it merges.
      for (const token of inner.bpe(unknown === null ? known(piece) : piece)) {
        const id = vocab.get(token);
        const some = id !== undefined ? [id] : fallback ? bytesOf(token, vocab) : undefined;
        if (some !== undefined) {
          ids.push(...some);
          wasUnknown = false;
        } else if (unknown !== null) {
          if (unknownId === undefined) {
            throw new ModelError(
              `the tokenizer has no token for '${unknown}' and none for unknown texts (unk_token); its vocabulary is incomplete`,
            );
          }
          if (!(fuse && wasUnknown)) ids.push(unknownId);
          wasUnknown = true;
        }
      }
      return ids;
    },
  };
}

function bytesOf(text: string, vocab: ReadonlyMap<string, number>): number[] | undefined {
  const ids: number[] = [];
  for (const byte of new TextEncoder().encode(text)) {
    const id = vocab.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
    if (id === undefined) return undefined;
    ids.push(id);
  }
  return ids;
}

function vocabularyOf(value: unknown): Map<string, number> {
  if (value === undefined) throw new ModelError('tokenizer.json: wanted a vocabulary in model.vocab, found none');
  const vocab = new Map<string, number>();
  for (const [token, id] of Object.entries(asObject(value, 'model.vocab'))) {
    if (!isTokenId(id)) {
      refuse(`model.vocab[${showValue(token, 40)}]`, 'a token id, a whole number, 0 or more', id);
    }
    vocab.set(token, id);
  }
  if (vocab.size === 0) throw new ModelError('tokenizer.json: wanted a vocabulary in model.vocab, found none');
  return vocab;
}

/** Pairs in the order of their ranks. */
function mergesOf(value: unknown, vocab: ReadonlyMap<string, number>): [string, string][] {
  return asArray(value, 'model.merges').map((merge, n) => {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    if (!Array.isArray(pair) || pair.length !== 2 || !pair.every((part) => typeof part === 'string')) {
      return refuse(`model.merges[${n}]`, 'two tokens', merge);
    }
    for (const token of [pair[0]!, pair[1]!, pair[0]! + pair[1]!] as string[]) {
      if (!vocab.has(token))
        refuse(`model.merges[${n}]`, `tokens of the vocabulary ('${token.slice(0, 40)}' is none)`, merge);
    }
    return pair as [string, string];
  });
}
