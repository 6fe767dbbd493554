/**
 * @file Patterns of tokenizer.json: a text, or a regular expression in Oniguruma's syntax, which the library's converter turns into
 * JavaScript's. Expressions that models are published with run on V8's matcher and are known to need time in proportion to the text; any other
 * one runs on the linear-time matcher, since one bad expression in a downloaded file must not hang a program.
 */
import { LinearRegExp } from '@spft/peft';
import { showValue } from '@spft/safetensors';
import { ModelError } from '../../errors.js';
import { SplitPreTokenizer } from './library.js';
import { asObject, refuse } from './reading.js';

export interface Pattern {
  /** Matches [begin, end) from left to right, not overlapping; none is empty. */
  matches(text: string): Iterable<readonly [number, number]>;
}

/** As published: GPT-2, Llama 3, Qwen 2, GPT-4o, DeepSeek, Falcon, and simple ones. */
const KNOWN = new Set([
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
  '[0-9][0-9][0-9]',
  '\\p{N}{1,3}',
  '\\p{N}',
  '\\s',
  ' ',
]);

const literal = (text: string): Pattern => ({
  *matches(within) {
    if (text === '') return;
    for (let at = within.indexOf(text); at >= 0; at = within.indexOf(text, at + text.length))
      yield [at, at + text.length];
  },
});

/** Matches by V8. */
export const native = (expression: RegExp): Pattern => ({
  *matches(text) {
    for (const match of text.matchAll(expression))
      if (match[0] !== '') yield [match.index, match.index + match[0].length];
  },
});

const linear = (expression: LinearRegExp): Pattern => ({
  *matches(text) {
    try {
      for (const { index, end } of expression.matchAll(text)) if (end > index) yield [index, end];
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new ModelError(`a text of ${text.length} characters cannot be split: ${cause.message}`, { cause });
    }
  },
});

/** @throws ModelError when it is no pattern, or one that cannot be matched in linear time. */
export function patternOf(value: unknown, where: string): Pattern {
  const pattern = asObject(value, where);
  if (typeof pattern.String === 'string') return literal(pattern.String);
  const source = pattern.Regex;
  if (typeof source !== 'string') return refuse(where, '{"String": …} or {"Regex": …}', value);
  try {
    const converted = new SplitPreTokenizer({
      type: 'Split',
      pattern: { Regex: source },
      behavior: 'Isolated',
      invert: false,
    }).pattern!;
    return KNOWN.has(source) ? native(converted) : linear(new LinearRegExp(converted.source));
  } catch (cause) {
    if (cause instanceof ModelError) throw cause;
    throw new ModelError(
      `tokenizer.json: ${where}: ${showValue(source, 100)} is no regular expression that can be matched here: ${(cause as Error).message.slice(0, 200)}`,
      { cause },
    );
  }
}
