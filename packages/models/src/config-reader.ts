/** @file Reads keys of a JSON object and collects what is wrong with them, so that all is said at once. */
import { showValue } from '@spft/safetensors';

export type Json = Readonly<Record<string, unknown>>;

export const isJson = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reads keys and collects what is wrong with them, so that all is said at once. */
export class Reader {
  readonly problems: string[] = [];

  constructor(
    private readonly json: Json,
    private readonly path = '',
  ) {}

  value(key: string): unknown {
    return this.json[key];
  }

  number(key: string, fallback: number | undefined, wanted: string, holds: (n: number) => boolean): number {
    const value = this.json[key] ?? fallback;
    if (typeof value === 'number' && holds(value)) return value;
    this.problems.push(`${this.path}${key}: wanted ${wanted}, found ${showValue(value)}`);
    return Number.NaN;
  }

  count(key: string, fallback?: number): number {
    return this.number(key, fallback, 'a whole number above 0', (n) => Number.isSafeInteger(n) && n > 0);
  }

  positive(key: string, fallback?: number): number {
    return this.number(key, fallback, 'a number above 0', (n) => Number.isFinite(n) && n > 0);
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.json[key] ?? fallback;
    if (typeof value === 'boolean') return value;
    this.problems.push(`${this.path}${key}: wanted true or false, found ${showValue(value)}`);
    return fallback;
  }

  /** Ids of a key that may be null, one id or several. */
  tokenIds(key: string, fallback: readonly number[]): readonly number[] {
    const value = this.json[key];
    if (value === undefined) return fallback;
    if (value === null) return [];
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    if (ids.every((id) => Number.isSafeInteger(id))) {
      // Some configs say -1 for "none".
      return (ids as number[]).filter((id) => id >= 0);
    }
    this.problems.push(`${this.path}${key}: wanted a token id, a list of them or null, found ${showValue(value)}`);
    return fallback;
  }
}
