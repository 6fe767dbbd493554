/**
 * @file A table of config keys: what a key accepts, its default and its meaning, in one row. Types, JSON Schemas and `--help` are derived
 * from such tables, so that they cannot disagree.
 */

/** Bounds of a number, as in JSON Schema. */
export interface Range {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
}

export type KeyType = 'boolean' | 'integer' | 'number' | 'string' | 'list';

/** What a key accepts, without default and meaning. `T` exists for the type checker alone. */
export interface KeyShape<T> {
  readonly type: KeyType;
  /** Of a number or integer. */
  readonly range?: Range;
  /** The strings that are allowed; for a list, in it. Absent: any. */
  readonly values?: readonly string[];
  /** Regular expression that a string must match. */
  readonly pattern?: string;
  /** Of a string: `true` is read as the string "true" and `false` as null. */
  readonly switchable?: boolean;
  readonly phantom?: T;
}

/** Of a string that may be anything but empty: as a path an empty one would be the working directory. */
export const TEXT_PATTERN = '\\S';

/** One row of a table. */
export interface KeySpec<T> extends KeyShape<T> {
  readonly default: T;
  /** One line, as `--help` shows it. */
  readonly description: string;
  /** Whether `null` ("not given") is a value; the string `none` then means it too. */
  readonly nullable: boolean;
}

export type KeyTable = Readonly<Record<string, KeySpec<unknown>>>;

/** The config object that a table describes. */
export type ValuesOf<Table extends KeyTable> = {
  readonly [K in keyof Table]: Table[K] extends KeySpec<infer T> ? T : never;
};

export function boolean(): KeyShape<boolean>;
export function boolean(value: boolean, description: string): KeySpec<boolean>;
export function boolean(value?: boolean, description?: string): KeyShape<boolean> | KeySpec<boolean> {
  return row({ type: 'boolean' }, value, description);
}

export function integer(range?: Range): KeyShape<number>;
export function integer(value: number, description: string, range?: Range): KeySpec<number>;
export function integer(first?: number | Range, description?: string, range?: Range) {
  return numeric('integer', first, description, range);
}

export function number(range?: Range): KeyShape<number>;
export function number(value: number, description: string, range?: Range): KeySpec<number>;
export function number(first?: number | Range, description?: string, range?: Range) {
  return numeric('number', first, description, range);
}

export function text(): KeyShape<string>;
export function text(value: string, description: string): KeySpec<string>;
export function text(value?: string, description?: string): KeyShape<string> | KeySpec<string> {
  return row({ type: 'string', pattern: TEXT_PATTERN }, value, description);
}

/** A string for which `true` may stand: "the usual one". */
export function switchable(): KeyShape<string> {
  return { type: 'string', switchable: true, pattern: TEXT_PATTERN };
}

/** One of a fixed set of strings, where none may be given. */
export const oneOf = <const V extends string>(values: readonly V[]): KeyShape<V> => ({ type: 'string', values });

/** One of a fixed set of strings. */
export function choice<const V extends string>(
  values: readonly V[],
  value: NoInfer<V>,
  description: string,
): KeySpec<V> {
  return { type: 'string', values, default: value, description, nullable: false };
}

/** Several strings; files and flags may give them as one string joined by commas, as upstream's do. */
export function list(
  value: readonly string[],
  description: string,
  values?: readonly string[],
): KeySpec<readonly string[]> {
  return { type: 'list', values, default: value, description, nullable: false };
}

/** Adds `null`, "not given", to what a shape accepts. */
export function optional<T>(shape: KeyShape<T>, value: T | null, description: string): KeySpec<T | null> {
  return { ...shape, default: value, description, nullable: true };
}

function numeric(type: 'integer' | 'number', first?: number | Range, description?: string, range?: Range) {
  return typeof first === 'number'
    ? row<number>({ type, range }, first, description)
    : row<number>({ type, range: first }, undefined, undefined);
}

function row<T>(shape: KeyShape<T>, value: T | undefined, description: string | undefined): KeyShape<T> | KeySpec<T> {
  return value === undefined || description === undefined
    ? shape
    : { ...shape, default: value, description, nullable: false };
}

/** `learningRate` → `learning_rate`. */
export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** `learning_rate` or `learning-rate` → `learningRate`; `bnb_4bit_quant_type` → `bnb_4bitQuantType`, as a digit has no capital. */
export function camelCase(name: string): string {
  return name.replace(/[_-]([a-z])/g, (_, letter: string) => letter.toUpperCase()).replace(/-(?=\d)/g, '_');
}
