/**
 * @file The rows of a JSON array, a JSONL file, or either compressed by gzip, each with the line on which it begins, so that an error can
 * point at it. A row that is no valid JSON does not end the reading, as long as it is clear where the next one begins.
 */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { DatasetError } from '../../data/dataset-error.js';

/** A row, or why it is none. */
export interface Row {
  readonly line: number;
  readonly value?: unknown;
  readonly problem?: string;
}

/**
 * Reads a file row by row: a JSON array where the first character is `[` and the name does not end in `.jsonl`, else a row a line, empty
 * lines left out.
 * @throws DatasetError when the file cannot be read, is no text in UTF-8, or is an array that is broken between its elements.
 */
export async function* readRows(path: string): AsyncGenerator<Row> {
  const isJsonl = /\.jsonl(\.gz)?$/i.test(path);
  const chunks = textOf(path);
  let head = '';
  while (head.trim() === '') {
    const next = await chunks.next();
    if (next.done) return;
    head += next.value;
  }
  if (!isJsonl && head.trimStart().startsWith('[')) {
    const parts = [head];
    for await (const chunk of chunks) parts.push(chunk);
    yield* arrayElements(joined(parts, path), path);
  } else {
    yield* lines(head, chunks);
  }
}

function joined(parts: readonly string[], path: string): string {
  try {
    return parts.join('');
  } catch (cause) {
    throw new DatasetError(`${path}: is too large for one JSON array; write it as JSONL, one object a line`, {
      file: path,
      cause,
    });
  }
}

/** The text of a file in pieces, decompressed where its first bytes are gzip's. */
async function* textOf(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    const gunzip = (await isGzip(path)) ? createGunzip() : null;
    const file = createReadStream(path);
    const bytes: AsyncIterable<Uint8Array> = gunzip ?? file;
    // A failure of the file reaches the reader through the stream that it reads.
    const piped = gunzip ? pipeline(file, gunzip).catch(() => {}) : null;
    for await (const chunk of bytes) yield decoder.decode(chunk, { stream: true });
    await piped;
    yield decoder.decode();
  } catch (cause) {
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
async function* lines(head: string, chunks: AsyncIterable<string>): AsyncGenerator<Row> {
  let line = 0;
  let rest = head;
  const row = (text: string): Row | null => {
    line++;
    return text.trim() === '' ? null : { line, ...parsed(text) };
  };
  function* complete(): Generator<Row> {
    let start = 0;
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', start)) {
      const next = row(rest.slice(start, end));
      if (next !== null) yield next;
      start = end + 1;
    }
    rest = rest.slice(start);
  }
  yield* complete();
  for await (const chunk of chunks) {
    rest += chunk;
    yield* complete();
  }
  const last = row(rest);
  if (last !== null) yield last;
}

/** The elements of an array, found by their brackets and quotes before they are parsed. */
function* arrayElements(text: string, path: string): Generator<Row> {
  let position = 0;
  let line = 1;
  const broken = (problem: string) =>
    new DatasetError(`${path}:${line}: ${problem}; mend the array, or download it again`, { file: path, line });
  /** To the next character that is no blank, counting lines. */
  const skipBlanks = () => {
    for (; ; position++) {
      const c = text.charCodeAt(position);
      if (c === LF) line++;
      else if (c !== SPACE && c !== TAB && c !== CR) return;
    }
  };
  skipBlanks();
  position++;
  skipBlanks();
  if (text[position] === ']') position++;
  else {
    for (;;) {
      const end = elementEnd(text, position);
      if (end === position) throw broken(`wanted an element, found ${found(text, position)}`);
      const element = text.slice(position, end);
      yield { line, ...parsed(element) };
      for (let i = element.indexOf('\n'); i >= 0; i = element.indexOf('\n', i + 1)) line++;
      position = end;
      skipBlanks();
      const separator = text[position++];
      if (separator === ']') break;
      if (separator !== ',') throw broken(`wanted ',' or ']' after an element, found ${found(text, position - 1)}`);
      skipBlanks();
    }
  }
  skipBlanks();
  if (position < text.length) throw broken(`wanted nothing after the array, found ${found(text, position)}`);
}

const [TAB, LF, CR, SPACE, QUOTE, COMMA, BACKSLASH] = [9, 10, 13, 32, 34, 44, 92];
const [OPEN, CLOSE, OPEN_BRACE, CLOSE_BRACE] = [91, 93, 123, 125];

/** Where the element that begins at `start` ends: after its last bracket, or before the comma, bracket or blank that follows a bare value. */
function elementEnd(text: string, start: number): number {
  let depth = 0;
  for (let i = start; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === QUOTE) {
      i = stringEnd(text, i);
      if (depth === 0) return Math.min(i + 1, text.length);
    } else if (c === OPEN || c === OPEN_BRACE) depth++;
    else if (c === CLOSE || c === CLOSE_BRACE) {
      if (depth === 0) return i;
      if (--depth === 0) return i + 1;
    } else if (depth === 0 && (c === COMMA || c === LF || c === CR || c === SPACE || c === TAB)) return i;
  }
  return text.length;
}

/** The closing quote of the string that opens at `start`. */
function stringEnd(text: string, start: number): number {
  for (let i = start + 1; ; i++) {
    i = text.indexOf('"', i);
    if (i < 0) return text.length;
    let slashes = 0;
    while (text.charCodeAt(i - 1 - slashes) === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return i;
  }
}

function found(text: string, position: number): string {
  return position >= text.length ? 'the end of the file' : `'${text.slice(position, position + 20).split('\n')[0]}'`;
}

function parsed(text: string): { value: unknown } | { problem: string } {
  try {
    return { value: JSON.parse(text) };
  } catch (cause) {
    return { problem: `is no valid JSON (${(cause as Error).message.slice(0, 120)})` };
  }
}
