/**
 * @file Python's values as templates see them: int is a bigint, float a number, str a string, None null; the rest are classes here. And what
 * Python does with all of them: truth, equality, order, `str` and `repr`.
 */

export class TemplateError extends Error {
  override readonly name = 'TemplateError';
}

export type Value = null | boolean | bigint | number | string | Obj;

/** Everything that is no plain value. */
export abstract class Obj {
  /** What Python calls the type. */
  abstract readonly typeName: string;
}

export class List extends Obj {
  readonly typeName: string = 'list';
  constructor(readonly items: readonly Value[]) {
    super();
  }
}

export class Tuple extends List {
  override readonly typeName = 'tuple';
}

/** `dict.keys()` and the like, a generator or a range: iterable, of its own look. */
export class Iterable extends Obj {
  constructor(
    readonly typeName: string,
    readonly items: readonly Value[],
    /** What `str` gives; null where a view shows its items. */
    readonly text: string | null = null,
  ) {
    super();
  }
}

export class Dict extends Obj {
  readonly typeName = 'dict';
  readonly #entries = new Map<unknown, readonly [Value, Value]>();

  constructor(entries: Iterable_<readonly [Value, Value]> = []) {
    super();
    for (const [key, value] of entries) this.set(key, value);
  }
  get size(): number {
    return this.#entries.size;
  }
  get(key: Value): Value | undefined {
    return this.#entries.get(hashOf(key))?.[1];
  }
  has(key: Value): boolean {
    return this.#entries.has(hashOf(key));
  }
  set(key: Value, value: Value): void {
    const hash = hashOf(key);
    this.#entries.set(hash, [this.#entries.get(hash)?.[0] ?? key, value]);
  }
  entries(): (readonly [Value, Value])[] {
    return [...this.#entries.values()];
  }
  keys(): Value[] {
    return this.entries().map(([key]) => key);
  }
  values(): Value[] {
    return this.entries().map(([, value]) => value);
  }
}
type Iterable_<T> = globalThis.Iterable<T>;

export class Undefined extends Obj {
  readonly typeName = 'Undefined';
  constructor(readonly message: string) {
    super();
  }
}

export interface Call {
  readonly args: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}

export class Func extends Obj {
  readonly typeName: string = 'function';
  constructor(
    readonly name: string,
    readonly call: (call: Call) => Value,
  ) {
    super();
  }
}

/** `namespace()`, `loop`, `cycler()`: attributes, and nothing of a dict. */
export class Instance extends Obj {
  constructor(
    readonly typeName: string,
    readonly attributes: Map<string, Value>,
    /** What calling it does. */
    readonly call?: (call: Call) => Value,
  ) {
    super();
  }
}

/** Strings longer than this come of a loop that doubles them. */
export const MAX_TEXT = 2 ** 23;
/** As in jinja2's sandbox. */
export const MAX_RANGE = 100_000;
const MAX_DEPTH = 100;

/** `value`, or what `otherwise` gives where there is none; None is a value, which `??` would take for none. */
export function either(value: Value | undefined, otherwise: () => Value): Value {
  return value === undefined ? otherwise() : value;
}

export function fail(message: string): never {
  throw new TemplateError(message);
}

/** What a rendering may still do, in looks at a value; one rendering runs at a time. */
const meter = { left: 0 };

/** More than any conversation needs; some seconds at most. */
const MAX_WORK = 10_000_000;

/** Starts counting anew; `restore` goes on with the count before. */
export function startMeter(): { restore(): void } {
  const { left } = meter;
  meter.left = MAX_WORK;
  return {
    restore() {
      meter.left = left;
    },
  };
}

/** @throws TemplateError when a template has done too much. */
export function charge(work: number): void {
  meter.left -= work;
  if (meter.left < 0) fail(`the template takes more than ${MAX_WORK} steps`);
}

/** What looking at the whole of a value costs. */
export function chargeFor(value: Value): void {
  if (typeof value === 'string') charge(value.length >>> 3);
  else if (value instanceof List || value instanceof Iterable) charge(value.items.length);
  else if (value instanceof Dict) charge(value.size);
}

export function bounded(text: string): string {
  return text.length <= MAX_TEXT ? text : fail(`a text of more than ${MAX_TEXT} characters`);
}

/** A key that is the same for values that Python counts as the same key. */
function hashOf(key: Value): unknown {
  if (typeof key === 'boolean') return BigInt(key);
  if (typeof key === 'number' && Number.isInteger(key)) return BigInt(key);
  if (key instanceof Tuple) return `tuple:${repr(key)}`;
  if (typeof key === 'string') return `str:${key}`;
  if (key instanceof List || key instanceof Dict) return fail(`unhashable type: '${key.typeName}'`);
  return key;
}

export function typeName(value: Value): string {
  if (value === null) return 'NoneType';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'bigint') return 'int';
  if (typeof value === 'number') return 'float';
  if (typeof value === 'string') return 'str';
  return value.typeName;
}

