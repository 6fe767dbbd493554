/**
 * @file One example of a dataset, and the row formats that it is read from: upstream's own (LLM-Adapters' `instruction`, `input`, `output`,
 * `answer`), GSM8K's and MAWPS's.
 */
import { shortJson } from '@spft/config';
import type { RowSource } from './dataset-error.js';

/** An instruction and what a model should answer. */
export interface InstructionRecord {
  readonly instruction: string;
  /** Further context of the instruction; '' for none. */
  readonly input: string;
  /** The whole answer, reasoning included. */
  readonly output: string;
  /** The bare result, e.g. `72` or `answer3`, where the dataset gives it. */
  readonly answer?: string;
  /** Where the record was read from. */
  readonly source?: RowSource;
}

type Row = Readonly<Record<string, unknown>>;

/**
 * A row as a record, with the text to learn (`output`) or with the bare result to compare with (`answer`), whichever is needed.
 *
 * - `{instruction, input?, output, answer?}`: as it is; a number as `answer` becomes its text.
 * - GSM8K, `{question, answer}` with the result after `####`: the calculator annotations `<<48/2=24>>`, which are no text, are taken out.
 * - MAWPS, `{original_text, equation, ans}`: the output is the equation, then `The answer is ….`
 * @returns the problem as text when the row is of none of these.
 */
export function parseRecord(row: unknown, needed: 'output' | 'answer' = 'output'): InstructionRecord | string {
  if (typeof row !== 'object' || row === null || Array.isArray(row)) {
    return `wanted an object {"instruction": …, "${needed}": …}, found ${shown(row)}`;
  }
  const fields = row as Row;
  if (!('instruction' in fields)) {
    if ('question' in fields) return parseGsm8k(fields);
    if ('original_text' in fields) return parseMawps(fields);
  }
  const problem =
    wantText(fields, 'instruction') ??
    wantOptional(fields, 'input', ['string']) ??
    (needed === 'output' ? wantText(fields, 'output') : wantOptional(fields, 'output', ['string'])) ??
    wantOptional(fields, 'answer', ['string', 'number']) ??
    (needed === 'answer' && fields.answer == null ? missing(fields, 'answer', 'a string or a number') : undefined);
  if (problem !== undefined) return problem;
  const { instruction, input, output, answer } = fields as { [field: string]: string };
  return {
    instruction: instruction!,
    input: input ?? '',
    output: output ?? '',
    ...(answer == null ? {} : { answer: String(answer) }),
  };
}

function parseGsm8k(fields: Row): InstructionRecord | string {
  const problem = wantText(fields, 'question') ?? wantText(fields, 'answer');
  if (problem) return problem;
  const { question, answer } = fields as { question: string; answer: string };
  const result = afterMarker(answer);
  if (result === undefined) return `wanted the result after '####' in 'answer', found ${shown(answer)}`;
  return {
    instruction: question,
    input: '',
    output: answer.replace(/<<[^<>]*>>/g, ''),
    answer: result.replaceAll(',', ''),
  };
}

/** What stands on the last line after the first `####` of it, or after one that ends the text above. One pass, whatever the text is. */
function afterMarker(answer: string): string | undefined {
  const text = answer.trimEnd();
  let lineStart = text.length;
  while (lineStart > 0 && !LINE_ENDS.has(text.charCodeAt(lineStart - 1))) lineStart--;
  const line = text.slice(lineStart);
  if (text.slice(0, lineStart).trimEnd().endsWith(MARKER)) return line.trimStart();
  const marker = line.indexOf(MARKER);
  return marker < 0 ? undefined : line.slice(marker + MARKER.length).trimStart() || undefined;
}

const MARKER = '####';
const LINE_ENDS = new Set([0x0a, 0x0d, 0x2028, 0x2029]);

function parseMawps(fields: Row): InstructionRecord | string {
  const problem = wantText(fields, 'original_text') ?? wantText(fields, 'equation');
  if (problem) return problem;
  const { original_text: question, equation, ans } = fields;
  if (typeof ans !== 'number' && typeof ans !== 'string') return missing(fields, 'ans', 'a number');
  return {
    instruction: question as string,
    input: '',
    output: `${equation}\nThe answer is ${ans}.`,
    answer: String(ans),
  };
}

/** Which text of a record is trained on: the whole output, the bare answer, or as upstream does for the dataset it is of. */
export type ResponseField = 'auto' | 'output' | 'answer';

/**
 * The text that a model learns to respond with. `auto`: the bare answer where the output says nothing more (`the correct answer is answer1`,
 * all rows of commonsense_170k, where upstream's `generate_prompt_csr170k` takes it), else the output (`generate_prompt_math10k`).
 * @throws RangeError when `answer` is asked for and the record has none.
 */
export function responseOf(record: InstructionRecord, field: ResponseField = 'auto'): string {
  const { output, answer } = record;
  if (field === 'answer' && answer === undefined) {
    throw new RangeError(`responseOf: the record has no answer to respond with; choose 'output' or 'auto'`);
  }
  if (
    field === 'answer' ||
    (field === 'auto' && answer !== undefined && output === `the correct answer is ${answer}`)
  ) {
    return answer!;
  }
  return output;
}

function wantText(fields: Row, field: string): string | undefined {
  return typeof fields[field] === 'string' ? undefined : missing(fields, field, 'a string');
}

function wantOptional(fields: Row, field: string, types: readonly string[]): string | undefined {
  const value = fields[field];
  return value == null || types.includes(typeof value)
    ? undefined
    : missing(fields, field, types.map((t) => `a ${t}`).join(' or '));
}

function missing(fields: Row, field: string, wanted: string): string {
  if (field in fields) return `wanted ${wanted} in '${field}', found ${shown(fields[field])}`;
  const names = Object.keys(fields).slice(0, 12);
  return `lacks '${field}' (${wanted}); it has ${names.map((n) => `'${n}'`).join(', ') || 'no field'}`;
}

/** A value, short enough for a message. */
export function shown(value: unknown): string {
  return shortJson(value);
}
