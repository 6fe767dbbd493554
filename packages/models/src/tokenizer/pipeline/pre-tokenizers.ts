/** @file Where a text is cut before the model sees it: the pre-tokenizers of the Rust library (0.23). */
import { ModelError } from '../../errors.js';
import { BYTES_TO_CHARACTERS } from './byte-level.js';
import { native, type Pattern, patternOf } from './pattern.js';
import { asArray, Fields, WORD } from './reading.js';

/** @param isStart whether the piece begins the whole text. */
export type PreTokenizer = (pieces: readonly Piece[]) => Piece[];

export interface Piece {
  readonly text: string;
  /** Whether it begins where the text that was given to the tokenizer begins. */
  readonly isStart: boolean;
}

const BEHAVIORS = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const;
type Behavior = (typeof BEHAVIORS)[number];

const MAX_DEPTH = 20;
const GPT2 = native(
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu,
);
const SPACE = native(/\p{White_Space}/gu);
const WORDS = native(new RegExp(`${WORD}+|(?:(?!${WORD})\\P{White_Space})+`, 'gu'));
const PUNCTUATION = native(/[\p{P}!-/:-@[-`{-~]/gu);
const NUMBER = native(/\p{N}/gu);

/** @throws ModelError when it is none that is known here. */
export function preTokenizerOf(value: unknown, where = 'pre_tokenizer', depth = 0): PreTokenizer {
  if (value === null || value === undefined) return (pieces) => [...pieces];
  if (depth > MAX_DEPTH) throw new ModelError(`tokenizer.json: ${where.slice(0, 60)}…: is nested too deep`);
  const fields = new Fields(value, where);
  const made = read(fields, depth);
  fields.done();
  return made;
}

function read(fields: Fields, depth: number): PreTokenizer {
  const { where, type } = fields;
  switch (type) {
    case 'Sequence': {
      const parts = asArray(fields.raw('pretokenizers'), `${where}.pretokenizers`).map((part, n) =>
        preTokenizerOf(part, `${where}.pretokenizers[${n}]`, depth + 1),
      );
      return (pieces) => parts.reduce((p: readonly Piece[], part) => part(p), pieces) as Piece[];
    }
    case 'Split': {
      const pattern = patternOf(fields.raw('pattern'), `${where}.pattern`);
      return splitter(pattern, fields.oneOf('behavior', BEHAVIORS), fields.boolean('invert', false));
    }
    case 'ByteLevel': {
      const [prefix, usesRegex] = [fields.boolean('add_prefix_space', true), fields.boolean('use_regex', true)];
      fields.boolean('trim_offsets', true);
      const split = usesRegex ? splitter(GPT2, 'Isolated', false) : null;
      return (pieces) => {
        const prefixed = prefix
          ? pieces.map((p) => (p.text.startsWith(' ') ? p : { ...p, text: ` ${p.text}` }))
          : pieces;
        const encoder = new TextEncoder();
        return (split ? split(prefixed) : prefixed).map((p) => ({
          ...p,
          text: Array.from(encoder.encode(p.text), (byte) => BYTES_TO_CHARACTERS[byte]).join(''),
        }));
      };
    }
    case 'Metaspace': {
      const replacement = fields.string('replacement', '▁');
      if (Array.from(replacement).length !== 1)
        throw new ModelError(`tokenizer.json: ${where}.replacement: wanted one character`);
      const old = fields.raw('add_prefix_space');
      const scheme = fields.oneOf('prepend_scheme', ['always', 'first', 'never'], old === false ? 'never' : 'always');
      const split = fields.boolean('split', true) ? splitter(literal(replacement), 'MergedWithNext', false) : null;
      return (pieces) => {
        const spaced = pieces.map((p) => {
          const text = p.text.replaceAll(' ', replacement);
          const isFirst = scheme === 'always' || (scheme === 'first' && p.isStart);
          return { ...p, text: isFirst && !text.startsWith(replacement) ? replacement + text : text };
        });
        return split ? split(spaced) : spaced;
      };
    }
    case 'Digits':
      return splitter(NUMBER, fields.boolean('individual_digits', false) ? 'Isolated' : 'Contiguous', false);
    case 'Punctuation':
      return splitter(PUNCTUATION, fields.oneOf('behavior', BEHAVIORS, 'Isolated'), false);
    case 'Whitespace':
      return splitter(WORDS, 'Removed', true);
    case 'WhitespaceSplit':
      return splitter(SPACE, 'Removed', false);
    case 'BertPreTokenizer': {
      const [spaces, marks] = [splitter(SPACE, 'Removed', false), splitter(PUNCTUATION, 'Isolated', false)];
      return (pieces) => marks(spaces(pieces));
    }
    case 'CharDelimiterSplit':
      return splitter(literal(fields.string('delimiter')), 'Removed', false);
    default:
      throw new ModelError(
        `tokenizer.json cannot be used: Unknown PreTokenizer type: ${type.slice(0, 60)} (${where}); known are Sequence, Split, ByteLevel, Metaspace, Digits, Punctuation, Whitespace, WhitespaceSplit, BertPreTokenizer, CharDelimiterSplit`,
      );
  }
}

const literal = (text: string) => patternOf({ String: text }, 'pattern');

interface Part {
  readonly begin: number;
  readonly end: number;
  readonly isMatch: boolean;
}

function splitter(pattern: Pattern, behavior: Behavior, invert: boolean): PreTokenizer {
  return (pieces) =>
    pieces.flatMap(({ text, isStart }) =>
      arrange(partsOf(text, pattern, invert), behavior)
        .filter(({ begin, end }) => end > begin)
        .map(({ begin, end }) => ({ text: text.slice(begin, end), isStart: isStart && begin === 0 })),
    );
}

function partsOf(text: string, pattern: Pattern, invert: boolean): Part[] {
  const parts: Part[] = [];
  let at = 0;
  for (const [begin, end] of pattern.matches(text)) {
    if (begin > at) parts.push({ begin: at, end: begin, isMatch: invert });
    parts.push({ begin, end, isMatch: !invert });
    at = end;
  }
  if (at < text.length) parts.push({ begin: at, end: text.length, isMatch: invert });
  return parts;
}

function arrange(parts: readonly Part[], behavior: Behavior): { begin: number; end: number }[] {
  switch (behavior) {
    case 'Isolated':
      return [...parts];
    case 'Removed':
      return parts.filter((part) => !part.isMatch);
    case 'Contiguous': {
      const out: { begin: number; end: number; isMatch: boolean }[] = [];
      for (const part of parts) {
        const last = out.at(-1);
        if (last && last.isMatch === part.isMatch) last.end = part.end;
        else out.push({ ...part });
      }
      return out;
    }
    case 'MergedWithPrevious': {
      const out: { begin: number; end: number }[] = [];
      let previous = false;
      for (const { begin, end, isMatch } of parts) {
        const last = out.at(-1);
        if (isMatch && !previous && last) last.end = end;
        else out.push({ begin, end });
        previous = isMatch;
      }
      return out;
    }
    case 'MergedWithNext': {
      const out: { begin: number; end: number }[] = [];
      let previous = false;
      for (const { begin, end, isMatch } of [...parts].reverse()) {
        const last = out.at(-1);
        if (isMatch && !previous && last) last.begin = begin;
        else out.push({ begin, end });
        previous = isMatch;
      }
      return out.reverse();
    }
  }
}
