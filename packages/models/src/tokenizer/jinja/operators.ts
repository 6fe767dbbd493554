/** @file Python's arithmetic: whole numbers without bounds (but for those that would fill the memory), floats beside them. */

import { percentFormat } from './number-format.js';
import {
  asNumber,
  bounded,
  fail,
  isNumber,
  List,
  MAX_RANGE,
  MAX_TEXT,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from './values.js';

/** Bits of the largest power. */
const MAX_BITS = 2 ** 16;

export function binary(operator: string, left: Value, right: Value): Value {
  for (const value of [left, right]) if (value instanceof Undefined) fail(value.message);
  if (operator === '%' && typeof left === 'string') return percentFormat(left, right);
  if (isNumber(left) && isNumber(right)) return arithmetic(operator, asNumber(left), asNumber(right));
  if (operator === '+') {
    if (typeof left === 'string' && typeof right === 'string') return bounded(left + right);
    if (left instanceof List && right instanceof List && left.typeName === right.typeName) {
      const items = [...left.items, ...right.items];
      if (items.length > 10 * MAX_RANGE) fail('a list too long');
      return left instanceof Tuple ? new Tuple(items) : new List(items);
    }
    if (typeof left === 'string') return fail(`can only concatenate str (not "${typeName(right)}") to str`);
  }
  if (operator === '*') {
    for (const [a, b] of [
      [left, right],
      [right, left],
    ] as const) {
      if (!(typeof b === 'bigint' || typeof b === 'boolean')) continue;
      const times = Math.max(0, Number(b));
      if (typeof a === 'string') {
        return a.length * times > MAX_TEXT ? fail('a text too long') : a.repeat(a === '' ? 0 : times);
      }
      if (a instanceof List) {
        if (a.items.length * times > 10 * MAX_RANGE) fail('a list too long');
        const items = Array.from({ length: a.items.length === 0 ? 0 : times }, () => a.items).flat();
        return a instanceof Tuple ? new Tuple(items) : new List(items);
      }
    }
  }
  const shown = operator === '**' ? '** or pow()' : operator;
  return fail(`unsupported operand type(s) for ${shown}: '${typeName(left)}' and '${typeName(right)}'`);
}

/** `left % right` of numbers. */
export function modulo(left: Value, right: Value): Value {
  return binary('%', left, right);
}

function arithmetic(operator: string, a: bigint | number, b: bigint | number): Value {
  if (typeof a === 'bigint' && typeof b === 'bigint') {
    switch (operator) {
      case '+':
        return a + b;
      case '-':
        return a - b;
      case '*':
        return bits(a) + bits(b) > MAX_BITS ? fail('a number too large') : a * b;
      case '/':
        return b === 0n ? fail('division by zero') : Number(a) / Number(b);
      case '//': {
        if (b === 0n) return fail('integer division or modulo by zero');
        const quotient = a / b;
        return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient;
      }
      case '%': {
        if (b === 0n) return fail('integer modulo by zero');
        const rest = a % b;
        return rest !== 0n && rest < 0n !== b < 0n ? rest + b : rest;
      }
      default:
        if (b < 0n) return power(Number(a), Number(b));
        if (bits(a) * Number(b) > MAX_BITS) return fail('a number too large');
        return a ** b;
    }
  }
  const [x, y] = [Number(a), Number(b)];
  switch (operator) {
    case '+':
      return x + y;
    case '-':
      return x - y;
    case '*':
      return x * y;
    case '/':
      return y === 0 ? fail('float division by zero') : x / y;
    case '//':
      return y === 0 ? fail('float floor division by zero') : Math.floor(x / y);
    case '%': {
      if (y === 0) return fail('float modulo');
      const rest = x % y;
      return rest !== 0 && rest < 0 !== y < 0 ? rest + y : rest;
    }
    default:
      return power(x, y);
  }
}

function power(x: number, y: number): number {
  if (x === 0 && y < 0) fail('0.0 cannot be raised to a negative power');
  const result = x ** y;
  if (Number.isNaN(result) && !Number.isNaN(x) && !Number.isNaN(y)) fail('complex numbers are not supported here');
  if (!Number.isFinite(result) && Number.isFinite(x) && Number.isFinite(y))
    fail("(34, 'Numerical result out of range')");
  return result;
}

const bits = (n: bigint) => (n < 0n ? -n : n).toString(16).length * 4;

export function negative(value: Value): Value {
  if (value instanceof Undefined) return fail(value.message);
  if (!isNumber(value)) return fail(`bad operand type for unary -: '${typeName(value)}'`);
  return -asNumber(value);
}

export function positive(value: Value): Value {
  if (value instanceof Undefined) return fail(value.message);
  return isNumber(value) ? asNumber(value) : fail(`bad operand type for unary +: '${typeName(value)}'`);
}