export function truth(value: Value): boolean {
  if (value === null || value === false || value === 0n || value === 0 || value === '') return false;
  if (value instanceof List || value instanceof Iterable) {
    return value.items.length > 0 || (value instanceof Iterable && value.typeName === 'generator');
  }
  if (value instanceof Dict) return value.size > 0;
  return !(value instanceof Undefined);
}

export const isNumber = (value: Value): value is boolean | bigint | number =>
  typeof value === 'boolean' || typeof value === 'bigint' || typeof value === 'number';

/** bool as int. */
export const asNumber = (value: boolean | bigint | number): bigint | number =>
  typeof value === 'boolean' ? BigInt(value) : value;

export function isEqual(a: Value, b: Value, depth = 0): boolean {
  if (depth > MAX_DEPTH) fail('a value is nested too deep');
  // biome-ignore lint/suspicious/noDoubleEquals: a bigint equals the number of the same value, as int and float in Python.
  if (isNumber(a) && isNumber(b)) return asNumber(a) == asNumber(b);
  if (a instanceof Dict && b instanceof Dict) {
    return (
      a.size === b.size && a.entries().every(([key, value]) => b.has(key) && isEqual(value, b.get(key)!, depth + 1))
    );
  }
  if (a instanceof List && b instanceof List) {
    return (
      a.typeName === b.typeName &&
      a.items.length === b.items.length &&
      a.items.every((item, n) => isEqual(item, b.items[n]!, depth + 1))
    );
  }
  if (a instanceof Undefined && b instanceof Undefined) return true;
  return a === b;
}

