/** @file Reading tensors of a file in memory, or of one of which only the wanted ranges are read. */
import type { ByteSource } from '@spft/safetensors';
import { GgufError } from './errors.js';
import { GGML_TYPES } from './ggml-types.js';
import { type Head, MAX_HEAD_BYTES, parseHead, type TensorEntry } from './head.js';
import { Metadata } from './metadata.js';
import { DECODED_TYPES, decode, isDecoded } from './quants/decode.js';

/** Arrays that methods give belong to the caller and are never views of the source. */
export interface GgufFile {
  /** Path or other name, for messages. */
  readonly name: string | undefined;
  readonly version: number;
  readonly metadata: Metadata;
  /** Tensors in the order of the data. */
  readonly names: readonly string[];
  has(name: string): boolean;
  /** @throws GgufError when there is no such tensor; so do the methods below. */
  entry(name: string): TensorEntry;
  /** The tensor's bytes as they are in the file. @param begin, @param end the part of them wanted; default all. */
  bytes(name: string, begin?: number, end?: number): Promise<Uint8Array>;
  /** Its values, row-major. Beyond the result no more than 16 MB are needed. @throws GgufError for types that are not decoded here. */
  float32(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Decoded at a time. */
const CHUNK_BYTES = 16 * 1024 * 1024;
/** Read of the beginning first; most heads of models with large vocabularies are a few megabytes. */
const FIRST_BYTES = 2 ** 20;

/**
 * A file in memory.
 * @param source the whole file; not copied, so it must not change while tensors are read.
 * @throws GgufError
 */
export function parseGguf(source: Uint8Array, name?: string): GgufFile {
  const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  const head = parseHead(bytes, bytes.length, name);
  // With the whole file there is no more to ask for.
  if (!('entries' in head)) throw new Error('internal: more of a whole file was asked for');
  const read = async (begin: number, end: number) => bytes.slice(begin, end);
  return new SourceFile(head, { ...(name !== undefined && { name }), size: bytes.length, read, close: async () => {} });
}

/**
 * Reads and checks the head of `source`; tensors are read when they are asked for. Closing the result closes the source.
 * @throws GgufError; the source is then left open.
 */
export async function openGgufSource(source: ByteSource): Promise<GgufFile> {
  let wanted = Math.min(source.size, FIRST_BYTES);
  for (;;) {
    const head = parseHead(await readFrom(source, 0, wanted), source.size, source.name);
    if ('entries' in head) return new SourceFile(head, source);
    // At least four times as much each time, so that all in all little is read twice.
    wanted = Math.min(source.size, MAX_HEAD_BYTES, Math.max(head.bytes, wanted * 4));
  }
}

async function readFrom(source: ByteSource, begin: number, end: number): Promise<Uint8Array> {
  const bytes = await source.read(begin, end);
  if (bytes.byteLength === end - begin) return bytes;
  throw new GgufError(`wanted bytes [${begin}, ${end}), the source gave ${bytes.byteLength}; is the file complete?`, {
    file: source.name,
  });
}

class SourceFile implements GgufFile {
  readonly names: readonly string[];
  readonly metadata: Metadata;

  constructor(
    private readonly head: Head,
    private readonly source: ByteSource,
  ) {
    this.names = [...head.entries.keys()];
    this.metadata = new Metadata(head.metadata, source.name);
  }

  get name(): string | undefined {
    return this.source.name;
  }

  get version(): number {
    return this.head.version;
  }

  has(name: string): boolean {
    return this.head.entries.has(name);
  }

  entry(name: string): TensorEntry {
    const entry = this.head.entries.get(name);
    if (entry) return entry;
    const shown = this.names.slice(0, 5).map((one) => `'${one.slice(0, 60)}'`);
    throw new GgufError(
      `there is no such tensor; the file has ${this.names.length}${shown.length > 0 ? `, for instance ${shown.join(', ')}` : ''}`,
      {
        file: this.name,
        tensor: name,
      },
    );
  }

  async bytes(name: string, from = 0, to?: number): Promise<Uint8Array> {
    const { begin, end } = this.entry(name);
    const until = to ?? end - begin;
    if (!(from >= 0 && from <= until && until <= end - begin)) {
      throw new RangeError(`bytes: '${name}' has bytes [0, ${end - begin}), asked for [${from}, ${until})`);
    }
    return readFrom(this.source, begin + from, begin + until);
  }

  async float32(name: string): Promise<Float32Array> {
    const { type, shape, begin, end } = this.entry(name);
    if (!isDecoded(type)) {
      throw new GgufError(`is in ${type}, which is not read here; read are ${DECODED_TYPES.join(', ')}`, {
        file: this.name,
        tensor: name,
      });
    }
    const { blockSize, blockBytes } = GGML_TYPES[type];
    const values = new Float32Array(shape.reduce((product, size) => product * size, 1));
    const step = Math.floor(CHUNK_BYTES / blockBytes) * blockBytes;
    for (let at = begin; at < end; at += step) {
      const bytes = await readFrom(this.source, at, Math.min(end, at + step));
      const first = ((at - begin) / blockBytes) * blockSize;
      decode(type, bytes, values.subarray(first, first + (bytes.length / blockBytes) * blockSize));
    }
    return values;
  }

  close(): Promise<void> {
    return this.source.close();
  }
}
