/** @file What is done to a text before it is split: the normalizers of the Rust library (0.23). */
import { ModelError } from '../../errors.js';
import { BYTES_TO_CHARACTERS } from './byte-level.js';
import { withoutMarks } from './combining-marks.js';
import { patternOf } from './pattern.js';
import { asArray, Fields, isSpace } from './reading.js';

export type Normalizer = (text: string) => string;

const MAX_DEPTH = 20;

/** @throws ModelError when it is none that is known here. */
export function normalizerOf(value: unknown, where = 'normalizer', depth = 0): Normalizer {
  if (value === null || value === undefined) return (text) => text;
  if (depth > MAX_DEPTH) throw new ModelError(`tokenizer.json: ${where.slice(0, 60)}…: is nested too deep`);
  const fields = new Fields(value, where);
  const made = read(fields, depth);
  fields.done();
  return made;
}

function read(fields: Fields, depth: number): Normalizer {
  const { where, type } = fields;
  switch (type) {
    case 'Sequence': {
      const parts = asArray(fields.raw('normalizers'), `${where}.normalizers`).map((part, n) =>
        normalizerOf(part, `${where}.normalizers[${n}]`, depth + 1),
      );
      return (text) => parts.reduce((t, part) => part(t), text);
    }
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return (text) => text.normalize(type);
    case 'Lowercase':
      // The library lowers character by character, so a sigma at a word's end stays one.
      return (text) => Array.from(text, (c) => c.toLowerCase()).join('');
    case 'Strip': {
      const [left, right] = [fields.boolean('strip_left', true), fields.boolean('strip_right', true)];
      return (text) => strip(text, left, right);
    }
    case 'StripAccents':
      return withoutMarks;
    case 'Prepend': {
      const prepend = fields.string('prepend');
      return (text) => (text === '' ? '' : prepend + text);
    }
    case 'Replace': {
      const [pattern, content] = [patternOf(fields.raw('pattern'), `${where}.pattern`), fields.string('content')];
      return (text) => {
        let out = '';
        let at = 0;
        for (const [begin, end] of pattern.matches(text)) {
          out += text.slice(at, begin) + content;
          at = end;
        }
        return out + text.slice(at);
      };
    }
    case 'ByteLevel':
      return (text) => Array.from(new TextEncoder().encode(text), (byte) => BYTES_TO_CHARACTERS[byte]).join('');
    default:
      throw new ModelError(
        `tokenizer.json cannot be used: Unknown Normalizer type: ${type.slice(0, 60)} (${where}); known are Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Prepend, Replace, ByteLevel`,
      );
  }
}

/** Without white space at its ends. */
export function strip(text: string, left: boolean, right: boolean): string {
  let [start, end] = [0, text.length];
  if (left) while (start < end && isSpace(text[start]!)) start++;
  if (right) while (end > start && isSpace(text[end - 1]!)) end--;
  return text.slice(start, end);
}