/** Below 0, 0 or above, as `<` orders. */
export function compare(a: Value, b: Value, operator = '<'): number {
  if (isNumber(a) && isNumber(b)) {
    const [x, y] = [asNumber(a), asNumber(b)];
    if (x < y) return -1;
    return x > y ? 1 : Number.isNaN(x) || Number.isNaN(y) ? Number.NaN : 0;
  }
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  if (a instanceof List && b instanceof List && a.typeName === b.typeName) {
    for (let n = 0; n < Math.min(a.items.length, b.items.length); n++) {
      if (!isEqual(a.items[n]!, b.items[n]!)) return compare(a.items[n]!, b.items[n]!, operator);
    }
    return a.items.length - b.items.length;
  }
  for (const value of [a, b]) if (value instanceof Undefined) fail(value.message);
  return fail(`'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}

/** By code points, as Python orders; JavaScript orders by UTF-16 units. */
function compareText(a: string, b: string): number {
  let n = 0;
  while (n < a.length && a[n] === b[n]) n++;
  if (n >= a.length || n >= b.length) return a.length - b.length;
  const point = (text: string) => text.codePointAt(n > 0 && /[\udc00-\udfff]/.test(text[n]!) ? n - 1 : n)!;
  return point(a) - point(b);
}

/** The items that a loop would see. */
export function iterate(value: Value): readonly Value[] {
  if (value instanceof List || value instanceof Iterable) return value.items;
  if (value instanceof Dict) return value.keys();
  if (typeof value === 'string') return Array.from(value);
  if (value instanceof Undefined) return [];
  return fail(`a value of type '${typeName(value)}' cannot be looped over`);
}

export function lengthOf(value: Value): number {
  if (typeof value === 'string') return points(value);
  if (value instanceof List) return value.items.length;
  if (value instanceof Iterable && value.typeName !== 'generator') return value.items.length;
  if (value instanceof Dict) return value.size;
  if (value instanceof Undefined) return 0;
  return fail(`object of type '${typeName(value)}' has no len()`);
}

function points(text: string): number {
  let count = text.length;
  for (let n = 0; n < text.length - 1; n++) if (text.codePointAt(n)! > 0xffff) count--;
  return count;
}

/** `str(value)`. */
export function str(value: Value): string {
  if (typeof value === 'string') return value;
  if (value instanceof Undefined) return '';
  return repr(value);
}

export function repr(value: Value, depth = 0): string {
  if (depth > MAX_DEPTH) fail('a value is nested too deep');
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') return floatRepr(value);
  if (typeof value === 'string') return stringRepr(value);
  const inner = (items: readonly Value[]) => bounded(items.map((item) => repr(item, depth + 1)).join(', '));
  if (value instanceof Tuple) return value.items.length === 1 ? `(${inner(value.items)},)` : `(${inner(value.items)})`;
  if (value instanceof List) return `[${inner(value.items)}]`;
  if (value instanceof Dict) {
    const pairs = value.entries().map(([key, v]) => `${repr(key, depth + 1)}: ${repr(v, depth + 1)}`);
    return bounded(`{${pairs.join(', ')}}`);
  }
  if (value instanceof Iterable) return value.text ?? `${value.typeName}([${inner(value.items)}])`;
  if (value instanceof Undefined) return 'Undefined';
  if (value instanceof Instance && value.typeName === 'Namespace') {
    return `<Namespace ${repr(new Dict([...value.attributes]), depth + 1)}>`;
  }
  if (value instanceof Func) return `<${value.typeName} ${value.name}>`;
  return `<${value.typeName}>`;
}

export function floatRepr(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  if (Object.is(value, -0)) return '-0.0';
  const magnitude = Math.abs(value);
  if (value !== 0 && (magnitude < 1e-4 || magnitude >= 1e16)) {
    return value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2');
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

function stringRepr(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let out = quote;
  for (const c of text) {
    const point = c.codePointAt(0)!;
    if (c === quote || c === '\\') out += `\\${c}`;
    else if (c === '\n') out += '\\n';
    else if (c === '\r') out += '\\r';
    else if (c === '\t') out += '\\t';
    else if (c !== ' ' && /[\p{C}\p{Z}]/u.test(c)) {
      const hex = point.toString(16);
      out +=
        point < 0x100
          ? `\\x${hex.padStart(2, '0')}`
          : point < 0x10000
            ? `\\u${hex.padStart(4, '0')}`
            : `\\U${hex.padStart(8, '0')}`;
    } else out += c;
  }
  return out + quote;
}

/** A JavaScript value as a Python one. Whole numbers become ints. */
export function fromJavaScript(value: unknown, depth = 0): Value {
  if (depth > MAX_DEPTH) fail('a variable is nested too deep');
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'bigint':
      return value;
    case 'number':
      return Number.isInteger(value) && !Object.is(value, -0) ? BigInt(value) : value;
    case 'function':
      return new Func(value.name || 'function', ({ args }) =>
        fromJavaScript(value(...args.map((a) => toJavaScript(a)))),
      );
    case 'object':
      if (value === null || value instanceof Obj) return value;
      if (Array.isArray(value)) return new List(value.map((item) => fromJavaScript(item, depth + 1)));
      return new Dict(
        Object.entries(value)
          .filter(([, v]) => v !== undefined)
          .map(([key, v]) => [key, fromJavaScript(v, depth + 1)] as const),
      );
    default:
      return null;
  }
}

function toJavaScript(value: Value): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof List || value instanceof Iterable) return value.items.map(toJavaScript);
  if (value instanceof Dict) return Object.fromEntries(value.entries().map(([key, v]) => [str(key), toJavaScript(v)]));
  return value instanceof Undefined ? undefined : value;
}
