/**
 * @file The elements of a JSON array, found by their brackets and quotes before any of them is parsed, so that one that is no valid JSON does
 * not end the reading.
 *
 * The scanners are functions of a text and a position, and no position is moved inside another expression: V8's Maglev of Node 26 was seen to
 * read `text[position++]` in a generator from the wrong place, with a variable that closures share.
 */
import { DatasetError } from './dataset-error.js';
import { parsed, type Row } from './row.js';

const [TAB, LF, CR, SPACE, QUOTE, COMMA, BACKSLASH] = [9, 10, 13, 32, 34, 44, 92];
const [OPEN, CLOSE, OPEN_BRACE, CLOSE_BRACE] = [91, 93, 123, 125];

/**
 * The elements of the array that a text is, as rows.
 * @param text begins with `[`, after blanks.
 * @throws DatasetError where the array is broken between its elements.
 */
export function* arrayElements(text: string, path: string): Generator<Row> {
  const lines = new LineCounter(text);
  let position = afterBlanks(text, afterBlanks(text, 0) + 1);
  let closed = text.charCodeAt(position) === CLOSE;
  if (closed) position += 1;
  while (!closed) {
    const line = lines.at(position);
    const end = elementEnd(text, position);
    if (end === position) throw broken(path, line, `wanted an element, found ${found(text, position)}`);
    yield { line, ...parsed(text.slice(position, end)) };
    const next = afterBlanks(text, end);
    const separator = text.charCodeAt(next);
    closed = separator === CLOSE;
    if (!closed && separator !== COMMA) {
      throw broken(path, lines.at(next), `wanted ',' or ']' after an element, found ${found(text, next)}`);
    }
    position = next + 1;
    if (!closed) position = afterBlanks(text, position);
  }
  const next = afterBlanks(text, position);
  if (next < text.length) {
    throw broken(path, lines.at(next), `wanted nothing after the array, found ${found(text, next)}`);
  }
}

/** The line of a position, for positions that only grow: each line feed is looked for once, also where a whole file is one line. */
class LineCounter {
  #line = 1;
  #feed: number;

  constructor(private readonly text: string) {
    this.#feed = text.indexOf('\n');
  }

  at(position: number): number {
    while (this.#feed >= 0 && this.#feed < position) {
      this.#line += 1;
      this.#feed = this.text.indexOf('\n', this.#feed + 1);
    }
    return this.#line;
  }
}

function broken(path: string, line: number, problem: string): DatasetError {
  return new DatasetError(`${path}:${line}: ${problem}; mend the array, or download it again`, { file: path, line });
}

/** The first position from `start` on that holds no blank. */
function afterBlanks(text: string, start: number): number {
  for (let i = start; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    if (c !== SPACE && c !== LF && c !== CR && c !== TAB) return i;
  }
  return text.length;
}

/** Where the element that begins at `start` ends: after its last bracket, or before the comma, bracket or blank that follows a bare value. */
function elementEnd(text: string, start: number): number {
  let depth = 0;
  for (let i = start; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    if (c === QUOTE) {
      i = stringEnd(text, i);
      if (depth === 0) return Math.min(i + 1, text.length);
    } else if (c === OPEN || c === OPEN_BRACE) depth += 1;
    else if (c === CLOSE || c === CLOSE_BRACE) {
      if (depth === 0) return i;
      depth -= 1;
      if (depth === 0) return i + 1;
    } else if (depth === 0 && (c === COMMA || c === LF || c === CR || c === SPACE || c === TAB)) return i;
  }
  return text.length;
}

/** The closing quote of the string that opens at `start`. */
function stringEnd(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  while (end >= 0) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return end;
    end = text.indexOf('"', end + 1);
  }
  return text.length;
}

function found(text: string, position: number): string {
  return position >= text.length ? 'the end of the file' : `'${text.slice(position, position + 20).split('\n')[0]}'`;
}
