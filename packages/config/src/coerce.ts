/**
 * @file The spellings that a value may have, brought to the one that the schema describes: `a,b` for a list, `a=1,b=2` for one of pairs, which files may give as an object, `none` for null, and for
 * flags, which are all strings, numbers and booleans. What cannot be read is left as it is, for validation to report.
 */
import type { KeySpec } from './key-table.js';

/** A flag's value as a command line gives it: a string, or `true` for a flag without one. Programs may pass typed values. */
export type FlagValue = string | number | boolean | null | readonly string[];

/** Each digit can be matched in one way only, so that a long string which is no number is refused in linear time. */
const NUMBER = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i;
const YES = /^(true|t|yes|y|on|1)$/i;
const NO = /^(false|f|no|n|off|0)$/i;

/** A value of a file. */
export function readFileValue(spec: KeySpec<unknown>, value: unknown): unknown {
  if (spec.switchable && /^(true|false)$/i.test(String(value))) return /^t/i.test(String(value)) ? 'true' : null;
  if (spec.nullable && typeof value === 'string' && /^(none|null)$/i.test(value)) return null;
  if (spec.type === 'list' && typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return Object.entries(value).map(([name, one]) => `${name}=${one}`);
  }
  if (spec.type === 'list' && typeof value === 'string') {
    // transformers takes an object as JSON on the command line.
    const inside = /^\s*\{(.*)\}\s*$/s.exec(value)?.[1]?.replaceAll('"', '').replaceAll(':', '=').replaceAll(' ', '');
    return (inside ?? value)
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');
  }
  return value;
}

/** A value of a flag; booleans in all the spellings that upstream's argument parser takes. */
export function readFlagValue(spec: KeySpec<unknown>, value: FlagValue): unknown {
  const plain = readFileValue(spec, value);
  if (typeof plain !== 'string') return plain;
  const isNumeric = spec.type === 'number' || spec.type === 'integer';
  if (isNumeric && NUMBER.test(plain)) return Number(plain);
  if (spec.type === 'boolean' && YES.test(plain)) return true;
  if (spec.type === 'boolean' && NO.test(plain)) return false;
  return plain;
}
