/** @file Arguments of filters, tests, methods and functions by Python's rules. */
import { type Call, fail, type Value } from './values.js';

/**
 * The arguments of a call by the names of parameters.
 * @param parameters names in order; those with `?` may be left out.
 */
export function bind<const Names extends readonly string[]>(
  name: string,
  { args, named }: Call,
  parameters: Names,
): { [K in Names[number] as K extends `${infer N}?` ? N : never]?: Value } & {
  [K in Names[number] as K extends `${string}?` ? never : K]: Value;
} {
  const found: Record<string, Value> = {};
  if (args.length > parameters.length) {
    fail(`${name}() takes at most ${parameters.length} arguments (${args.length} given)`);
  }
  const plain = parameters.map((parameter) => parameter.replace('?', ''));
  args.forEach((value, n) => {
    found[plain[n]!] = value;
  });
  for (const [key, value] of named) {
    if (!plain.includes(key)) fail(`${name}() got an unexpected keyword argument '${key}'`);
    if (key in found) fail(`${name}() got multiple values for argument '${key}'`);
    found[key] = value;
  }
  for (const parameter of parameters) {
    if (!parameter.endsWith('?') && !(parameter in found)) fail(`${name}() missing required argument: '${parameter}'`);
  }
  return found as never;
}

/** An int that fits, for counts and widths. */
export function toInt(value: Value | undefined, fallback: number): number {
  if (value === undefined) return fallback;
  if (typeof value === 'boolean') return Number(value);
  if (typeof value !== 'bigint') return fail(`an integer is required, got ${value === null ? 'None' : typeof value}`);
  const number = Number(value);
  return Math.max(-(2 ** 53), Math.min(2 ** 53, number));
}

export function toStr(value: Value | undefined, fallback: string): string {
  if (value === undefined) return fallback;
  return typeof value === 'string' ? value : fail('a string is required');
}
