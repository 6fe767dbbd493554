/**
 * @file The entries of a zip archive as `torch.save` writes it: stored, never compressed, so that each is a range of the file. Read from the central
 * directory at the end (APPNOTE 6.3, sections 4.3.7, 4.3.12 to 4.3.16), with every number checked against the file before it is used.
 */
import { SafetensorsError } from '../errors.js';
import type { ByteSource } from '../file.js';

/** Bytes [begin, end) of the file. */
export interface ZipEntry {
  readonly begin: number;
  readonly end: number;
  readonly crc32: number;
}

const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const END_BYTES = 22;
const LOCATOR_BYTES = 20;
const END_64_BYTES = 56;
const CENTRAL_BYTES = 46;
const LOCAL_BYTES = 30;
/** A comment at the end may be so long. */
const MOST_COMMENT = 0xffff;
/** Of predictors and of whole models alike; a directory of entries beyond it is an attack. */
const MOST_DIRECTORY_BYTES = 2 ** 26;
const IN_64 = 0xffffffff;

/** Whether a file begins as a zip archive does. */
export const isZip = (bytes: Uint8Array): boolean =>
  bytes.length >= 4 && new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) === LOCAL;

/**
 * Entries by name; directories are left out.
 * @throws SafetensorsError when the archive is cut short, contradicts itself, or has compressed or encrypted entries.
 */
export async function zipEntries(source: ByteSource): Promise<Map<string, ZipEntry>> {
  const fail = (problem: string): never => {
    throw new SafetensorsError(problem, { file: source.name });
  };
  const view = async (begin: number, length: number, what: string) => {
    if (!(Number.isSafeInteger(begin) && begin >= 0 && begin + length <= source.size)) {
      fail(
        `is cut short or damaged: ${what} would be bytes [${begin}, ${begin + length}) of ${source.size}; copy it again`,
      );
    }
    const bytes = await source.read(begin, begin + length);
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };

  const tail = Math.min(source.size, END_BYTES + MOST_COMMENT);
  const last = await view(source.size - tail, tail, 'its end');
  let at = tail - END_BYTES;
  while (at >= 0 && !(last.getUint32(at, true) === END && at + END_BYTES + last.getUint16(at + 20, true) === tail))
    at--;
  if (at < 0)
    fail('is cut short or damaged: it has no directory at its end, as what torch.save writes has; copy it again');
  let [count, size, offset] = [
    last.getUint16(at + 10, true),
    last.getUint32(at + 12, true),
    last.getUint32(at + 16, true),
  ];
  let directoryEnd = source.size - tail + at;
  if (at >= LOCATOR_BYTES && last.getUint32(at - LOCATOR_BYTES, true) === LOCATOR_64) {
    const end64 = Number(last.getBigUint64(at - LOCATOR_BYTES + 8, true));
    const record = await view(end64, END_64_BYTES, 'the end of its directory');
    if (record.getUint32(0, true) !== END_64)
      fail('is damaged: the end of its directory is not where it says; copy it again');
    [count, size, offset] = [24 + 8, 40, 48].map((place) => Number(record.getBigUint64(place, true))) as [
      number,
      number,
      number,
    ];
    directoryEnd = end64;
  }
  if (size > MOST_DIRECTORY_BYTES || offset + size > directoryEnd || count > size / CENTRAL_BYTES) {
    fail(`is damaged: its directory of ${count} entries in ${size} bytes at ${offset} does not fit; copy it again`);
  }

  const directory = await view(offset, size, 'its directory');
  const names = new TextDecoder('utf-8', { fatal: true });
  const entries = new Map<string, ZipEntry>();
  let next = 0;
  for (let n = 0; n < count; n++) {
    if (next + CENTRAL_BYTES > size || directory.getUint32(next, true) !== CENTRAL) {
      fail(`is damaged: entry ${n} of its directory is none; copy it again`);
    }
    const [flags, method] = [directory.getUint16(next + 8, true), directory.getUint16(next + 10, true)];
    const crc32 = directory.getUint32(next + 16, true);
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((place) =>
      directory.getUint16(next + place, true),
    ) as [number, number, number];
    const after = next + CENTRAL_BYTES + nameBytes + extraBytes + commentBytes;
    if (after > size) fail(`is damaged: entry ${n} of its directory reaches beyond it; copy it again`);
    const name =
      decoded(names, new Uint8Array(directory.buffer, directory.byteOffset + next + CENTRAL_BYTES, nameBytes)) ??
      fail(`is damaged: entry ${n} of its directory has no readable name; copy it again`);
    let [packed, unpacked, local] = [20, 24, 42].map((place) => directory.getUint32(next + place, true)) as [
      number,
      number,
      number,
    ];
    const extra = new DataView(directory.buffer, directory.byteOffset + next + CENTRAL_BYTES + nameBytes, extraBytes);
    const wide = wideNumbers(extra, [unpacked, packed, local]);
    if (wide === null) fail(`is damaged: '${name}' lacks its 64-bit sizes; copy it again`);
    else [unpacked, packed, local] = wide;
    next = after;
    if (name.endsWith('/')) continue;
    if (method !== 0 || packed !== unpacked)
      fail(`'${name}' in it is compressed, which torch.save never does; save it again with torch.save`);
    if ((flags & 1) !== 0) fail(`'${name}' in it is encrypted; save it again with torch.save`);
    if (entries.has(name)) fail(`has '${name}' twice; which one counts is not defined: save it again with torch.save`);
    const header = await view(local, LOCAL_BYTES, `'${name}'`);
    if (header.getUint32(0, true) !== LOCAL)
      fail(`is damaged: '${name}' is not where its directory says; copy it again`);
    const begin = local + LOCAL_BYTES + header.getUint16(26, true) + header.getUint16(28, true);
    const end = begin + unpacked;
    if (!(end <= offset))
      fail(
        `is cut short or damaged: '${name}' would be bytes [${begin}, ${end}), its directory begins at ${offset}; copy it again`,
      );
    entries.set(name, { begin, end, crc32 });
  }
  return entries;
}

function decoded(decoder: TextDecoder, bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

/** The numbers, those that do not fit in 32 bits from the extra field (section 4.5.3), where they stand in this order; null where it lacks one. */
function wideNumbers(extra: DataView, numbers: [number, number, number]): [number, number, number] | null {
  if (!numbers.includes(IN_64)) return numbers;
  for (let at = 0; at + 4 <= extra.byteLength; ) {
    const [id, length] = [extra.getUint16(at, true), extra.getUint16(at + 2, true)];
    const [begin, end] = [at + 4, at + 4 + length];
    if (end > extra.byteLength) return null;
    if (id === 1) {
      let place = begin;
      const wide = numbers.map((number) => {
        if (number !== IN_64) return number;
        if (place + 8 > end) return Number.NaN;
        place += 8;
        return Number(extra.getBigUint64(place - 8, true));
      });
      return wide.every(Number.isSafeInteger) ? (wide as [number, number, number]) : null;
    }
    at = end;
  }
  return null;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

/** CRC-32 as zip has it. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
