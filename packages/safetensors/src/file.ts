/**
 * @file Reading tensors: one interface over bytes in memory, a file of which only the wanted ranges are read, and several shards.
 */
import { bfloat16ToFloat32, float16ToFloat32 } from './convert.js';
import { DTYPE_BYTES, type Dtype, elementCount } from './dtypes.js';
import { SafetensorsError } from './errors.js';
import { type Header, parseHeader, parseHeaderLength, type TensorEntry } from './header.js';

/** Tensors by name. Arrays that methods give belong to the caller and are never views of the source. */
export interface SafetensorsFile {
  /** In the order of the data; shards one after another. */
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  has(name: string): boolean;
  /** @throws SafetensorsError naming the closest names when there is no such tensor; so do the methods below. */
  entry(name: string): { readonly dtype: Dtype; readonly shape: readonly number[] };
  /**
   * The tensor's bytes as they are in the file, little-endian, row-major.
   * @param begin, @param end the part of them wanted; default all. @throws RangeError when it is not within the tensor.
   */
  bytes(name: string, begin?: number, end?: number): Promise<Uint8Array>;
  /** F32 as it is; F16 and BF16 exactly; F64 rounded. @throws SafetensorsError for other dtypes. */
  float32(name: string): Promise<Float32Array>;
  /** I32, and narrower integers and BOOL; I64, U32 and U64 where every value fits. @throws SafetensorsError otherwise. */
  int32(name: string): Promise<Int32Array>;
  close(): Promise<void>;
}

