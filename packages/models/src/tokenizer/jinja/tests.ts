/** @file jinja2's tests: what stands behind `is`. */

import { modulo } from './operators.js';
import * as text from './text.js';
import {
  compare,
  Dict,
  Func,
  fail,
  Instance,
  Iterable,
  isEqual,
  isNumber,
  iterate,
  List,
  str,
  typeName,
  Undefined,
  type Value,
} from './values.js'; // prettier-ignore

type Test = (value: Value, args: readonly Value[]) => boolean;

const rest = (value: Value, by: Value): Value => modulo(value, by);
const order =
  (operator: string, holds: (order: number) => boolean): Test =>
  (value, [other]) =>
    holds(compare(value, other!, operator));

export const TESTS: Readonly<Record<string, Test>> = {
  boolean: (value) => typeof value === 'boolean',
  callable: (value) => value instanceof Func || (value instanceof Instance && value.call !== undefined),
  defined: (value) => !(value instanceof Undefined),
  divisibleby: (value, [by]) => isEqual(rest(value, by!), 0n),
  eq: (value, [other]) => isEqual(value, other!),
  escaped: () => false,
  even: (value) => isEqual(rest(value, 2n), 0n),
  false: (value) => value === false,
  filter: (value) => typeof value === 'string' && FILTER_NAMES.has(value),
  float: (value) => typeof value === 'number',
  ge: order('>=', (n) => n >= 0),
  gt: order('>', (n) => n > 0),
  in: (value, [container]) => contains(container!, value),
  integer: (value) => typeof value === 'bigint',
  iterable: (value) =>
    typeof value === 'string' ||
    value instanceof List ||
    value instanceof Dict ||
    value instanceof Iterable ||
    value instanceof Undefined,
  le: order('<=', (n) => n <= 0),
  lower: (value) => text.isLower(str(value)),
  lt: order('<', (n) => n < 0),
  mapping: (value) => value instanceof Dict,
  ne: (value, [other]) => !isEqual(value, other!),
  none: (value) => value === null,
  number: (value) => isNumber(value),
  odd: (value) => isEqual(rest(value, 2n), 1n),
  sameas: (value, [other]) => Object.is(value, other),
  sequence: (value) =>
    typeof value === 'string' ||
    value instanceof List ||
    value instanceof Dict ||
    (value instanceof Iterable && value.typeName === 'range') ||
    value instanceof Undefined,
  string: (value) => typeof value === 'string',
  test: (value) => typeof value === 'string' && Object.hasOwn(TESTS, value),
  true: (value) => value === true,
  undefined: (value) => value instanceof Undefined,
  upper: (value) => text.isUpper(str(value)),
  get '=='() {
    return this.eq!;
  },
  get equalto() {
    return this.eq!;
  },
  get '!='() {
    return this.ne!;
  },
  get '>='() {
    return this.ge!;
  },
  get '>'() {
    return this.gt!;
  },
  get greaterthan() {
    return this.gt!;
  },
  get '<='() {
    return this.le!;
  },
  get '<'() {
    return this.lt!;
  },
  get lessthan() {
    return this.lt!;
  },
}; // prettier-ignore

/** Filled by filters.ts, which knows the names. */
export const FILTER_NAMES = new Set<string>();

/** `value in container`. */
export function contains(container: Value, value: Value): boolean {
  if (typeof container === 'string') {
    if (typeof value === 'string') return container.includes(value);
    if (value instanceof Undefined) return fail(value.message);
    return fail(`'in <string>' requires string as left operand, not ${typeName(value)}`);
  }
  if (container instanceof Dict) return container.has(value);
  if (container instanceof Undefined || container instanceof List || container instanceof Iterable) {
    return iterate(container).some((item) => isEqual(item, value));
  }
  return fail(`nothing can be in a value of type '${typeName(container)}'`);
}

/** The test `name`. */
export function testOf(name: string): Test {
  return Object.hasOwn(TESTS, name) ? TESTS[name]! : fail(`No test named '${name}'.`);
}
