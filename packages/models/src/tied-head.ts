/**
 * @file Whether the embedding is the head too. `tie_word_embeddings` in config.json is a wish; transformers 5 (`tie_weights` of
 * modeling_utils.py) looks into the checkpoint: two matrices that differ are both used as they are, a lone `lm_head.weight` is the embedding.
 */
import { ModelError } from './errors.js';
import type { LlamaConfig } from './llama-config.js';
import type { WeightSource } from './types.js';

const EMBEDDING = 'model.embed_tokens.weight';
const HEAD = 'lm_head.weight';

export interface TiedWeights {
  /** With `tieWordEmbeddings` as the weights have it. */
  readonly config: LlamaConfig;
  /** Names of tensors that stand for others: the embedding's under the head's, where the head alone is there. */
  readonly standsFor: ReadonlyMap<string, string>;
  /** What a person should know. */
  readonly notice: string | null;
}

/** Elements compared at a time where values are compared. */
const CHUNK_BYTES = 2 ** 24;

/**
 * Looks at both matrices where the config ties them and both are there. Reads them, a part at a time where the source gives bytes.
 * @throws ModelError when the two have different shapes.
 */
export async function resolveTying(config: LlamaConfig, source: WeightSource): Promise<TiedWeights> {
  const same: TiedWeights = { config, standsFor: new Map(), notice: null };
  if (!config.tieWordEmbeddings) return same;
  const names = new Set(source.names);
  if (!names.has(HEAD)) return same;
  if (!names.has(EMBEDDING)) return { ...same, standsFor: new Map([[EMBEDDING, HEAD]]) };
  const [embedding, head] = [source.entry(EMBEDDING), source.entry(HEAD)];
  if (`${embedding.shape}` !== `${head.shape}`) {
    throw new ModelError(
      `config.json ties the head to the embedding (tie_word_embeddings), but '${HEAD}' is [${head.shape}] and '${EMBEDDING}' [${embedding.shape}]; set tie_word_embeddings to false where the head is right`,
    );
  }
  if (await areEqual(source, embedding.dtype === head.dtype)) return same;
  return {
    ...same,
    config: { ...config, tieWordEmbeddings: false },
    notice: `config.json says tie_word_embeddings, but '${HEAD}' differs from the embedding: both are used as they are, as in transformers; set tie_word_embeddings to false to say so`,
  };
}

async function areEqual(source: WeightSource, sameDtype: boolean): Promise<boolean> {
  if (sameDtype && source.bytes) return areBytesEqual(source as WeightSource & RangedSource);
  const [embedding, head] = [await source.float32(EMBEDDING), await source.float32(HEAD)];
  return embedding.length === head.length && embedding.every((value, n) => value === head[n]);
}

interface RangedSource {
  bytes(name: string, begin?: number, end?: number): Promise<Uint8Array>;
}

async function areBytesEqual(source: WeightSource & RangedSource): Promise<boolean> {
  const { shape, dtype } = source.entry(EMBEDDING);
  const width = dtype === 'F32' ? 4 : dtype === 'F64' ? 8 : dtype === 'F16' || dtype === 'BF16' ? 2 : 1;
  const size = shape.reduce((product, n) => product * n, width);
  for (let at = 0; at < size; at += CHUNK_BYTES) {
    const end = Math.min(size, at + CHUNK_BYTES);
    const [a, b] = [await source.bytes(EMBEDDING, at, end), await source.bytes(HEAD, at, end)];
    if (a.length !== b.length) return false;
    for (let n = 0; n < a.length; n++) if (a[n] !== b[n]) return false;
  }
  return true;
}

/** A source in which tensors are also found by the names that they stand for. */
export function aliased<Source extends WeightSource>(source: Source, standsFor: ReadonlyMap<string, string>): Source {
  if (standsFor.size === 0) return source;
  const real = (name: unknown) => (typeof name === 'string' ? (standsFor.get(name) ?? name) : name);
  return withNames(source, [...source.names, ...standsFor.keys()], real);
}

/** A source whose names can be gone through more than once: what is given may be an iterator, which cannot. */
export function listed<Source extends WeightSource>(source: Source): Source {
  return Array.isArray(source.names) ? source : withNames(source, [...source.names], (name) => name);
}

function withNames<Source extends WeightSource>(
  source: Source,
  names: readonly string[],
  real: (name: unknown) => unknown,
): Source {
  return new Proxy(source, {
    get(target, key) {
      if (key === 'names') return names;
      const value = Reflect.get(target, key, target) as unknown;
      if (typeof value !== 'function') return value;
      return (name: unknown, ...rest: unknown[]) => value.call(target, real(name), ...rest);
    },
  });
}
