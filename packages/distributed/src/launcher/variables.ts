/** @file Whole numbers out of environment variables. */
import { DistributedError } from '../errors.js';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface NumberRange {
  /** Smallest; by default 0. */
  readonly from?: number;
  /** Largest. */
  readonly to?: number;
  /** What it must be smaller than. */
  readonly below?: number;
  /** The variable that `below` is of. */
  readonly belowName?: string;
}

/**
 * @returns null where it is not set, or empty.
 * @throws DistributedError with reason `launcher` naming the variable.
 */
export function readNumber(env: Environment, name: string, range: NumberRange): number | null {
  const text = env[name]?.trim();
  if (!text) return null;
  const { from = 0, below, belowName } = range;
  const to = Math.min(range.to ?? Number.MAX_SAFE_INTEGER, below === undefined ? Number.MAX_SAFE_INTEGER : below - 1);
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= from && value <= to) return value;
  const limit = to === Number.MAX_SAFE_INTEGER ? `of at least ${from}` : `from ${from} to ${to}`;
  throw new DistributedError(
    'launcher',
    `${name}: wanted a whole number ${limit}${belowName ? ` (below ${belowName})` : ''}, found ${JSON.stringify(text.slice(0, 40))}; a launcher sets it, so start all processes by one`,
  );
}
