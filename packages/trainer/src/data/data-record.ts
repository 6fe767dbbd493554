/**
 * @file One example of a data set, whatever form its row has: an instruction, a conversation, a prompt with its completion, or bare text;
 * and the mapping of a data set's own column names onto these.
 */
import { assertKnownOptions, nearestName, type OptionNames } from '@spft/safetensors/internals';
import { type ConversationRecord, parseConversation, parseMessages } from './conversation.js';
import { DatasetError, type RowSource } from './dataset-error.js';
import { type InstructionRecord, parseRecord, shown } from './record.js';

/** A text and what is to follow it, with nothing put around them. */
export interface CompletionRecord {
  readonly prompt: string;
  readonly completion: string;
  /** Left out where it does not fit the maximum, instead of cut. */
  readonly whole?: boolean;
  readonly source?: RowSource;
}

/** A text that is learned from its first token to its last. */
export interface TextRecord {
  readonly text: string;
  readonly source?: RowSource;
}

export type DataRecord = InstructionRecord | ConversationRecord | CompletionRecord | TextRecord;

export const isConversation = (record: DataRecord): record is ConversationRecord => 'messages' in record;
export const isCompletion = (record: DataRecord): record is CompletionRecord => 'completion' in record;
export const isText = (record: DataRecord): record is TextRecord => 'text' in record;
export const isInstruction = (record: DataRecord): record is InstructionRecord => 'instruction' in record;

/** Fields that a column may be mapped to. */
export const RECORD_FIELDS = [
  ...['instruction', 'input', 'output', 'answer', 'prompt', 'completion', 'text'],
  ...['messages', 'conversations', 'system', 'tools'],
] as const;

/** Which column of the data set stands for which field. */
export type ColumnMap = ReadonlyMap<string, string>;

/**
 * `['instruction=query', 'output=answer']` as a map from field to column.
 * @throws DatasetError naming an entry that is no such pair, or the nearest field.
 */
export function parseColumnMap(entries: readonly string[]): ColumnMap {
  const map = new Map<string, string>();
  for (const entry of entries) {
    const at = entry.indexOf('=');
    const [field, column] = [entry.slice(0, at).trim(), entry.slice(at + 1).trim()];
    if (at < 1 || column === '') {
      throw new DatasetError(`dataset_columns: wanted FIELD=COLUMN, e.g. instruction=query, found '${entry}'`);
    }
    if (!(RECORD_FIELDS as readonly string[]).includes(field)) {
      const near = nearestName(field, RECORD_FIELDS);
      throw new DatasetError(
        `dataset_columns: '${field}' is no field of a record${near === null ? '' : `; did you mean '${near}'?`} (there are ${RECORD_FIELDS.join(', ')})`,
      );
    }
    map.set(field, column);
  }
  return map;
}

export interface RecordOptions {
  /** Only these columns are read, each as the field that it is mapped to. */
  readonly columns?: ColumnMap;
  /** `dataset_text_field`: the column that holds bare text. Default `text`. */
  readonly textField?: string | null;
}

export const RECORD_OPTIONS: OptionNames<RecordOptions> = { columns: true, textField: true };

type Fields = Readonly<Record<string, unknown>>;

/**
 * A row of a training set, by the fields that it has: `messages` or `conversations`; `instruction`; `prompt` and `completion`; GSM8K's,
 * MAWPS's; else bare text.
 * @returns the problem as text where it is none of these.
 */
export function parseDataRecord(row: unknown, options: RecordOptions = {}): DataRecord | string {
  assertKnownOptions('parseDataRecord', options, RECORD_OPTIONS);
  const { columns, textField } = options;
  if (typeof row !== 'object' || row === null || Array.isArray(row)) {
    return `wanted an object {"instruction": …, "output": …}, found ${shown(row)}`;
  }
  let fields = row as Fields;
  if (columns && columns.size > 0) {
    const mapped = mapColumns(fields, columns);
    if (typeof mapped === 'string') return mapped;
    fields = mapped;
  }
  if ('messages' in fields || 'conversations' in fields) return parseConversation(fields);
  if ('instruction' in fields) return parseRecord(fields);
  if ('prompt' in fields && 'completion' in fields) return parseCompletion(fields);
  if ('question' in fields || 'original_text' in fields) return parseRecord(fields);
  const name = textField ?? 'text';
  if (name in fields) {
    const text = fields[name];
    if (typeof text !== 'string') return `wanted a string in '${name}', found ${shown(text)}`;
    return { text };
  }
  return `lacks 'instruction' and what else is read; it has ${columnNames(fields)}; wanted instruction and output, messages, conversations, prompt and completion, or text; map its columns by --dataset_columns, e.g. instruction=${Object.keys(fields)[0] ?? 'question'},output=…`;
}

function mapColumns(fields: Fields, columns: ColumnMap): Fields | string {
  const mapped: Record<string, unknown> = {};
  for (const [field, column] of columns) {
    if (!(column in fields)) {
      const near = nearestName(column, Object.keys(fields));
      return `lacks the column '${column}' (mapped to ${field})${near === null ? '' : `; did you mean '${near}'?`} it has ${columnNames(fields)}`;
    }
    mapped[field] = fields[column];
  }
  return mapped;
}

const columnNames = (fields: Fields): string =>
  Object.keys(fields)
    .slice(0, 12)
    .map((name) => `'${name}'`)
    .join(', ') || 'no column';

/** Texts, or lists of messages of which the completion's are learned (TRL's conversational form). */
function parseCompletion({ prompt, completion, tools }: Fields): CompletionRecord | ConversationRecord | string {
  if (typeof prompt === 'string' && typeof completion === 'string') return { prompt, completion };
  if (Array.isArray(prompt) && Array.isArray(completion)) {
    const before = parseMessages(prompt, 'prompt', false);
    if (typeof before === 'string') return before;
    const after = parseMessages(completion, 'completion');
    if (typeof after === 'string') return after;
    return parseConversation({ messages: [...before, ...after].map(asRow), tools });
  }
  return `wanted two strings or two lists of messages in 'prompt' and 'completion', found ${shown(prompt)} and ${shown(completion)}`;
}

/** A parsed message as a row's: what is not learned says so. */
const asRow = ({ learned, ...message }: { readonly learned?: boolean }) =>
  learned === false ? { ...message, train: false } : message;
