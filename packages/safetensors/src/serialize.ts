/**
 * @file Writing tensors: header and order of the data byte for byte as the safetensors library writes them.
 */
import { float32ToBfloat16, float32ToFloat16 } from './convert.js';
import { DTYPE_BYTES, DTYPES, type Dtype, elementCount, isDtype } from './dtypes.js';
import { SafetensorsError } from './errors.js';
import { showValue } from './show-value.js';

/** Raw little-endian bytes (Uint8Array), the typed array of the dtype, or for F16 and BF16 a Float32Array, which is rounded. */
export type TensorData =
  | Uint8Array
  | Int8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

export interface TensorSpec {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

export interface TensorToWrite extends TensorSpec {
  readonly data: TensorData;
}

export interface FileLayout {
  /** Length, JSON and padding: what stands before the data. A multiple of 8 bytes. */
  readonly header: Uint8Array;
  /** Names in the order of the data. */
  readonly order: readonly string[];
  /** Size of the whole file. */
  readonly fileBytes: number;
}

/**
 * Where every tensor goes: by dtype, widest first, then by name (code points, as Rust compares strings), the header padded with spaces to a multiple of 8.
 * @throws SafetensorsError for a shape, dtype, name or metadata that the format does not have.
 */
export function layoutSafetensors(
  tensors: Readonly<Record<string, TensorSpec>>,
  metadata?: Readonly<Record<string, string>>,
  file?: string,
): FileLayout {
  const json: [string, unknown][] = [];
  if (metadata && Object.keys(metadata).length > 0) {
    for (const [key, value] of Object.entries(metadata)) {
      if (typeof value !== 'string') {
        throw new SafetensorsError(`metadata '${key}': wanted a string, found ${showValue(value)}`, { file });
      }
    }
    json.push(['__metadata__', metadata]);
  }
  const order = Object.entries(tensors)
    .map(([name, { dtype, shape }]) => {
      checkSpec(name, dtype, shape, file);
      return { name, dtype, shape, rank: DTYPES.indexOf(dtype) };
    })
    .sort((a, b) => b.rank - a.rank || compareCodePoints(a.name, b.name));
  let offset = 0;
  for (const { name, dtype, shape } of order) {
    const end = offset + elementCount(shape) * DTYPE_BYTES[dtype];
    json.push([name, { dtype, shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  // Not JSON.stringify of one object: that moves keys which look like numbers to the front.
  const text = new TextEncoder().encode(
    `{${json.map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`).join(',')}}`,
  );
  const length = Math.ceil(text.length / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(text, 8);
  return { header, order: order.map((t) => t.name), fileBytes: header.length + offset };
}

/**
 * A whole file in memory.
 * @throws SafetensorsError when data does not fit dtype and shape.
 */
export function serializeSafetensors(
  tensors: Readonly<Record<string, TensorToWrite>>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const { header, order, fileBytes } = layoutSafetensors(tensors, metadata);
  const file = new Uint8Array(fileBytes);
  file.set(header);
  let offset = header.length;
  for (const name of order) {
    const bytes = tensorBytes(name, tensors[name]!, tensors[name]!.data);
    file.set(bytes, offset);
    offset += bytes.length;
  }
  return file;
}

/** The bytes of one tensor as they go to the file; a view of `data` where nothing needs converting. @throws SafetensorsError */
export function tensorBytes(tensor: string, { dtype, shape }: TensorSpec, data: TensorData, file?: string): Uint8Array {
  let array = data;
  if (data instanceof Float32Array && dtype === 'BF16') array = float32ToBfloat16(data);
  else if (data instanceof Float32Array && dtype === 'F16') array = float32ToFloat16(data);
  else if (!(data instanceof Uint8Array) && !ARRAYS[dtype]?.some((type) => data instanceof type)) {
    const wanted = ['Uint8Array (raw bytes)', ...(ARRAYS[dtype] ?? []).map((type) => type.name)].join(' or ');
    throw new SafetensorsError(`data of ${dtype}: wanted ${wanted}, found ${data?.constructor?.name}`, {
      file,
      tensor,
    });
  }
  const wanted = elementCount(shape) * DTYPE_BYTES[dtype];
  if (array.byteLength !== wanted) {
    throw new SafetensorsError(`shape [${shape}] of ${dtype} takes ${wanted} bytes, found ${array.byteLength}`, {
      file,
      tensor,
    });
  }
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

const ARRAYS: Partial<Record<Dtype, (abstract new (...args: never[]) => TensorData)[]>> = {
  I8: [Int8Array],
  I16: [Int16Array],
  U16: [Uint16Array],
  F16: [Uint16Array, Float32Array],
  BF16: [Uint16Array, Float32Array],
  I32: [Int32Array],
  U32: [Uint32Array],
  F32: [Float32Array],
  F64: [Float64Array],
  I64: [BigInt64Array],
  U64: [BigUint64Array],
};

function checkSpec(tensor: string, dtype: Dtype, shape: readonly number[], file?: string): void {
  if (tensor === '__metadata__') {
    throw new SafetensorsError(`the name is reserved by the format; name the tensor otherwise`, { file, tensor });
  }
  if (!isDtype(dtype)) {
    throw new SafetensorsError(`dtype: wanted one of ${DTYPES.join(', ')}, found ${showValue(dtype)}`, {
      file,
      tensor,
    });
  }
  if (!Array.isArray(shape) || !shape.every((n) => Number.isSafeInteger(n) && n >= 0)) {
    throw new SafetensorsError(`shape: wanted whole numbers, 0 or more, found ${showValue(shape)}`, {
      file,
      tensor,
    });
  }
}

/** Order of UTF-8 bytes, which is that of code points; JavaScript's own `<` differs beyond U+FFFF. */
function compareCodePoints(a: string, b: string): number {
  const [x, y] = [Array.from(a, (c) => c.codePointAt(0)!), Array.from(b, (c) => c.codePointAt(0)!)];
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    if (x[i] !== y[i]) return x[i]! - y[i]!;
  }
  return x.length - y.length;
}
