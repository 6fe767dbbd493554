/** @file The bytes of a file: its head for given metadata and tensors, with the place of each tensor; and a whole file in memory. */
import { GgufError } from './errors.js';
import { bytesOf, GGML_TYPES, type GgmlTypeName } from './ggml-types.js';
import { type MetadataEntries, type MetadataValue, type NumberArray, VALUE_TYPES } from './metadata.js';

export interface TensorSpec {
  readonly type: GgmlTypeName;
  /** Row-major. */
  readonly shape: readonly number[];
}

export interface Layout {
  /** Everything before the data, with its padding. */
  readonly head: Uint8Array;
  readonly places: ReadonlyMap<string, { readonly begin: number; readonly bytes: number }>;
  readonly fileBytes: number;
}

const ALIGNMENT = 32;
const aligned = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** @throws GgufError when a tensor's rows are no whole blocks, or the metadata ask for another alignment than the format's own. */
export function layoutGguf(metadata: MetadataEntries, tensors: ReadonlyMap<string, TensorSpec>, file?: string): Layout {
  if (metadata.has('general.alignment'))
    throw new GgufError('files are written with the alignment 32', { file, key: 'general.alignment' });
  const out = new Writer();
  out.bytes(new TextEncoder().encode('GGUF'));
  out.u32(3);
  out.u64(tensors.size);
  out.u64(metadata.size);
  for (const [key, value] of metadata) {
    out.string(key);
    out.u32(VALUE_TYPES.indexOf(value.type));
    out.value(value);
  }
  const places = new Map<string, { begin: number; bytes: number }>();
  let offset = 0;
  for (const [name, { type, shape }] of tensors) {
    const { blockSize } = GGML_TYPES[type];
    if (shape.length === 0 || shape.length > 4 || shape.at(-1)! % blockSize !== 0) {
      throw new GgufError(
        `[${shape}] cannot be written in ${type}: wanted 1 to 4 dimensions, and rows of whole blocks of ${blockSize}`,
        { file, tensor: name },
      );
    }
    const bytes = bytesOf(
      type,
      shape.reduce((product, size) => product * size, 1),
    );
    out.string(name);
    out.u32(shape.length);
    for (const size of [...shape].reverse()) out.u64(size);
    out.u32(GGML_TYPES[type].id);
    out.u64(offset);
    places.set(name, { begin: offset, bytes });
    offset = aligned(offset + bytes);
  }
  out.bytes(new Uint8Array(aligned(out.length) - out.length));
  const head = out.all();
  for (const place of places.values()) place.begin += head.length;
  return { head, places, fileBytes: head.length + offset };
}

/** A whole file, for small ones and browsers. @param data each tensor's bytes. @throws GgufError */
export function serializeGguf(
  metadata: MetadataEntries,
  tensors: ReadonlyMap<string, TensorSpec & { readonly data: Uint8Array }>,
): Uint8Array<ArrayBuffer> {
  const { head, places, fileBytes } = layoutGguf(metadata, tensors);
  const file = new Uint8Array(fileBytes);
  file.set(head);
  for (const [tensor, { data }] of tensors) {
    const { begin, bytes } = places.get(tensor)!;
    requireBytes(tensor, data, bytes);
    file.set(data, begin);
  }
  return file;
}

/** @throws GgufError when data are not as many bytes as their tensor takes. */
export function requireBytes(tensor: string, data: Uint8Array, bytes: number, file?: string): void {
  if (data.length !== bytes) throw new GgufError(`takes ${bytes} bytes, given are ${data.length}`, { file, tensor });
}

/** Bytes to which more are appended. */
class Writer {
  readonly #encoder = new TextEncoder();
  #buffer = new Uint8Array(2 ** 16);
  #view = new DataView(this.#buffer.buffer);
  length = 0;

  all(): Uint8Array {
    return this.#buffer.slice(0, this.length);
  }

  bytes(bytes: Uint8Array): void {
    // Room first: it may be another buffer.
    const at = this.#room(bytes.length);
    this.#buffer.set(bytes, at);
  }

  u32(value: number): void {
    const at = this.#room(4);
    this.#view.setUint32(at, value, true);
  }

  u64(value: number | bigint): void {
    const at = this.#room(8);
    this.#view.setBigUint64(at, BigInt(value), true);
  }

  string(text: string): void {
    const bytes = this.#encoder.encode(text);
    this.u64(bytes.length);
    this.bytes(bytes);
  }

  value(given: MetadataValue): void {
    switch (given.type) {
      case 'string':
        this.string(given.value);
        break;
      case 'array':
        this.u32(VALUE_TYPES.indexOf(given.of));
        this.u64(given.value.length);
        this.#elements(given.value);
        break;
      default:
        this.bytes(scalar(given));
    }
  }

  #elements(values: readonly string[] | NumberArray | readonly MetadataValue[]): void {
    if (ArrayBuffer.isView(values)) {
      this.bytes(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      return;
    }
    for (const value of values as readonly (string | MetadataValue)[]) {
      if (typeof value === 'string') this.string(value);
      else this.value(value);
    }
  }

  /** Where the next so many bytes go. */
  #room(bytes: number): number {
    const at = this.length;
    this.length += bytes;
    if (this.length > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(this.length, this.#buffer.length * 2));
      larger.set(this.#buffer.subarray(0, at));
      this.#buffer = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

function scalar(given: Exclude<MetadataValue, { type: 'string' | 'array' }>): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  const first = (bytes: number) => new Uint8Array(view.buffer, 0, bytes);
  switch (given.type) {
    case 'bool':
      view.setUint8(0, Number(given.value));
      return first(1);
    case 'uint8':
    case 'int8':
      view.setUint8(0, given.value);
      return first(1);
    case 'uint16':
    case 'int16':
      view.setUint16(0, given.value, true);
      return first(2);
    case 'uint32':
    case 'int32':
      view.setUint32(0, given.value, true);
      return first(4);
    case 'float32':
      view.setFloat32(0, given.value, true);
      return first(4);
    case 'float64':
      view.setFloat64(0, given.value, true);
      return first(8);
    case 'uint64':
    case 'int64':
      view.setBigUint64(0, BigInt.asUintN(64, given.value), true);
      return first(8);
  }
}
