/** @file jinja2's filters, and transformers' `tojson`. One table of many small functions, which are looked for by name: so it is long. */
import { bind, toInt, toStr } from './arguments.js';
import { attributeOf } from './methods.js';
import { fixed, percentFormat } from './number-format.js';
import { binary } from './operators.js';
import { FILTER_NAMES, testOf } from './tests.js';
import * as text from './text.js';
import { toJson } from './to-json.js';
import {
  asNumber,
  bounded,
  type Call,
  compare,
  Dict,
  either,
  fail,
  Iterable,
  isEqual,
  isNumber,
  iterate,
  List,
  lengthOf,
  str,
  Tuple,
  truth,
  typeName,
  Undefined,
  type Value,
} from './values.js';

type Filter = (value: Value, call: Call) => Value;

const asList = (items: readonly Value[]) => new List(items);
const generator = (items: readonly Value[]) => new Iterable('generator', items, '<generator object>');

/** `value[key]`, `value.key`, undefined where there is neither: an attribute path as filters take it. */
function getter(attribute: Value | undefined, fallback?: Value): (value: Value) => Value {
  if (attribute === undefined || attribute === null) return (value) => value;
  const parts = typeof attribute === 'string' ? attribute.split('.') : [attribute];
  return (value) => {
    let found: Value = value;
    for (const part of parts) {
      const key = typeof part === 'string' && /^\d+$/.test(part) ? BigInt(part) : part;
      found = itemOf(found, key);
      if (found instanceof Undefined && fallback !== undefined) return fallback;
    }
    return found;
  };
}

/** jinja2's `environment.getitem`. */
export function itemOf(value: Value, key: Value): Value {
  if (value instanceof Undefined) return fail(value.message);
  if (value instanceof Dict) {
    if (value.has(key)) return value.get(key)!;
  } else if (
    typeof value === 'string' ||
    value instanceof List ||
    (value instanceof Iterable && value.typeName === 'range')
  ) {
    if (typeof key === 'bigint' || typeof key === 'boolean') {
      const items = iterate(value);
      const n = Number(key);
      const found = items[n < 0 ? n + items.length : n];
      if (found !== undefined) return found;
    }
  }
  if (typeof key === 'string') {
    const attribute = attributeOf(value, key);
    if (attribute !== undefined) return attribute;
  }
  const what = typeof key === 'string' ? `'${key}'` : str(key);
  return new Undefined(
    typeof key === 'string'
      ? `'${typeName(value)} object' has no attribute ${what}`
      : `${typeName(value)} object has no element ${what}`,
  );
}

const folded = (value: Value, caseSensitive: boolean) =>
  typeof value === 'string' && !caseSensitive ? value.toLowerCase() : value;

function sorted(items: readonly Value[], key: (value: Value) => Value, reverse: boolean): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  keyed.sort((a, b) => (reverse ? compare(b.key, a.key) : compare(a.key, b.key)));
  return keyed.map(({ item }) => item);
}

function extreme(value: Value, call: Call, name: string, sign: number): Value {
  const { case_sensitive, attribute } = bind(name, call, ['case_sensitive?', 'attribute?']);
  const get = getter(attribute);
  const key = (item: Value) => folded(get(item), truth(case_sensitive ?? false));
  const items = iterate(value);
  if (items.length === 0) return new Undefined('No aggregated item, sequence was empty.');
  return items.reduce((best, item) => (sign * compare(key(item), key(best)) > 0 ? item : best));
}

/** `select`, `reject` and their kin: a test by name with arguments, or truth. */
function chosen(value: Value, { args, named }: Call, keep: boolean, byAttribute: boolean): Value {
  if (named.size > 0) fail('select takes no keyword arguments');
  const get = byAttribute ? getter(args[0] ?? fail('Missing parameter for attribute name')) : (item: Value) => item;
  const [name, ...rest] = args.slice(byAttribute ? 1 : 0);
  const test =
    name === undefined
      ? truth
      : (
          (t) => (item: Value) =>
            t(item, rest)
        )(testOf(str(name)));
  return generator(iterate(value).filter((item) => test(get(item)) === keep));
}

