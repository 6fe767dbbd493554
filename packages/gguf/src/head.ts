/**
 * @file The head of a GGUF file, strictly checked: counts, lengths and offsets are compared with the file's size before anything of that size is made.
 *
 * A file is `"GGUF" | u32 version | u64 tensors | u64 keys | keys and values | tensors' names, shapes, types, offsets | padding | data`
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). As in ggml's own reader data are contiguous but for padding, and no name comes twice.
 *
 * `@huggingface/gguf` (0.4.6) is not used for this: it reads by fetch or by path, not the bytes of a file that was dropped on a page; its buffer is
 * filled up with zeros to whole chunks of 2 MB, so that a head that is cut short parses as zeros; and it takes strings that are no UTF-8.
 */
import { GgufError } from './errors.js';
import { bytesOf, GGML_TYPES, type GgmlTypeName, ggmlTypeOf } from './ggml-types.js';
import { type MetadataValue, type NumberArray, VALUE_TYPES, type ValueType } from './metadata.js';

/** Where a tensor lies in its file. */
export interface TensorEntry {
  readonly type: GgmlTypeName;
  /** Row-major: the last dimension, ggml's first, is contiguous. */
  readonly shape: readonly number[];
  /** Byte range [begin, end) from the start of the file. */
  readonly begin: number;
  readonly end: number;
}

export interface Head {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  /** In the order of the data. */
  readonly entries: ReadonlyMap<string, TensorEntry>;
}

/** A vocabulary of 256,000 tokens with merges and scores takes 12 MB; a longer head is an attack or an accident. */
export const MAX_HEAD_BYTES = 2 ** 28;
const MAX_DIMENSIONS = 4;
const MAX_NAME_BYTES = 65535;
const MAX_DEPTH = 4;
const MAX_ALIGNMENT = 2 ** 20;

/** More of the file's beginning is needed. */
export class NeedsMore {
  constructor(readonly bytes: number) {}
}

/**
 * @param prefix the file's beginning.
 * @param fileBytes size of the whole file.
 * @returns the head, or how much of the file it takes at least to read it.
 * @throws GgufError naming file, key and tensor.
 */
export function parseHead(prefix: Uint8Array, fileBytes: number, file?: string): Head | NeedsMore {
  try {
    return new Parser(prefix, fileBytes, file).head();
  } catch (error) {
    if (error instanceof NeedsMore) return error;
    throw error;
  }
}

const NUMBER_BYTES: Partial<Record<ValueType, number>> = {
  ...{ uint8: 1, int8: 1, bool: 1, uint16: 2, int16: 2, uint32: 4, int32: 4, float32: 4 },
  ...{ uint64: 8, int64: 8, float64: 8 },
};

const ARRAYS = {
  ...{ uint8: Uint8Array, int8: Int8Array, bool: Uint8Array, uint16: Uint16Array, int16: Int16Array },
  ...{ uint32: Uint32Array, int32: Int32Array, float32: Float32Array },
  ...{ uint64: BigUint64Array, int64: BigInt64Array, float64: Float64Array },
} as const;

/** What a file says of a tensor, before its place is checked. */
interface TensorInfo {
  readonly name: string;
  readonly type: GgmlTypeName;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}

class Parser {
  readonly #view: DataView;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #at = 0;
  /** Key or tensor that is being read, for messages. */
  #where: { key?: string; tensor?: string } = {};

  constructor(
    private readonly prefix: Uint8Array,
    private readonly fileBytes: number,
    private readonly file: string | undefined,
  ) {
    this.#view = new DataView(prefix.buffer, prefix.byteOffset, prefix.byteLength);
  }

  head(): Head {
    const version = this.#version();
    const [tensorCount, keyCount] = [this.#count('tensors', 24), this.#count('metadata keys', 13)];
    const metadata = this.#metadata(keyCount);
    const infos = this.#infos(tensorCount);
    this.#where = {};
    const alignment = this.#alignment(metadata);
    const dataStart = Math.ceil(this.#at / alignment) * alignment;
    return { version, metadata, entries: this.#place(infos, dataStart, alignment) };
  }

  #version(): number {
    if (this.fileBytes < 24) {
      throw this.#error(
        `wanted at least 24 bytes, found ${this.fileBytes}; the file is empty or cut short: download it again`,
      );
    }
    const magic = String.fromCharCode(...this.prefix.subarray(0, 4));
    if (magic !== 'GGUF') {
      throw this.#error(
        `begins with ${JSON.stringify(magic)} instead of "GGUF"; this is no GGUF file${/^(ggml|ggjt|ggmf|lmgg|tjgg|fmgg)$/.test(magic) ? ' but one of its forerunners: convert the model again with a current llama.cpp' : ''}`,
      );
    }
    this.#at = 4;
    const version = this.#u32();
    if (version === 2 || version === 3) return version;
    if (version % 0x10000 === 0 && version > 0)
      throw this.#error('is big-endian; convert the model again with --outtype and without --bigendian');
    throw this.#error(`is of version ${version}, wanted 2 or 3; convert the model again with a current llama.cpp`);
  }

