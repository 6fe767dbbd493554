/**
 * @file llama.cpp's names for the ways in which byte-level vocabularies cut a text (`tokenizer.ggml.pre`), and tokenizer.json's pre-tokenizers that do
 * the same. llama.cpp has the expressions in its code (`llm_tokenizer_bpe` of llama-vocab.cpp), a file only names them.
 */
import { showValue } from '@spft/safetensors';

export interface PreTokenizer {
  /** llama.cpp's name, as it is written. */
  readonly name: string;
  /** Other names for the same. */
  readonly aliases: readonly string[];
  /** tokenizer.json's `pre_tokenizer`. */
  readonly json: unknown;
  /** Pieces that are tokens as a whole are taken whole. */
  readonly ignoreMerges: boolean;
  /** What llama.cpp does where the file does not say it. */
  readonly addsBos: boolean;
}

const byteLevel = (usesRegex: boolean) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: usesRegex,
});
const split = (expression: string) => ({
  type: 'Sequence',
  pretokenizers: [
    { type: 'Split', pattern: { Regex: expression }, behavior: 'Isolated', invert: false },
    byteLevel(false),
  ],
});
const WORDS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|";
const REST = '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const THREE_DIGITS = split(`${WORDS}\\p{N}{1,3}${REST}`);
const ONE_DIGIT = split(`${WORDS}\\p{N}${REST}`);
const DIGITS_AND_GPT2 = {
  type: 'Sequence',
  pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel(true)],
};

const table = (
  name: string,
  aliases: readonly string[],
  json: unknown,
  rest: Partial<PreTokenizer> = {},
): PreTokenizer => ({
  ...{ name, aliases, json, ignoreMerges: false, addsBos: false },
  ...rest,
});

const PRE_TOKENIZERS: readonly PreTokenizer[] = [
  table('llama-bpe', ['llama3', 'llama-v3'], THREE_DIGITS, { ignoreMerges: true, addsBos: true }),
  table('smaug-bpe', ['dbrx'], THREE_DIGITS),
  table('qwen2', ['stablelm2'], ONE_DIGIT),
  table('smollm', ['starcoder', 'refact', 'command-r', 'codeshell'], DIGITS_AND_GPT2),
  table('gpt-2', ['phi-2'], byteLevel(true)),
];

export const preTokenizerNamed = (name: string): PreTokenizer | undefined =>
  PRE_TOKENIZERS.find((one) => one.name === name || one.aliases.includes(name));

export const PRE_TOKENIZER_NAMES = PRE_TOKENIZERS.flatMap(({ name, aliases }) => [name, ...aliases]).join(', ');

/** The one that does what a tokenizer.json says; undefined where llama.cpp is not known to have it. */
export function preTokenizerOfJson(json: unknown, ignoreMerges: boolean): PreTokenizer | undefined {
  const found = canonical(json);
  return PRE_TOKENIZERS.find((one) => canonical(one.json) === found && one.ignoreMerges === ignoreMerges);
}

/** A text that is the same for all that do the same: a sequence of one is its part, defaults are said, and offsets do not matter. */
function canonical(value: unknown): string {
  const part = (value ?? {}) as Record<string, unknown>;
  switch (part.type) {
    case 'Sequence': {
      const parts = Array.isArray(part.pretokenizers) ? part.pretokenizers : [];
      return parts.map(canonical).join(' then ');
    }
    case 'ByteLevel':
      return `bytes ${part.add_prefix_space ?? true} ${part.use_regex ?? true}`;
    case 'Digits':
      return `digits ${part.individual_digits ?? false}`;
    case 'Split': {
      const pattern = (part.pattern ?? {}) as Record<string, unknown>;
      return `split ${JSON.stringify(pattern.Regex ?? null)} ${part.behavior} ${part.invert ?? false}`;
    }
    default:
      return showValue(value, 200);
  }
}