function mapped(value: Value, { args, named }: Call): Value {
  if (args.length === 0 && named.has('attribute')) {
    const get = getter(named.get('attribute'), named.get('default'));
    return generator(iterate(value).map(get));
  }
  const name = toStr(args[0] ?? fail('map requires a filter argument'), '');
  const filter = filterOf(name);
  return generator(iterate(value).map((item) => filter(item, { args: args.slice(1), named })));
}

function toInteger(value: Value, fallback: Value, base: number): Value {
  if (typeof value === 'string') {
    const trimmed = text.strip(value, null, true, true).replace(/(\d)_(?=\d)/g, '$1');
    if (base === 10 && /^[+-]?\d+$/.test(trimmed)) return BigInt(trimmed.replace('+', ''));
    if (base !== 10) {
      const digits = trimmed.replace(/^([+-]?)0[xob]/i, '$1');
      const number = Number.parseInt(digits, base);
      if (
        /^[+-]?[\da-z]+$/i.test(digits) &&
        !Number.isNaN(number) &&
        [...digits.replace(/^[+-]/, '')].every((c) => Number.parseInt(c, 36) < base)
      )
        return BigInt(number);
    }
    const number = asFloat(trimmed);
    return number !== null && Number.isFinite(number) ? BigInt(Math.trunc(number)) : fallback;
  }
  if (isNumber(value)) {
    const number = asNumber(value);
    if (typeof number === 'bigint') return number;
    return Number.isFinite(number) ? BigInt(Math.trunc(number)) : fallback;
  }
  return fallback;
}

/** What Python's `float(text)` makes of it, or null. */
function asFloat(value: string): number | null {
  const trimmed = text.strip(value, null, true, true).replace(/(\d)_(?=\d)/g, '$1');
  if (/^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(trimmed)) return Number(trimmed);
  if (/^[+-]?inf(?:inity)?$/i.test(trimmed)) return trimmed.startsWith('-') ? -Infinity : Infinity;
  return /^[+-]?nan$/i.test(trimmed) ? Number.NaN : null;
}

function round(value: Value, call: Call): Value {
  const { precision, method } = bind('round', call, ['precision?', 'method?']);
  if (!isNumber(value)) return fail(`type ${typeName(value)} doesn't define __round__ method`);
  const places = toInt(precision, 0);
  const how = toStr(method, 'common');
  const number = asNumber(value);
  if (how === 'ceil' || how === 'floor') {
    const factor = 10 ** places;
    return Math[how](Number(number) * factor) / factor;
  }
  if (how !== 'common') return fail('method must be common, ceil or floor');
  if (typeof number === 'bigint')
    return places >= 0 ? number : BigInt(Math.round(Number(number) / 10 ** -places) * 10 ** -places);
  if (places < 0) return Math.round(number / 10 ** -places) * 10 ** -places;
  return Number(`${number < 0 ? '-' : ''}${fixed(Math.abs(number), Math.min(places, 99))}`);
}

function indent(value: Value, call: Call): Value {
  const { width, first, blank } = bind('indent', call, ['width?', 'first?', 'blank?']);
  const by = typeof width === 'string' ? width : ' '.repeat(Math.min(1000, Math.max(0, toInt(width, 4))));
  const lines = text.splitLines(`${str(value)}\n`, false);
  const [head = '', ...rest] = lines;
  const body = rest.map((line) => (truth(blank ?? false) || line !== '' ? by + line : line));
  return bounded((truth(first ?? false) ? by : '') + [head, ...body].join('\n'));
}

function truncate(value: Value, call: Call): Value {
  const { length, killwords, end, leeway } = bind('truncate', call, ['length?', 'killwords?', 'end?', 'leeway?']);
  const points = Array.from(str(value));
  const most = toInt(length, 255);
  const tail = toStr(end, '...');
  if (most < tail.length) fail(`expected length >= ${tail.length}, got ${most}`);
  if (points.length <= most + toInt(leeway ?? undefined, 5)) return points.join('');
  const cut = points.slice(0, most - Array.from(tail).length).join('');
  if (truth(killwords ?? false)) return cut + tail;
  const at = cut.lastIndexOf(' ');
  return (at < 0 ? cut : cut.slice(0, at)) + tail;
}

