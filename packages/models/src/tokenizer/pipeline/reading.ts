/** @file Reading the parts of tokenizer.json: every field has its type, and what is not known is refused by name. */
import { showValue } from '@spft/safetensors';
import { ModelError } from '../../errors.js';

export type Json = Readonly<Record<string, unknown>>;

export function refuse(where: string, wanted: string, found: unknown): never {
  throw new ModelError(`tokenizer.json: ${where}: wanted ${wanted}, found ${showValue(found)}`);
}

export function asObject(value: unknown, where: string): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : refuse(where, 'an object', value);
}

export function asArray(value: unknown, where: string): readonly unknown[] {
  return Array.isArray(value) ? value : refuse(where, 'an array', value);
}

/** Ids are kept in 32 bits. */
export const isTokenId = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31;

/** Fields of one part, each read once; `done` refuses the rest. */
export class Fields {
  readonly #json: Json;
  readonly #read = new Set(['type']);

  constructor(
    value: unknown,
    readonly where: string,
  ) {
    this.#json = asObject(value, where);
  }

  get type(): string {
    const { type } = this.#json;
    return typeof type === 'string' ? type : refuse(`${this.where}.type`, 'a string', type);
  }

  raw(key: string): unknown {
    this.#read.add(key);
    return this.#json[key];
  }

  string(key: string, fallback?: string): string {
    const value = this.raw(key) ?? fallback;
    return typeof value === 'string' ? value : refuse(`${this.where}.${key}`, 'a string', value);
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.raw(key) ?? fallback;
    return typeof value === 'boolean' ? value : refuse(`${this.where}.${key}`, 'true or false', value);
  }

  count(key: string, fallback?: number): number {
    const value = this.raw(key) ?? fallback;
    if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
    return refuse(`${this.where}.${key}`, 'a whole number, 0 or more', value);
  }

  oneOf<const T extends string>(key: string, values: readonly T[], fallback?: T): T {
    const value = this.raw(key) ?? fallback;
    const found = values.find((v) => v === value);
    return found ?? refuse(`${this.where}.${key}`, values.map((v) => `'${v}'`).join(', '), value);
  }

  list(key: string): readonly unknown[] {
    return asArray(this.raw(key), `${this.where}.${key}`);
  }

  /** @throws ModelError when there is a field that nothing read: it would say something that is not heeded. */
  done(): void {
    const unknown = Object.keys(this.#json).find((key) => !this.#read.has(key));
    if (unknown !== undefined) {
      throw new ModelError(
        `tokenizer.json: ${this.where}.${unknown.slice(0, 60)}: is not known for '${String(this.#json.type).slice(0, 40)}', so it cannot be heeded here`,
      );
    }
  }
}

/** `\w` of Rust's regex crate. */
export const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]';

/** `char::is_whitespace`. */
export const isSpace = (c: string): boolean => /^\p{White_Space}$/u.test(c);
