/**
 * @file An example of a GLUE task, from whatever row it comes in, and its tokens: the tokenizer's encoding of one text or of a pair (for
 * Llama each with its own beginning), cut longest first.
 */
import type { Tokenizer } from '@spft/models';
import { floatLabel } from '@spft/models';
import { IGNORED_LABEL, type Sample } from '../batch/samples.js';
import type { RowSource } from '../data/dataset-error.js';
import { shown } from '../data/record.js';
import type { GlueTask } from './tasks.js';

export interface GlueExample {
  readonly texts: readonly string[];
  /** Class number or score; null for a test row without one. */
  readonly label: number | null;
  readonly source?: RowSource;
}

type Fields = Readonly<Record<string, unknown>>;

/** A row with the task's columns and `label`: a number, or the name of a class. @returns the problem as text. */
export function parseGlueRow(task: GlueTask, row: unknown): GlueExample | string {
  if (typeof row !== 'object' || row === null) return `wanted an object, found ${shown(row)}`;
  const fields = row as Fields;
  const there = () =>
    Object.keys(fields)
      .slice(0, 12)
      .map((name) => `'${name}'`)
      .join(', ');
  const texts: string[] = [];
  for (const column of task.columns) {
    if (!(column in fields)) return `lacks the column '${column}' of ${task.name}; it has ${there()}`;
    const text = fields[column];
    if (typeof text !== 'string') return `wanted a string in '${column}', found ${shown(text)}`;
    texts.push(text);
  }
  if (!('label' in fields)) return `lacks the column 'label'; it has ${there()}`;
  const label = parseLabel(task, fields.label);
  return typeof label === 'string' ? label : { texts, label };
}

function parseLabel(task: GlueTask, label: unknown): number | null | string {
  if (label === null || label === -1 || label === '-1') return null;
  const value =
    typeof label === 'number' ? label : typeof label === 'string' && label.trim() !== '' ? Number(label) : Number.NaN;
  if (task.classes.length === 0) {
    if (Number.isFinite(value)) return value;
    return `wanted a score as label of ${task.name}, found ${shown(label)}`;
  }
  const named = typeof label === 'string' ? task.classes.indexOf(label) : -1;
  if (named >= 0) return named;
  if (Number.isInteger(value) && value >= 0 && value < task.classes.length) return value;
  return `wanted as label of ${task.name} a number below ${task.classes.length} or one of ${task.classes.join(', ')}, found ${shown(label)}`;
}

/**
 * Ids of an example, with the label at the last token, where a classifier reads it.
 * @param maxLength of the pair with its special tokens; the longer text loses its end first.
 */
export function glueSample(
  tokenizer: Pick<Tokenizer, 'encode'>,
  { texts, label }: GlueExample,
  task: GlueTask,
  maxLength: number,
): Sample {
  const parts = texts.map((text) => tokenizer.encode(text));
  // What the tokenizer puts around a text stays when the text is cut.
  const special = parts.map((ids, n) => ids.length - tokenizer.encode(texts[n]!, { addSpecialTokens: false }).length);
  for (let length = parts.reduce((sum, ids) => sum + ids.length, 0); length > maxLength; length--) {
    const longest = parts.length === 2 && parts[1]!.length - special[1]! > parts[0]!.length - special[0]! ? 1 : 0;
    parts[longest]!.pop();
  }
  const inputIds = parts.flat();
  const labels: number[] = new Array(inputIds.length).fill(IGNORED_LABEL);
  if (label !== null && inputIds.length > 0)
    labels[inputIds.length - 1] = task.classes.length === 0 ? floatLabel(label) : label;
  return { inputIds, labels };
}