function wordwrap(value: Value, call: Call): Value {
  const { width, break_long_words, wrapstring, break_on_hyphens } = bind('wordwrap', call, [
    'width?',
    'break_long_words?',
    'wrapstring?',
    'break_on_hyphens?',
  ]);
  const most = Math.max(1, toInt(width, 79));
  const joined = toStr(wrapstring ?? undefined, '\n');
  const breaksWords = truth(break_long_words ?? true);
  void break_on_hyphens;
  const wrap = (line: string) => {
    const lines: string[] = [];
    let current = '';
    for (const chunk of line.match(/\s+|\S+/g) ?? []) {
      let rest = chunk;
      if (current.length + rest.length > most && !(rest.trim() === '')) {
        if (current.trim() !== '') lines.push(current.trimEnd());
        current = '';
        while (breaksWords && rest.length > most) {
          lines.push(rest.slice(0, most));
          rest = rest.slice(most);
        }
      }
      if (current === '' && rest.trim() === '' && lines.length > 0) continue;
      current += rest;
    }
    if (current.trimEnd() !== '') lines.push(current.trimEnd());
    return lines.join(joined);
  };
  return bounded(text.splitLines(str(value), false).map(wrap).join(joined));
}

function batches(value: Value, call: Call): Value {
  const { linecount, fill_with } = bind('batch', call, ['linecount', 'fill_with?']);
  const size = toInt(linecount, 1);
  const rows: Value[] = [];
  const items = iterate(value);
  for (let at = 0; at < items.length; at += Math.max(1, size)) {
    const row = items.slice(at, at + Math.max(1, size));
    if (fill_with !== undefined && fill_with !== null)
      while (row.length < size && row.length < 100_000) row.push(fill_with);
    rows.push(asList(row));
  }
  return generator(rows);
}

function slices(value: Value, call: Call): Value {
  const { slices: count, fill_with } = bind('slice', call, ['slices', 'fill_with?']);
  const n = Math.min(100_000, toInt(count, 1));
  if (n <= 0) fail('integer division or modulo by zero');
  const items = iterate(value);
  const [per, extra] = [Math.floor(items.length / n), items.length % n];
  return generator(
    Array.from({ length: n }, (_, k) => {
      const start = k * per + Math.min(k, extra);
      const row = items.slice(start, start + per + (k < extra ? 1 : 0));
      if (fill_with !== undefined && fill_with !== null && k >= extra && extra > 0) row.push(fill_with);
      return asList(row);
    }),
  );
}

function groups(value: Value, call: Call): Value {
  const {
    attribute,
    default: fallback,
    case_sensitive,
  } = bind('groupby', call, ['attribute', 'default?', 'case_sensitive?']);
  const get = getter(attribute, fallback);
  const key = (item: Value) => folded(get(item), truth(case_sensitive ?? false));
  const rows: [Value, Value[]][] = [];
  for (const item of sorted(iterate(value), key, false)) {
    const last = rows.at(-1);
    if (last && isEqual(folded(last[0], truth(case_sensitive ?? false)), key(item))) last[1].push(item);
    else rows.push([get(item), [item]]);
  }
  return asList(rows.map(([grouper, list]) => new Tuple([grouper, asList(list)])));
}

function dictsort(value: Value, call: Call): Value {
  const { case_sensitive, by, reverse } = bind('dictsort', call, ['case_sensitive?', 'by?', 'reverse?']);
  const at = { key: 0, value: 1 }[toStr(by, 'key')] ?? fail('You can only sort by either "key" or "value"');
  if (!(value instanceof Dict)) return fail(`'${typeName(value)}' object has no attribute 'items'`);
  const pairs = value.entries().map((pair) => new Tuple(pair));
  return asList(
    sorted(
      pairs,
      (pair) => folded((pair as Tuple).items[at]!, truth(case_sensitive ?? false)),
      truth(reverse ?? false),
    ),
  );
}