/** Random access to a file's bytes. */
export interface ByteSource {
  /** Path or other name, for messages. */
  readonly name?: string;
  readonly size: number;
  /** Bytes [begin, end), fresh: the caller may keep and change them. Never asked for more than there are. */
  read(begin: number, end: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Bytes converted at a time: beyond the result itself no more memory than this is needed. */
const CHUNK_BYTES = 16 * 1024 * 1024;

/**
 * A safetensors file in memory.
 * @param source the whole file, in a Uint8Array or any subclass of it (Buffer) at any offset; not copied, so it must not change while tensors are read.
 * @param name its path or other name, for messages.
 * @throws SafetensorsError
 */
export function parseSafetensors(source: Uint8Array, name?: string): SafetensorsFile {
  const whole = sourceOfBytes(source, name);
  const bytes = plainView(source);
  const length = parseHeaderLength(bytes.subarray(0, 8), bytes.length, name);
  return fileOf(parseHeader(bytes.subarray(8, 8 + length), bytes.length, name), whole);
}

/** Bytes in memory as a source; they are not copied, so they must not change while they are read. */
export function sourceOfBytes(source: Uint8Array, name?: string): ByteSource {
  const bytes = plainView(source);
  return {
    ...(name !== undefined && { name }),
    size: bytes.length,
    read: async (begin, end) => bytes.slice(begin, end) as Uint8Array<ArrayBuffer>,
    close: async () => {},
  };
}

/** A view of the plain class: what `slice` and `subarray` of a subclass do (Buffer's `slice` copies nothing) must not matter. */
const plainView = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * Reads and checks the header of `source`; tensors are read when they are asked for. Closing the result closes the source.
 * @throws SafetensorsError; the source is then left open.
 */
export async function openSource(source: ByteSource): Promise<SafetensorsFile> {
  const prefix = await readFrom(source, 0, Math.min(8, source.size));
  const length = parseHeaderLength(prefix, source.size, source.name);
  return fileOf(parseHeader(await readFrom(source, 8, 8 + length), source.size, source.name), source);
}

/** Bytes [begin, end) as a plain array that has its buffer to itself, whatever the source gives (a Buffer mostly shares a pool). */
async function readFrom(source: ByteSource, begin: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await source.read(begin, end);
  if (bytes.byteLength !== end - begin) {
    throw new SafetensorsError(
      `wanted bytes [${begin}, ${end}), the source gave ${bytes.byteLength}; is the file complete?`,
      {
        file: source.name,
      },
    );
  }
  const isPlain = Object.getPrototypeOf(bytes) === Uint8Array.prototype && bytes.buffer instanceof ArrayBuffer;
  if (isPlain && bytes.byteLength === bytes.buffer.byteLength) return bytes as Uint8Array<ArrayBuffer>;
  const fresh = new Uint8Array(bytes.byteLength);
  fresh.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  return fresh;
}

/** A file whose tensors lie where `header` says, however that was found out. Closing it closes the source. */
export function fileOf(header: Header, source: ByteSource): SafetensorsFile {
  return new SourceFile(header, source);
}

class SourceFile implements SafetensorsFile {
  readonly names: readonly string[];

  constructor(
    private readonly header: Header,
    private readonly source: ByteSource,
  ) {
    this.names = [...header.entries.keys()];
  }

  get metadata(): Readonly<Record<string, string>> {
    return this.header.metadata;
  }

  has(name: string): boolean {
    return this.header.entries.has(name);
  }

  entry(name: string): TensorEntry {
    const entry = this.header.entries.get(name);
    if (!entry) throw missingTensor(name, this.names, this.source.name);
    return entry;
  }

  async bytes(name: string, from = 0, to?: number): Promise<Uint8Array<ArrayBuffer>> {
    const { begin, end } = this.entry(name);
    const until = to ?? end - begin;
    if (!(from >= 0 && from <= until && until <= end - begin)) {
      throw new RangeError(`bytes: '${name}' has bytes [0, ${end - begin}), asked for [${from}, ${until})`);
    }
    return readFrom(this.source, begin + from, begin + until);
  }

  async float32(name: string): Promise<Float32Array> {
    const { dtype, shape } = this.entry(name);
    if (dtype === 'F32') return new Float32Array((await this.bytes(name)).buffer);
    if (dtype !== 'F16' && dtype !== 'BF16' && dtype !== 'F64') {
      throw this.wrongDtype(name, dtype, 'F32, F16, BF16 or F64');
    }
    const result = new Float32Array(elementCount(shape));
    await this.forChunks(name, (bytes, start) => {
      const target = result.subarray(start, start + bytes.length / DTYPE_BYTES[dtype]);
      if (dtype === 'F64') target.set(new Float64Array(bytes.buffer));
      else if (dtype === 'F16') float16ToFloat32(new Uint16Array(bytes.buffer), target);
      else bfloat16ToFloat32(new Uint16Array(bytes.buffer), target);
    });
    return result;
  }

  async int32(name: string): Promise<Int32Array> {
    const { dtype, shape } = this.entry(name);
    if (dtype === 'I32') return new Int32Array((await this.bytes(name)).buffer);
    const view = INTEGER_VIEWS[dtype];
    if (!view) throw this.wrongDtype(name, dtype, 'I32, I64 or another integer type');
    const result = new Int32Array(elementCount(shape));
    await this.forChunks(name, (bytes, start) => {
      const values = view(bytes.buffer);
      for (let i = 0; i < values.length; i++) {
        const value = Number(values[i]!);
        result[start + i] = value;
        if (result[start + i] !== value) {
          throw new SafetensorsError(
            `element ${start + i} is ${values[i]}, which does not fit in 32 bits; read its bytes instead`,
            {
              file: this.source.name,
              tensor: name,
            },
          );
        }
      }
    });
    return result;
  }

  close(): Promise<void> {
    return this.source.close();
  }

  private async forChunks(
    name: string,
    use: (bytes: Uint8Array<ArrayBuffer>, startElement: number) => void,
  ): Promise<void> {
    const { dtype, begin, end } = this.entry(name);
    for (let at = begin; at < end; at += CHUNK_BYTES) {
      use(await readFrom(this.source, at, Math.min(end, at + CHUNK_BYTES)), (at - begin) / DTYPE_BYTES[dtype]);
    }
  }

  private wrongDtype(tensor: string, found: Dtype, wanted: string): SafetensorsError {
    return new SafetensorsError(`wanted ${wanted}, found ${found}; convert the file, or read the tensor's bytes`, {
      file: this.source.name,
      tensor,
    });
  }
}

const INTEGER_VIEWS: Partial<Record<Dtype, (buffer: ArrayBuffer) => ArrayLike<number | bigint>>> = {
  BOOL: (b) => new Uint8Array(b),
  U8: (b) => new Uint8Array(b),
  I8: (b) => new Int8Array(b),
  I16: (b) => new Int16Array(b),
  U16: (b) => new Uint16Array(b),
  U32: (b) => new Uint32Array(b),
  I64: (b) => new BigInt64Array(b),
  U64: (b) => new BigUint64Array(b),
};

/** What is thrown when a file has no tensor of a name. */
export function missingTensor(tensor: string, names: readonly string[], file?: string): SafetensorsError {
  const last = tensor.split('.').slice(-2).join('.');
  const similar = names.filter((n) => n.endsWith(last) || n.includes(tensor) || tensor.includes(n));
  const shown = (similar.length > 0 ? similar : names).slice(0, 5);
  const list =
    names.length === 0 ? 'none at all' : `${names.length}, for instance ${shown.map((n) => `'${n}'`).join(', ')}`;
  return new SafetensorsError(`there is no such tensor; the file has ${list}`, { file, tensor });
}
