/** @file How tokens become a text again: the decoders of the Rust library (0.23). */
import { ModelError } from '../../errors.js';
import { bytesOfToken, lossyText } from './byte-level.js';
import { patternOf } from './pattern.js';
import { asArray, Fields } from './reading.js';

/** Tokens to texts that are joined without anything between them. */
export type Decoder = (tokens: readonly string[]) => string[];

const MAX_DEPTH = 20;

/** Null where there is none: tokens are then joined with blanks. @throws ModelError when it is none that is known here. */
export function decoderOf(value: unknown, where = 'decoder', depth = 0): Decoder | null {
  if (value === null || value === undefined) return null;
  if (depth > MAX_DEPTH) throw new ModelError(`tokenizer.json: ${where.slice(0, 60)}…: is nested too deep`);
  const fields = new Fields(value, where);
  const made = read(fields, depth);
  fields.done();
  return made;
}

function read(fields: Fields, depth: number): Decoder {
  const { where, type } = fields;
  switch (type) {
    case 'Sequence': {
      const parts = asArray(fields.raw('decoders'), `${where}.decoders`).map(
        (part, n) =>
          decoderOf(part, `${where}.decoders[${n}]`, depth + 1) ?? ((tokens: readonly string[]) => [...tokens]),
      );
      return (tokens) => parts.reduce((t: readonly string[], part) => part(t), tokens) as string[];
    }
    case 'ByteLevel':
      for (const key of ['add_prefix_space', 'trim_offsets', 'use_regex']) fields.boolean(key, true);
      return (tokens) => [lossyText(tokens.flatMap(bytesOfToken))];
    case 'ByteFallback':
      return byteFallback;
    case 'Fuse':
      return (tokens) => [tokens.join('')];
    case 'Strip': {
      const [content, start, stop] = [fields.string('content'), fields.count('start'), fields.count('stop')];
      return (tokens) => tokens.map((token) => cut(token, content, start, stop));
    }
    case 'Replace': {
      const [pattern, content] = [patternOf(fields.raw('pattern'), `${where}.pattern`), fields.string('content')];
      return (tokens) =>
        tokens.map((token) => {
          let out = '';
          let at = 0;
          for (const [begin, end] of pattern.matches(token)) {
            out += token.slice(at, begin) + content;
            at = end;
          }
          return out + token.slice(at);
        });
    }
    case 'Metaspace': {
      const replacement = fields.string('replacement', '▁');
      const old = fields.raw('add_prefix_space');
      const scheme = fields.oneOf('prepend_scheme', ['always', 'first', 'never'], old === false ? 'never' : 'always');
      fields.boolean('split', true);
      return (tokens) =>
        tokens.map((token, n) => token.replaceAll(replacement, n === 0 && scheme !== 'never' ? '' : ' '));
    }
    case 'BPEDecoder': {
      const suffix = fields.string('suffix', '</w>');
      return (tokens) => tokens.map((token, n) => token.replaceAll(suffix, n === tokens.length - 1 ? '' : ' '));
    }
    default:
      throw new ModelError(
        `tokenizer.json cannot be used: Unknown Decoder type: ${type.slice(0, 60)} (${where}); known are Sequence, ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace, BPEDecoder`,
      );
  }
}

/** `<0x41>` and its like are bytes; a run of them that is no UTF-8 becomes one U+FFFD for each. */
function byteFallback(tokens: readonly string[]): string[] {
  const out: string[] = [];
  let bytes: number[] = [];
  const flush = () => {
    if (bytes.length === 0) return;
    try {
      out.push(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes)));
    } catch {
      out.push(...bytes.map(() => '\ufffd'));
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9a-fA-F]{2})>$/.exec(token)?.[1];
    if (byte !== undefined) bytes.push(Number.parseInt(byte, 16));
    else {
      flush();
      out.push(token);
    }
  }
  flush();
  return out;
}

function cut(token: string, content: string, start: number, stop: number): string {
  const points = Array.from(token);
  let [begin, end] = [0, points.length];
  while (begin < Math.min(start, points.length) && points[begin] === content) begin++;
  for (let n = 0; n < stop && end > 0 && points[end - 1] === content; n++) end--;
  return points.slice(begin, Math.max(begin, end)).join('');
}
