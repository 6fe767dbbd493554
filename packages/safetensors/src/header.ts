/**
 * @file The header of a safetensors file, strictly checked: nothing of the data is believed before this has passed.
 *
 * A file is `u64 little-endian length N | N bytes of JSON, padded with spaces | data`. Every rule of the format's description is checked
 * (https://github.com/huggingface/safetensors#format), and one more than the original library checks: no key twice.
 */
import { DTYPE_BYTES, DTYPES, type Dtype, elementCount, isDtype } from './dtypes.js';
import { SafetensorsError } from './errors.js';
import { showValue as show } from './show-value.js';

/** As in the original library: a longer header is an attack or an accident. */
const MAX_HEADER_BYTES = 100_000_000;

/** Where a tensor lies in its file. */
export interface TensorEntry {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Byte range [begin, end) from the start of the file. */
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of the data. */
  readonly entries: ReadonlyMap<string, TensorEntry>;
}

/**
 * Length of the JSON part, from the first eight bytes.
 * @param prefix the file's first 8 bytes, or fewer where it has no more.
 * @throws SafetensorsError when the file is too short for it.
 */
export function parseHeaderLength(prefix: Uint8Array, fileBytes: number, file?: string): number {
  if (prefix.length < 8) {
    throw new SafetensorsError(
      `wanted at least 8 bytes (the header's length), found ${fileBytes}; the file is empty or cut short: download or write it again`,
      { file },
    );
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new SafetensorsError(
      `the header says it is ${length} bytes long, allowed are ${MAX_HEADER_BYTES}; this is no safetensors file or a damaged one`,
      { file },
    );
  }
  if (length > BigInt(fileBytes - 8)) {
    throw new SafetensorsError(
      `the header says it is ${length} bytes long, but ${fileBytes - 8} bytes follow; the file is cut short or no safetensors file: download or write it again`,
      { file },
    );
  }
  return Number(length);
}

/**
 * @param json the header's bytes, without the length before them.
 * @param fileBytes size of the whole file.
 * @throws SafetensorsError naming file and tensor.
 */
export function parseHeader(json: Uint8Array, fileBytes: number, file?: string): Header {
  const { value: header, text } = parseObject(json, file);
  const dataStart = 8 + json.length;
  const dataBytes = fileBytes - dataStart;
  const metadata: Record<string, string> = Object.create(null);
  const tensors: { name: string; entry: TensorEntry }[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (!isRecord(value))
        throw new SafetensorsError(`__metadata__: wanted an object, found ${show(value)}`, { file });
      for (const [key, text] of Object.entries(value)) {
        if (typeof text !== 'string') {
          throw new SafetensorsError(`__metadata__['${key}']: wanted a string, found ${show(text)}`, { file });
        }
        metadata[key] = text;
      }
    } else {
      tensors.push({ name, entry: parseEntry(name, value, dataStart, dataBytes, file) });
    }
  }
  // Several empty tensors may share an offset; the stable sort keeps them in the header's order.
  tensors.sort((a, b) => a.entry.begin - b.entry.begin || a.entry.end - b.entry.end);
  let end = dataStart;
  let previous: string | undefined;
  for (const { name, entry } of tensors) {
    if (entry.begin < end) {
      throw new SafetensorsError(
        `its bytes start at ${entry.begin - dataStart}, inside those of '${previous}', which end at ${end - dataStart}; tensors must not overlap: the file is damaged or made to harm`,
        { file, tensor: name },
      );
    }
    if (entry.begin > end) {
      throw new SafetensorsError(
        `${entry.begin - end} bytes before it (from ${end - dataStart}) belong to no tensor; the format allows no gaps: write the file again`,
        { file, tensor: name },
      );
    }
    end = entry.end;
    previous = name;
  }
  if (end !== fileBytes) {
    throw new SafetensorsError(
      `${fileBytes - end} bytes after the last tensor belong to none; the format allows no gaps: write the file again`,
      { file },
    );
  }
  // Last, as the other checks say more of a number that is wrong anyway.
  const number = findOtherNumber(text);
  if (number !== undefined) {
    throw new SafetensorsError(
      `the header has the number ${number}; the format knows whole numbers without sign, point or exponent: write the file again`,
      { file },
    );
  }
  return { metadata, entries: new Map(tensors.map(({ name, entry }) => [name, entry])) };
}

