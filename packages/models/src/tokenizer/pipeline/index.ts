/**
 * @file tokenizer.json at work: added tokens, normalizer, pre-tokenizer, model, post-processor, decoder, as the Rust library (0.23) runs them.
 *
 * Of `@huggingface/tokenizers` (0.2.0) two parts are used, the merging of pairs and the conversion of Oniguruma's expressions. Its pipeline
 * around them differs from the Rust library's in what is held against it here: `single_word`, numbers that are no ASCII digits, `split` of
 * Metaspace, behaviours of Split, byte order marks, bytes that are no UTF-8, several of `TemplateProcessing`'s ids.
 */
import { ModelError } from '../../errors.js';
import { type AddedToken, AddedTokens, addedTokenOf } from './added-tokens.js';
import { bpeOf } from './bpe.js';
import { decoderOf } from './decoders.js';
import { normalizerOf } from './normalizers.js';
import { type Around, postProcessorOf } from './post-processor.js';
import { preTokenizerOf } from './pre-tokenizers.js';
import { asArray, Fields, type Json } from './reading.js';

export interface Pipeline {
  readonly added: AddedTokens;
  /** What the file's post-processor puts around a text; null where it has none. */
  readonly around: Around | null;
  /** Ids of a text, without what is put around it. */
  encode(text: string): number[];
  decode(ids: readonly number[], skipsSpecial: boolean): string;
  idOf(token: string): number | undefined;
  tokenOf(id: number): string | undefined;
  readonly highestId: number;
}

export interface PipelineOptions {
  /** Makes tokens that other files add, given those of the vocabulary so far. */
  readonly more: (known: {
    idOf(token: string): number | undefined;
    tokenOf(id: number): string | undefined;
    readonly nextId: number;
    readonly added: readonly AddedToken[];
  }) => readonly AddedToken[];
  readonly splitsSpecial: boolean;
}

/** @throws ModelError when a part of the file cannot be heeded. */
export function pipelineOf(json: Json, { more, splitsSpecial }: PipelineOptions): Pipeline {
  const fields = new Fields(json, 'file');
  for (const key of ['version', 'type']) fields.raw(key);
  for (const key of ['truncation', 'padding']) fields.raw(key);
  const model = bpeOf(fields.raw('model'));
  const normalize = normalizerOf(fields.raw('normalizer'));
  const preTokenize = preTokenizerOf(fields.raw('pre_tokenizer'));
  const decode = decoderOf(fields.raw('decoder'));
  const own = asArray(fields.raw('added_tokens') ?? [], 'added_tokens').map((token, n) =>
    addedTokenOf(token, `added_tokens[${n}]`),
  );
  for (const { content, id } of own) {
    const inVocab = model.vocab.get(content);
    if (inVocab !== undefined && inVocab !== id) {
      throw new ModelError(
        `tokenizer.json: added_tokens: '${content.slice(0, 60)}' has the id ${id}, in model.vocab it has ${inVocab}`,
      );
    }
    const other = model.tokens.get(id);
    if (other !== undefined && other !== content) {
      throw new ModelError(
        `tokenizer.json: added_tokens: '${content.slice(0, 60)}' has the id ${id}, which is '${other.slice(0, 60)}' in model.vocab`,
      );
    }
  }
  const contents = new Map(own.map((token) => [token.content, token.id]));
  const ownById = new Map(own.map((token) => [token.id, token.content]));
  const highest = (ids: Iterable<number>) => {
    let most = -1;
    for (const id of ids) if (id > most) most = id;
    return most;
  };
  const nextId = Math.max(highest(model.vocab.values()), highest(contents.values())) + 1;
  const tokens = [
    ...own,
    ...more({
      tokenOf: (id) => ownById.get(id) ?? model.tokens.get(id),
      idOf: (token) => contents.get(token) ?? model.vocab.get(token),
      nextId,
      added: own,
    }),
  ];
  const added = new AddedTokens(tokens, normalize, splitsSpecial);
  const idOf = (token: string) => added.byContent.get(token)?.id ?? model.vocab.get(token);
  const tokenOf = (id: number) => added.byId.get(id)?.content ?? model.tokens.get(id);
  // As the Rust library decodes them: what was looked for in the normalized text.
  const shown = new Map(
    [...added.byId.values()].filter((token) => token.normalized).map((token) => [token.id, normalize(token.content)]),
  );
  const special = new Set([...added.byId.values()].filter((token) => token.special).map((token) => token.content));
  const around = postProcessorOf(fields.raw('post_processor'), idOf);
  fields.done();
  return {
    added,
    around,
    idOf,
    tokenOf,
    highestId: Math.max(nextId - 1, highest(added.byId.keys())),
    encode(text) {
      const ids: number[] = [];
      for (const { text: stretch, token, begin } of added.split(text)) {
        if (token) ids.push(token.id);
        else
          for (const piece of preTokenize([{ text: stretch, isStart: begin === 0 }]))
            for (const id of model.encode(piece.text)) ids.push(id);
      }
      return ids;
    },
    decode(ids, skipsSpecial) {
      const known = ids.flatMap((id) => {
        const token = shown.get(id) ?? tokenOf(id);
        return token === undefined || (skipsSpecial && special.has(token)) ? [] : [token];
      });
      return decode ? decode(known).join('') : known.join(' ');
    },
  };
}