  #metadata(count: number): Map<string, MetadataValue> {
    const metadata = new Map<string, MetadataValue>();
    for (let n = 0; n < count; n++) {
      this.#where = {};
      const key = this.#name(`key ${n} of the metadata`);
      this.#where = { key };
      if (metadata.has(key)) throw this.#error('is there twice; which one counts is not defined');
      metadata.set(key, this.#value(this.#type(), 0));
    }
    return metadata;
  }

  #value(type: ValueType, depth: number): MetadataValue {
    switch (type) {
      case 'string':
        return { type, value: this.#string(Number.POSITIVE_INFINITY) };
      case 'array':
        return this.#array(depth);
      case 'bool':
        return { type, value: this.#bool(this.prefix[this.#take(1)]!) };
      case 'uint64':
        return { type, value: this.#view.getBigUint64(this.#take(8), true) };
      case 'int64':
        return { type, value: this.#view.getBigInt64(this.#take(8), true) };
      default: {
        const at = this.#take(NUMBER_BYTES[type]!);
        return { type, value: this.#number(type, at) };
      }
    }
  }

  #number(type: Exclude<ValueType, 'string' | 'array' | 'bool' | 'uint64' | 'int64'>, at: number): number {
    switch (type) {
      case 'uint8':
        return this.#view.getUint8(at);
      case 'int8':
        return this.#view.getInt8(at);
      case 'uint16':
        return this.#view.getUint16(at, true);
      case 'int16':
        return this.#view.getInt16(at, true);
      case 'uint32':
        return this.#view.getUint32(at, true);
      case 'int32':
        return this.#view.getInt32(at, true);
      case 'float32':
        return this.#view.getFloat32(at, true);
      case 'float64':
        return this.#view.getFloat64(at, true);
    }
  }

  #array(depth: number): MetadataValue {
    if (depth >= MAX_DEPTH) throw this.#error(`has arrays in more than ${MAX_DEPTH} arrays`);
    const of = this.#type();
    const width = NUMBER_BYTES[of];
    const count = this.#count(`elements of ${of}`, width ?? (of === 'string' ? 8 : 12));
    if (width === undefined) {
      if (of === 'string') {
        const value: string[] = [];
        for (let n = 0; n < count; n++) value.push(this.#string(Number.POSITIVE_INFINITY));
        return { type: 'array', of, value };
      }
      const value: MetadataValue[] = [];
      for (let n = 0; n < count; n++) value.push(this.#array(depth + 1));
      return { type: 'array', of, value };
    }
    const at = this.#take(count * width);
    const bytes = this.prefix.slice(at, at + count * width);
    if (of === 'bool') for (const byte of bytes) this.#bool(byte);
    return {
      type: 'array',
      of,
      value: new ARRAYS[of as keyof typeof ARRAYS](bytes.buffer as ArrayBuffer) as NumberArray,
    };
  }

  #bool(byte: number): boolean {
    if (byte <= 1) return byte === 1;
    throw this.#error(`wanted 0 or 1 for a bool, found ${byte}; the file is damaged`);
  }

  #type(): ValueType {
    const id = this.#u32();
    const type = VALUE_TYPES[id];
    if (type !== undefined) return type;
    throw this.#error(`has a value of the unknown type ${id}; the file is damaged, or newer than this reader`);
  }

  #infos(count: number): TensorInfo[] {
    const infos: TensorInfo[] = [];
    const names = new Set<string>();
    for (let n = 0; n < count; n++) {
      this.#where = {};
      const name = this.#name(`the name of tensor ${n}`);
      this.#where = { tensor: name };
      if (names.has(name)) throw this.#error('is there twice; which one counts is not defined');
      names.add(name);
      const dimensions = this.#u32();
      if (dimensions > MAX_DIMENSIONS) throw this.#error(`has ${dimensions} dimensions, allowed are ${MAX_DIMENSIONS}`);
      // ggml counts from the contiguous dimension.
      const shape = Array.from({ length: dimensions }, () => this.#u64()).reverse();
      const id = this.#u32();
      const type = ggmlTypeOf(id);
      if (type === undefined)
        throw this.#error(`has the unknown element type ${id}; the file is damaged, or newer than this reader`);
      const { blockSize } = GGML_TYPES[type];
      const columns = shape.at(-1) ?? 1;
      if (columns % blockSize !== 0)
        throw this.#error(`has rows of ${columns} elements in ${type}, whose blocks have ${blockSize}`);
      const elements = shape.reduce((product, size) => product * size, 1);
      const bytes = bytesOf(type, elements);
      if (bytes > this.fileBytes) {
        throw this.#error(
          `is [${shape}] in ${type}, ${bytes} bytes; the file has ${this.fileBytes}: it is cut short or damaged, download it again`,
        );
      }
      infos.push({ name, type, shape, offset: this.#u64(), bytes });
    }
    return infos;
  }

  #place(infos: readonly TensorInfo[], dataStart: number, alignment: number): Map<string, TensorEntry> {
    const entries = new Map<string, TensorEntry>();
    let expected = 0;
    for (const { name, type, shape, offset, bytes } of infos) {
      this.#where = { tensor: name };
      if (offset !== expected)
        throw this.#error(
          `its data begin at ${offset}, wanted ${expected}: after those before it; the file is damaged`,
        );
      const begin = dataStart + offset;
      const end = begin + bytes;
      if (end > this.fileBytes) {
        throw this.#error(
          `its data end at byte ${end}, the file has ${this.fileBytes}; it is cut short: download or write it again`,
        );
      }
      entries.set(name, { type, shape, begin, end });
      expected = Math.ceil((offset + bytes) / alignment) * alignment;
    }
    return entries;
  }