function parseEntry(
  tensor: string,
  value: unknown,
  dataStart: number,
  dataBytes: number,
  file: string | undefined,
): TensorEntry {
  const fail = (problem: string) => new SafetensorsError(problem, { file, tensor });
  if (!isRecord(value)) throw fail(`wanted an object with dtype, shape and data_offsets, found ${show(value)}`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) throw fail(`dtype: wanted one of ${DTYPES.join(', ')}, found ${show(dtype)}`);
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    throw fail(`shape: wanted an array of whole numbers, 0 or more, found ${show(shape)}`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw fail(`data_offsets: wanted two whole numbers, 0 or more, found ${show(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes) {
    throw fail(
      `data_offsets: wanted begin ≤ end ≤ ${dataBytes} (the file's data bytes), found [${begin}, ${end}]; the file is cut short or damaged: download or write it again`,
    );
  }
  const wanted = elementCount(shape) * DTYPE_BYTES[dtype];
  if (wanted !== end - begin) {
    throw fail(
      `shape ${show(shape)} of ${dtype} takes ${wanted} bytes, but data_offsets [${begin}, ${end}] span ${end - begin}`,
    );
  }
  return { dtype, shape, begin: dataStart + begin, end: dataStart + end };
}

function parseObject(json: Uint8Array, file: string | undefined): { value: Record<string, unknown>; text: string } {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json);
    value = JSON.parse(text);
  } catch (cause) {
    throw new SafetensorsError(
      `the header is no valid UTF-8 JSON (${(cause as Error).message}); this is no safetensors file or a damaged one`,
      { file, cause },
    );
  }
  if (!isRecord(value)) throw new SafetensorsError(`the header: wanted a JSON object, found ${show(value)}`, { file });
  // Both from the format's description; the original library refuses such a file too.
  if (text[0] !== '{') throw new SafetensorsError("the header must begin with '{'; write the file again", { file });
  if (/[^ }]$/.test(text))
    throw new SafetensorsError('the header is padded with other characters than spaces; write the file again', {
      file,
    });
  const twice = findDuplicateKey(text);
  if (twice !== undefined) {
    throw new SafetensorsError(
      `the header has the key '${twice}' twice; which one counts is not defined: write the file again`,
      {
        file,
      },
    );
  }
  return { value, text };
}

/** First number of `json` (valid JSON) that is not written with digits alone; `JSON.parse` gives `1.0` and `-0` as the whole numbers 1 and 0. */
function findOtherNumber(json: string): string | undefined {
  for (let i = 0; i < json.length; i++) {
    const c = json[i]!;
    if (c === '"') {
      for (i++; json[i] !== '"'; i++) if (json[i] === '\\') i++;
    } else if (c === '-' || (c >= '0' && c <= '9')) {
      const start = i;
      while (i + 1 < json.length && /[-+.eE0-9]/.test(json[i + 1]!)) i++;
      const number = json.slice(start, i + 1);
      if (!/^\d+$/.test(number)) return show(number, 30).slice(1, -1);
    }
  }
  return undefined;
}

/** First key that an object of `json` (valid JSON) has twice; `JSON.parse` keeps the last and says nothing. */
export function findDuplicateKey(json: string): string | undefined {
  const keysOf: (Set<string> | null)[] = [];
  for (let i = 0; i < json.length; i++) {
    const c = json[i]!;
    if (c === '{') keysOf.push(new Set());
    else if (c === '[') keysOf.push(null);
    else if (c === '}' || c === ']') keysOf.pop();
    else if (c === '"') {
      const start = i++;
      while (json[i] !== '"') i += json[i] === '\\' ? 2 : 1;
      let next = i + 1;
      while (json[next]! <= ' ') next++;
      const keys = keysOf.at(-1);
      if (!keys || json[next] !== ':') continue;
      const key = JSON.parse(json.slice(start, i + 1)) as string;
      if (keys.has(key)) return key;
      keys.add(key);
      i = next;
    }
  }
  return undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
