/**
 * @file The rows of a JSON array, a JSONL file, or either compressed by gzip, each with the line on which it begins, so that an error can
 * point at it. A row that is no valid JSON does not end the reading, as long as it is clear where the next one begins.
 */
import { constants } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { arrayElements } from '../../data/array-elements.js';
import { DatasetError } from '../../data/dataset-error.js';
import { parsed, type Row } from '../../data/row.js';

export type { Row } from '../../data/row.js';

/**
 * Reads a file row by row: a JSON array where the first character is `[` and the name does not end in `.jsonl`, else a row a line, empty
 * lines left out.
 * @throws DatasetError when the file cannot be read, is no text in UTF-8, or is an array that is broken between its elements.
 */
export async function* readRows(path: string): AsyncGenerator<Row> {
  const isJsonl = /\.jsonl(\.gz)?$/i.test(path);
  const chunks = textOf(path);
  const head = new Gathered(path);
  let first = await chunks.next();
  while (!first.done && first.value.trim() === '') {
    head.add(first.value);
    first = await chunks.next();
  }
  if (first.done) return;
  head.add(first.value);
  if (!isJsonl && first.value.trimStart().startsWith('[')) {
    for await (const chunk of chunks) head.add(chunk);
    yield* arrayElements(head.take(), path);
  } else {
    yield* lines(head, chunks);
  }
}

/** Pieces of a text, joined once and not at each piece; what no string can hold is refused before it is held in memory. */
class Gathered {
  #parts: string[] = [];
  #length = 0;

  constructor(readonly path: string) {}

  /** @throws DatasetError when the whole is longer than a string may be. */
  add(part: string): void {
    this.#length += part.length;
    if (this.#length > constants.MAX_STRING_LENGTH) {
      throw new DatasetError(
        `${this.path}: holds more than ${constants.MAX_STRING_LENGTH} characters in one line or one JSON array, which is too large; ` +
          'write it as JSONL, one object a line',
        { file: this.path },
      );
    }
    this.#parts.push(part);
  }

  /** The whole; nothing is left. */
  take(): string {
    const whole = this.#parts.join('');
    this.#parts = [];
    this.#length = 0;
    return whole;
  }
}

/** Text packs to a tenth, records that repeat much to a fiftieth; a gzip bomb to a thousandth. */
const MAX_RATIO = 250;
/** Bytes of which nothing is asked. */
const FREE_BYTES = 2 ** 26;

/** The text of a file in pieces, decompressed where its first bytes are gzip's. */
export async function* textOf(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    const gunzip = (await isGzip(path)) ? createGunzip() : null;
    const file = createReadStream(path);
    const bytes: AsyncIterable<Uint8Array> = gunzip ?? file;
    // A failure of the file reaches the reader through the stream that it reads.
    const piped = gunzip ? pipeline(file, gunzip).catch(() => {}) : null;
    let unpacked = 0;
    for await (const chunk of bytes) {
      unpacked += chunk.length;
      if (gunzip && unpacked > FREE_BYTES && unpacked > MAX_RATIO * file.bytesRead) {
        file.destroy();
        throw new DatasetError(
          `${path}: ${file.bytesRead} bytes of gzip hold more than ${unpacked}: no text packs so well, so this is damaged or made to harm; unpack it and look`,
          { file: path },
        );
      }
      yield decoder.decode(chunk, { stream: true });
    }
    await piped;
    yield decoder.decode();
  } catch (cause) {
    if (cause instanceof DatasetError) throw cause;
    throw new DatasetError(`${path}: ${readProblem(cause as NodeJS.ErrnoException)}`, { file: path, cause });
  }
}

async function isGzip(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { bytesRead, buffer } = await file.read(new Uint8Array(2), 0, 2, 0);
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
  } finally {
    await file.close();
  }
}

function readProblem({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return 'there is no such file; check the path';
  if (code === 'EISDIR') return 'is a directory; give a JSON or JSONL file';
  if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return 'is no text in UTF-8; convert it, or download it again';
  if (code?.startsWith('Z_')) return `is damaged gzip (${message}); download it again`;
  return `cannot be read: ${message}`;
}

/** Split at line feeds alone: other separators, which Node's readline honours, may stand in JSON strings. */
async function* lines(head: Gathered, chunks: AsyncIterable<string>): AsyncGenerator<Row> {
  let line = 0;
  const rest = head;
  const row = (text: string): Row | null => {
    line += 1;
    return text.trim() === '' ? null : { line, ...parsed(text) };
  };
  /** Only the new piece is searched: what is gathered has no line feed. */
  function* complete(chunk: string): Generator<Row> {
    let start = 0;
    for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n', start)) {
      rest.add(chunk.slice(start, end));
      const next = row(rest.take());
      if (next !== null) yield next;
      start = end + 1;
    }
    rest.add(chunk.slice(start));
  }
  yield* complete(head.take());
  for await (const chunk of chunks) yield* complete(chunk);
  const last = row(rest.take());
  if (last !== null) yield last;
}