  #alignment(metadata: ReadonlyMap<string, MetadataValue>): number {
    const found = metadata.get('general.alignment');
    if (found === undefined) return 32;
    const { value } = found;
    if (found.type === 'uint32' && Number.isInteger(Math.log2(value as number)) && (value as number) <= MAX_ALIGNMENT)
      return value as number;
    throw new GgufError(
      `wanted a power of two up to ${MAX_ALIGNMENT} as uint32, found ${found.type} ${String(value).slice(0, 40)}`,
      {
        file: this.file,
        key: 'general.alignment',
      },
    );
  }

  /** A number of things that take at least so many bytes each. */
  #count(what: string, leastBytes: number): number {
    const at = this.#take(8);
    const count = this.#view.getBigUint64(at, true);
    if (count * BigInt(leastBytes) > BigInt(this.fileBytes - this.#at)) {
      throw this.#error(
        `says it has ${count} ${what}, for which the file's ${this.fileBytes} bytes do not suffice; it is cut short or damaged`,
      );
    }
    return Number(count);
  }

  #u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  #u64(): number {
    const value = this.#view.getBigUint64(this.#take(8), true);
    if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
    throw this.#error(`has the size or offset ${value}, more than any file holds; it is damaged`);
  }

  #name(what: string): string {
    const name = this.#string(MAX_NAME_BYTES, what);
    if (name === '') throw this.#error(`${what} is empty; the file is damaged`);
    return name;
  }

  #string(mostBytes: number, what = 'a string'): string {
    const length = this.#u64();
    if (length > mostBytes)
      throw this.#error(`${what} is ${length} bytes long, allowed are ${mostBytes}; the file is damaged`);
    const at = this.#take(length);
    try {
      return this.#decoder.decode(this.prefix.subarray(at, at + length));
    } catch (cause) {
      throw this.#error(`${what} is no valid UTF-8; the file is damaged`, cause);
    }
  }

  /** Where the next so many bytes begin; they are then behind. */
  #take(bytes: number): number {
    const end = this.#at + bytes;
    if (end > this.fileBytes) {
      throw this.#error(
        `the head goes on to byte ${end} at least, the file has ${this.fileBytes}; it is cut short or damaged: download it again`,
      );
    }
    if (end > MAX_HEAD_BYTES)
      throw this.#error(`the head is longer than ${MAX_HEAD_BYTES} bytes; this is no model's file, or a damaged one`);
    if (end > this.prefix.length) throw new NeedsMore(end);
    const at = this.#at;
    this.#at = end;
    return at;
  }

  #error(problem: string, cause?: unknown): GgufError {
    return new GgufError(problem, { file: this.file, ...this.#where, cause });
  }
}