function unique(value: Value, call: Call): Value {
  const { case_sensitive, attribute } = bind('unique', call, ['case_sensitive?', 'attribute?']);
  const get = getter(attribute);
  const seen = new Dict();
  return generator(
    iterate(value).filter((item) => {
      const key = folded(get(item), truth(case_sensitive ?? false));
      if (seen.has(key)) return false;
      seen.set(key, true);
      return true;
    }),
  );
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&#39;',
  '"': '&#34;',
};
const escaped: Filter = (value) => bounded(str(value).replace(/[&<>'"]/g, (c) => ESCAPES[c]!));
const length: Filter = (value) => BigInt(lengthOf(value));
const defaulted: Filter = (value, call) => {
  const { default_value, boolean } = bind('default', call, ['default_value?', 'boolean?']);
  const isMissing = value instanceof Undefined || (truth(boolean ?? false) && !truth(value));
  return isMissing ? either(default_value, () => '') : value;
};

const FILTERS: Readonly<Record<string, Filter>> = {
  abs: (value) => {
    if (!isNumber(value)) return fail(`bad operand type for abs(): '${typeName(value)}'`);
    const number = asNumber(value);
    return number < 0 ? -number : number;
  },
  attr: (value, call) => {
    const name = str(bind('attr', call, ['name']).name);
    return either(
      attributeOf(value, name),
      () => new Undefined(`'${typeName(value)} object' has no attribute '${name}'`),
    );
  },
  batch: batches,
  capitalize: (value) => text.capitalize(str(value)),
  center: (value, call) => text.justify(str(value), toInt(bind('center', call, ['width?']).width, 80), ' ', 'center'),
  count: length,
  d: defaulted,
  default: defaulted,
  dictsort,
  e: escaped,
  escape: escaped,
  filesizeformat: (value, call) => {
    const binaryUnits = truth(bind('filesizeformat', call, ['binary?']).binary ?? false);
    const bytes =
      typeof value === 'string'
        ? (asFloat(value) ?? fail('a number is required'))
        : isNumber(value)
          ? Number(asNumber(value))
          : fail('a number is required');
    const base = binaryUnits ? 1024 : 1000;
    if (bytes === 1) return '1 Byte';
    if (bytes < base) return `${Math.trunc(bytes)} Bytes`;
    const units = binaryUnits
      ? ['KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB', 'ZiB', 'YiB']
      : ['kB', 'MB', 'GB', 'TB', 'PB', 'EB', 'ZB', 'YB'];
    const n = Math.min(
      units.length - 1,
      units.findIndex((_, k) => bytes < base ** (k + 2)) < 0
        ? units.length - 1
        : units.findIndex((_, k) => bytes < base ** (k + 2)),
    );
    return `${fixed((base * bytes) / base ** (n + 2), 1)} ${units[n]}`;
  },
  first: (value) => either(iterate(value)[0], () => new Undefined('No first item, sequence was empty.')),
  float: (value, call) => {
    const fallback = either(bind('float', call, ['default?']).default, () => 0);
    if (typeof value === 'string') return asFloat(value) ?? fallback;
    return isNumber(value) ? Number(asNumber(value)) : fallback;
  },
  forceescape: escaped,
  format: (value, { args, named }) => {
    if (args.length > 0 && named.size > 0) fail("can't handle positional and keyword arguments at the same time");
    return percentFormat(str(value), named.size > 0 ? new Dict([...named]) : new Tuple(args));
  },
  groupby: groups,
  indent,
  int: (value, call) => {
    const { default: fallback, base } = bind('int', call, ['default?', 'base?']);
    return toInteger(
      value,
      either(fallback, () => 0n),
      toInt(base, 10),
    );
  },
  items: (value) => {
    if (value instanceof Undefined) return generator([]);
    if (!(value instanceof Dict)) return fail('Can only get item pairs from a mapping.');
    return generator(value.entries().map((pair) => new Tuple(pair)));
  },
  join: (value, call) => {
    const { d, attribute } = bind('join', call, ['d?', 'attribute?']);
    return bounded(
      iterate(value)
        .map(getter(attribute))
        .map(str)
        .join(d === undefined ? '' : str(d)),
    );
  },
  last: (value) => either(iterate(value).at(-1), () => new Undefined('No last item, sequence was empty.')),
  length,
  list: (value) => asList(iterate(value)),
  lower: (value) => str(value).toLowerCase(),
  map: mapped,
  max: (value, call) => extreme(value, call, 'max', 1),
  min: (value, call) => extreme(value, call, 'min', -1),
  reject: (value, call) => chosen(value, call, false, false),
  rejectattr: (value, call) => chosen(value, call, false, true),
  replace: (value, call) => {
    const { old, new: to, count } = bind('replace', call, ['old', 'new', 'count?']);
    return text.replace(str(value), str(old), str(to), toInt(count ?? undefined, -1));
  },
  reverse: (value) => {
    if (typeof value === 'string') return Array.from(value).reverse().join('');
    return new Iterable('list_reverseiterator', [...iterate(value)].reverse(), '<list_reverseiterator object>');
  },
  round,
  safe: (value) => str(value),
  select: (value, call) => chosen(value, call, true, false),
  selectattr: (value, call) => chosen(value, call, true, true),
  slice: slices,
  sort: (value, call) => {
    const { reverse, case_sensitive, attribute } = bind('sort', call, ['reverse?', 'case_sensitive?', 'attribute?']);
    const isSensitive = truth(case_sensitive ?? false);
    const getters =
      typeof attribute === 'string' ? attribute.split(',').map((part) => getter(part)) : [getter(attribute)];
    const key = (item: Value) => {
      const keys = getters.map((get) => folded(get(item), isSensitive));
      return keys.length === 1 ? keys[0]! : asList(keys);
    };
    return asList(sorted(iterate(value), key, truth(reverse ?? false)));
  },
  string: (value) => str(value),
  striptags: (value) =>
    str(value)
      .replace(/<!--[\s\S]*?-->|<[^>]*>/g, '')
      .split(/\s+/)
      .filter(Boolean)
      .join(' '),
  sum: (value, call) => {
    const { attribute, start } = bind('sum', call, ['attribute?', 'start?']);
    return iterate(value)
      .map(getter(attribute))
      .reduce((sum: Value, item) => binary('+', sum, item), start ?? 0n);
  },
  title: (value) =>
    str(value)
      .split(/([-\s({[<]+)/u)
      .filter(Boolean)
      .map((word) => {
        const [first = '', ...rest] = Array.from(word);
        return first.toUpperCase() + rest.join('').toLowerCase();
      })
      .join(''),
  tojson: (value, call) => {
    const {
      ensure_ascii,
      indent: by,
      separators,
      sort_keys,
    } = bind('tojson', call, ['ensure_ascii?', 'indent?', 'separators?', 'sort_keys?']);
    return toJson(value, {
      ensureAscii: truth(ensure_ascii ?? false),
      indent: by ?? null,
      separators: separators ?? null,
      sortKeys: truth(sort_keys ?? false),
    });
  },
  trim: (value, call) => {
    const { chars } = bind('trim', call, ['chars?']);
    return text.strip(str(value), chars === undefined || chars === null ? null : toStr(chars, ''), true, true);
  },
  truncate,
  unique,
  upper: (value) => bounded(str(value).toUpperCase()),
  urlencode: (value) => {
    const one = (part: Value, keepsSlash: boolean) =>
      encodeURIComponent(str(part))
        .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
        .replaceAll('%2F', keepsSlash ? '/' : '%2F');
    if (value instanceof Dict)
      return value
        .entries()
        .map(([k, v]) => `${one(k, false)}=${one(v, false)}`)
        .join('&');
    return one(value, true);
  },
  wordcount: (value) => BigInt((str(value).match(/[\p{L}\p{N}_]+/gu) ?? []).length),
  wordwrap,
}; // prettier-ignore
for (const name of Object.keys(FILTERS)) FILTER_NAMES.add(name);

const NOT_HERE = ['pprint', 'random', 'urlize', 'xmlattr'];

/** The filter `name`. */
export function filterOf(name: string): Filter {
  if (Object.hasOwn(FILTERS, name)) return FILTERS[name]!;
  return fail(NOT_HERE.includes(name) ? `the filter '${name}' is not supported here` : `No filter named '${name}'.`);
}
