/** @file What Python's `str` does that JavaScript's strings do otherwise: by code points, with Python's white space. */
import { bounded, fail, MAX_TEXT } from './values.js';

/** Characters of which `str.isspace` is true. */
const SPACE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: among Python's white space are control characters.
  /^[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]$/;
export const isSpace = (c: string): boolean => SPACE.test(c);

/** `strip`, `lstrip` and `rstrip`: white space, or any of `characters`. */
export function strip(text: string, characters: string | null, left: boolean, right: boolean): string {
  const set = characters === null ? null : new Set(characters);
  const isOut = (c: string) => (set === null ? isSpace(c) : set.has(c));
  let [start, end] = [0, text.length];
  while (left && start < end) {
    const c = String.fromCodePoint(text.codePointAt(start)!);
    if (!isOut(c)) break;
    start += c.length;
  }
  while (right && end > start) {
    const isPair = end - start > 1 && text.codePointAt(end - 2)! > 0xffff;
    const c = text.slice(isPair ? end - 2 : end - 1, end);
    if (!isOut(c)) break;
    end -= c.length;
  }
  return text.slice(start, end);
}

/** `split` and `rsplit` at white space or at a separator, at most `limit` times (−1: as often as there are). */
export function split(text: string, separator: string | null, limit: number, fromRight = false): string[] {
  if (separator === '') fail('empty separator');
  if (separator === null) return splitSpace(text, limit, fromRight);
  const parts = text.split(separator);
  if (limit < 0 || parts.length - 1 <= limit) return parts;
  return fromRight
    ? [parts.slice(0, parts.length - limit).join(separator), ...parts.slice(parts.length - limit)]
    : [...parts.slice(0, limit), parts.slice(limit).join(separator)];
}

function splitSpace(text: string, limit: number, fromRight: boolean): string[] {
  const all = Array.from(text);
  if (fromRight) all.reverse();
  const parts: string[][] = [];
  let at = 0;
  for (;;) {
    while (at < all.length && isSpace(all[at]!)) at++;
    if (at >= all.length) break;
    if (limit >= 0 && parts.length === limit) {
      let end = all.length;
      while (end > at && isSpace(all[end - 1]!)) end--;
      parts.push(all.slice(at, end));
      // The rest keeps white space at its far end where it is split from the left.
      if (!fromRight) parts[parts.length - 1] = all.slice(at);
      else parts[parts.length - 1] = all.slice(at);
      break;
    }
    const start = at;
    while (at < all.length && !isSpace(all[at]!)) at++;
    parts.push(all.slice(start, at));
  }
  const texts = parts.map((part) => (fromRight ? part.reverse() : part).join(''));
  return fromRight ? texts.reverse() : texts;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: among Python's line ends are control characters.
const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;

export function splitLines(text: string, keepEnds: boolean): string[] {
  const lines: string[] = [];
  let start = 0;
  for (const { 0: end, index } of text.matchAll(LINE_END)) {
    lines.push(text.slice(start, keepEnds ? index + end.length : index));
    start = index + end.length;
  }
  if (start < text.length) lines.push(text.slice(start));
  return lines;
}

export function replace(text: string, from: string, to: string, count: number): string {
  if (count === 0) return text;
  const size = Array.from(text).length;
  if (from === '') {
    const all = Array.from(text);
    const times = count < 0 ? size + 1 : Math.min(count, size + 1);
    if (text.length + times * to.length > MAX_TEXT) fail('a text too long');
    return all.map((c, n) => (n < times ? to + c : c)).join('') + (times > size ? to : '');
  }
  const parts = text.split(from);
  const times = count < 0 ? parts.length - 1 : Math.min(count, parts.length - 1);
  if (text.length + times * (to.length - from.length) > MAX_TEXT) fail('a text too long');
  if (times === parts.length - 1) return parts.join(to);
  return [...parts.slice(0, times), parts.slice(times).join(from)].join(to);
}

/** `capitalize`: the first character in title case, the rest in small letters. */
export function capitalize(text: string): string {
  const [first = '', ...rest] = Array.from(text);
  return first.toUpperCase() + rest.join('').toLowerCase();
}

const isCased = (c: string) => c.toLowerCase() !== c.toUpperCase();

/** `str.title`: every letter that follows no letter in capitals, the others small. */
export function title(text: string): string {
  let inWord = false;
  let out = '';
  for (const c of text) {
    out += inWord ? c.toLowerCase() : c.toUpperCase();
    inWord = isCased(c);
  }
  return out;
}

export function isTitle(text: string): boolean {
  return [...text].some(isCased) && title(text) === text;
}

export function swapCase(text: string): string {
  return Array.from(text, (c) => (c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase())).join('');
}

export const isUpper = (text: string): boolean => text === text.toUpperCase() && [...text].some(isCased);
export const isLower = (text: string): boolean => text === text.toLowerCase() && [...text].some(isCased);

/** Text of `width` code points. */
export function justify(text: string, width: number, fill: string, where: 'left' | 'right' | 'center'): string {
  if (Array.from(fill).length !== 1) fail('The fill character must be exactly one character long');
  if (width > MAX_TEXT) fail('a text of too many characters');
  const missing = width - Array.from(text).length;
  if (missing <= 0) return text;
  if (where === 'left') return bounded(text + fill.repeat(missing));
  if (where === 'right') return bounded(fill.repeat(missing) + text);
  // As CPython rounds: the odd one goes to the left where the width is odd too.
  const left = Math.floor(missing / 2) + (missing & width & 1);
  return bounded(fill.repeat(left) + text + fill.repeat(missing - left));
}

/** Position of `part` in code points, within [start, end) of the text. */
export function find(text: string, part: string, start: number, end: number, last: boolean): number {
  const all = Array.from(text);
  const [from, to] = [clamp(start, all.length), clamp(end, all.length)];
  if (from > to) return -1;
  const within = all.slice(from, to).join('');
  const at = last ? within.lastIndexOf(part) : within.indexOf(part);
  return at < 0 ? -1 : from + Array.from(within.slice(0, at)).length;
}

const clamp = (n: number, length: number) => Math.max(0, Math.min(length, n < 0 ? n + length : n));

export function count(text: string, part: string, start: number, end: number): number {
  const all = Array.from(text);
  const within = all.slice(clamp(start, all.length), clamp(end, all.length)).join('');
  return part === '' ? Array.from(within).length + 1 : within.split(part).length - 1;
}
