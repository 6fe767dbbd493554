/** @file `json.dumps` as transformers' filter `tojson` calls it. */
import { Dict, fail, floatRepr, Iterable, List, str, typeName, type Value } from './values.js';

export interface JsonOptions {
  readonly ensureAscii: boolean;
  readonly indent: Value;
  readonly separators: Value;
  readonly sortKeys: boolean;
}

const MAX_DEPTH = 100;

export function toJson(value: Value, options: JsonOptions): string {
  const { indent, separators } = options;
  const by =
    indent === null
      ? null
      : typeof indent === 'string'
        ? indent
        : ' '.repeat(Math.max(0, Math.min(100, Number(indent))));
  const [item, key] = separators instanceof List ? separators.items.map(str) : [by === null ? ', ' : ',', ': '];
  const write = (v: Value, depth: number): string => {
    if (depth > MAX_DEPTH) fail('a value is nested too deep');
    if (v === null) return 'null';
    if (typeof v === 'boolean' || typeof v === 'bigint') return String(v);
    if (typeof v === 'number') {
      return Number.isNaN(v) ? 'NaN' : Number.isFinite(v) ? floatRepr(v) : v > 0 ? 'Infinity' : '-Infinity';
    }
    if (typeof v === 'string') return quote(v, options.ensureAscii);
    const [outer, inner] = by === null ? ['', ''] : [`\n${by.repeat(depth)}`, `\n${by.repeat(depth + 1)}`];
    if (v instanceof List) {
      return v.items.length === 0
        ? '[]'
        : `[${inner}${v.items.map((i) => write(i, depth + 1)).join(item + inner)}${outer}]`;
    }
    if (v instanceof Dict) {
      const entries = v.entries().map(([k, x]) => [keyOf(k), x] as const);
      if (options.sortKeys) entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
      const pairs = entries.map(([k, x]) => `${quote(k, options.ensureAscii)}${key}${write(x, depth + 1)}`);
      return pairs.length === 0 ? '{}' : `{${inner}${pairs.join(item + inner)}${outer}}`;
    }
    return fail(`Object of type ${v instanceof Iterable ? v.typeName : typeName(v)} is not JSON serializable`);
  };
  return write(value, 0);
}

function keyOf(key: Value): string {
  if (typeof key === 'string') return key;
  if (key === null) return 'null';
  if (typeof key === 'boolean' || typeof key === 'bigint') return String(key);
  if (typeof key === 'number') return floatRepr(key);
  return fail(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\f': '\\f',
  '\b': '\\b',
};

function quote(text: string, ensureAscii: boolean): string {
  let out = '"';
  for (let n = 0; n < text.length; n++) {
    const c = text[n]!;
    const code = text.charCodeAt(n);
    if (SHORT[c] !== undefined) out += SHORT[c];
    else if (code < 0x20 || (ensureAscii && code > 0x7e)) out += `\\u${code.toString(16).padStart(4, '0')}`;
    else out += c;
  }
  return `${out}"`;
}
