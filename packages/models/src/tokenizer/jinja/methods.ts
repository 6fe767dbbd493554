/** @file Attributes of Python's values: the methods that templates may call. What would change a value is refused, as in transformers' sandbox. */
import { bind, toInt, toStr } from './arguments.js';
import { braceFormat } from './number-format.js';
import * as text from './text.js';
import {
  bounded,
  type Call,
  Dict,
  either,
  Func,
  fail,
  fromJavaScript,
  Instance,
  Iterable,
  isEqual,
  iterate,
  List,
  str,
  Tuple,
  truth,
  typeName,
  Undefined,
  type Value,
} from './values.js';

type Method<T> = (self: T, call: Call) => Value;

const optional = (value: Value | undefined) => (value === undefined || value === null ? null : toStr(value, ''));
const strings = (items: readonly string[]) => new List(items);
const END = Number.MAX_SAFE_INTEGER;
const all = (self: string, test: RegExp) => self !== '' && Array.from(self).every((c) => test.test(c));

function affix(self: string, name: 'startsWith' | 'endsWith', call: Call): boolean {
  const { prefix, start, end } = bind(name.toLowerCase(), call, ['prefix', 'start?', 'end?']);
  const points = Array.from(self);
  const part =
    start === undefined
      ? self
      : points.slice(toInt(start, 0), end === undefined ? undefined : toInt(end, END)).join('');
  const options = prefix instanceof Tuple ? prefix.items : [prefix];
  return options.some((option) =>
    typeof option === 'string'
      ? part[name](option)
      : fail(`${name.toLowerCase()} first arg must be str or a tuple of str, not ${typeName(option)}`),
  );
}

const partition = (self: string, call: Call, last: boolean) => {
  const { sep } = bind('partition', call, ['sep']);
  const separator = toStr(sep, '');
  if (separator === '') fail('empty separator');
  const at = last ? self.lastIndexOf(separator) : self.indexOf(separator);
  if (at < 0) return new Tuple(last ? ['', '', self] : [self, '', '']);
  return new Tuple([self.slice(0, at), separator, self.slice(at + separator.length)]);
};

const search =
  (name: string, last: boolean, mustBe: boolean): Method<string> =>
  (self, call) => {
    const { sub, start, end } = bind(name, call, ['sub', 'start?', 'end?']);
    const at = text.find(self, toStr(sub, ''), toInt(start ?? undefined, 0), toInt(end ?? undefined, END), last);
    return at < 0 && mustBe ? fail('substring not found') : BigInt(at);
  };

const STRING: Readonly<Record<string, Method<string>>> = {
  upper: (self) => bounded(self.toUpperCase()),
  lower: (self) => bounded(self.toLowerCase()),
  casefold: (self) => self.toLowerCase().replaceAll('ß', 'ss'),
  capitalize: (self) => text.capitalize(self),
  title: (self) => text.title(self),
  swapcase: (self) => text.swapCase(self),
  strip: (self, call) => text.strip(self, optional(bind('strip', call, ['chars?']).chars), true, true),
  lstrip: (self, call) => text.strip(self, optional(bind('lstrip', call, ['chars?']).chars), true, false),
  rstrip: (self, call) => text.strip(self, optional(bind('rstrip', call, ['chars?']).chars), false, true),
  split: (self, call) => {
    const { sep, maxsplit } = bind('split', call, ['sep?', 'maxsplit?']);
    return strings(text.split(self, optional(sep), toInt(maxsplit, -1)));
  },
  rsplit: (self, call) => {
    const { sep, maxsplit } = bind('rsplit', call, ['sep?', 'maxsplit?']);
    return strings(text.split(self, optional(sep), toInt(maxsplit, -1), true));
  },
  splitlines: (self, call) =>
    strings(text.splitLines(self, truth(bind('splitlines', call, ['keepends?']).keepends ?? false))),
  join: (self, call) => {
    const items = iterate(bind('join', call, ['iterable']).iterable);
    const wrong = items.findIndex((item) => typeof item !== 'string');
    if (wrong >= 0) fail(`sequence item ${wrong}: expected str instance, ${typeName(items[wrong]!)} found`);
    return bounded(items.join(self));
  },
  replace: (self, call) => {
    const { old, new: to, count } = bind('replace', call, ['old', 'new', 'count?']);
    return text.replace(self, toStr(old, ''), toStr(to, ''), toInt(count, -1));
  },
  startswith: (self, call) => affix(self, 'startsWith', call),
  endswith: (self, call) => affix(self, 'endsWith', call),
  removeprefix: (self, call) => {
    const prefix = toStr(bind('removeprefix', call, ['prefix']).prefix, '');
    return self.startsWith(prefix) ? self.slice(prefix.length) : self;
  },
  removesuffix: (self, call) => {
    const suffix = toStr(bind('removesuffix', call, ['suffix']).suffix, '');
    return suffix !== '' && self.endsWith(suffix) ? self.slice(0, -suffix.length) : self;
  },
  partition: (self, call) => partition(self, call, false),
  rpartition: (self, call) => partition(self, call, true),
  find: search('find', false, false),
  rfind: search('rfind', true, false),
  index: search('index', false, true),
  rindex: search('rindex', true, true),
  count: (self, call) => {
    const { sub, start, end } = bind('count', call, ['sub', 'start?', 'end?']);
    return BigInt(text.count(self, toStr(sub, ''), toInt(start, 0), toInt(end, END)));
  },
  center: (self, call) => justified(self, call, 'center'),
  ljust: (self, call) => justified(self, call, 'left'),
  rjust: (self, call) => justified(self, call, 'right'),
  zfill: (self, call) => {
    const width = toInt(bind('zfill', call, ['width']).width, 0);
    const sign = /^[+-]/.test(self) ? self[0]! : '';
    return sign + text.justify(self.slice(sign.length), width - sign.length, '0', 'right');
  },
  expandtabs: (self, call) => {
    const size = toInt(bind('expandtabs', call, ['tabsize?']).tabsize, 8);
    let column = 0;
    let out = '';
    for (const c of self) {
      if (c === '\t') {
        const blanks = size > 0 ? size - (column % size) : 0;
        out += ' '.repeat(Math.min(blanks, 1000));
        column += blanks;
      } else {
        out += c;
        column = c === '\n' || c === '\r' ? 0 : column + 1;
      }
    }
    return bounded(out);
  },
  isalnum: (self) => all(self, /^[\p{L}\p{N}]$/u),
  isalpha: (self) => all(self, /^\p{L}$/u),
  isascii: (self) => Array.from(self).every((c) => c.codePointAt(0)! < 128),
  isdecimal: (self) => all(self, /^\p{Nd}$/u),
  isdigit: (self) => all(self, /^[\p{Nd}²³¹⁰⁴-⁹₀-₉①-⑨]$/u),
  isnumeric: (self) => all(self, /^\p{N}$/u),
  isidentifier: (self) => /^[\p{L}_][\p{L}\p{N}\p{M}_]*$/u.test(self),
  islower: (self) => text.isLower(self),
  isupper: (self) => text.isUpper(self),
  isspace: (self) => self !== '' && Array.from(self).every(text.isSpace),
  istitle: (self) => text.isTitle(self),
  isprintable: (self) => Array.from(self).every((c) => c === ' ' || !/[\p{C}\p{Z}]/u.test(c)),
  format: (self, { args, named }) =>
    braceFormat(self, args, (name) => either(named.get(name), () => fail(`'${name}'`)), fieldOf),
  format_map: (self, call) => {
    const { mapping } = bind('format_map', call, ['mapping']);
    if (!(mapping instanceof Dict)) return fail('format_map needs a dict');
    return braceFormat(self, [], (name) => either(mapping.get(name), () => fail(`'${name}'`)), fieldOf);
  },
};

function justified(self: string, call: Call, where: 'left' | 'right' | 'center'): string {
  const { width, fillchar } = bind(where, call, ['width', 'fillchar?']);
  return text.justify(self, toInt(width, 0), toStr(fillchar, ' '), where);
}

function fieldOf(value: Value, name: string, isItem: boolean): Value {
  if (!isItem)
    return either(attributeOf(value, name), () => fail(`'${typeName(value)}' object has no attribute '${name}'`));
  if (value instanceof Dict) return either(value.get(name), () => fail(`'${name}'`));
  if (value instanceof List && /^\d+$/.test(name))
    return either(value.items[Number(name)], () => fail('list index out of range'));
  return fail(`'${typeName(value)}' object is not subscriptable`);
}

const DICT: Readonly<Record<string, Method<Dict>>> = {
  get: (self, call) => {
    const { key, default: other } = bind('get', call, ['key', 'default?']);
    return self.has(key) ? self.get(key)! : (other ?? null);
  },
  items: (self) =>
    new Iterable(
      'dict_items',
      self.entries().map((pair) => new Tuple(pair)),
    ),
  keys: (self) => new Iterable('dict_keys', self.keys()),
  values: (self) => new Iterable('dict_values', self.values()),
  copy: (self) => new Dict(self.entries()),
};

const LIST: Readonly<Record<string, Method<List>>> = {
  count: (self, call) => {
    const { value } = bind('count', call, ['value']);
    return BigInt(self.items.filter((item) => isEqual(item, value)).length);
  },
  index: (self, call) => {
    const { value } = bind('index', call, ['value']);
    const at = self.items.findIndex((item) => isEqual(item, value));
    return at >= 0 ? BigInt(at) : fail(`${str(value)} is not in list`);
  },
  copy: (self) => new List(self.items),
};

const CHANGING: Readonly<Record<string, readonly string[]>> = {
  list: ['append', 'clear', 'pop', 'reverse', 'insert', 'sort', 'extend', 'remove'],
  dict: ['clear', 'pop', 'popitem', 'setdefault', 'update'],
};

/** A value's attribute, undefined where Python's has none. */
export function attributeOf(value: Value, name: string): Value | undefined {
  if (name.startsWith('_'))
    return new Undefined(`access to attribute '${name}' of '${typeName(value)}' object is unsafe.`);
  const bound = <T extends Value>(methods: Readonly<Record<string, Method<T>>>, self: T) =>
    Object.hasOwn(methods, name) ? new Func(name, (call) => methods[name]!(self, call)) : undefined;
  if (typeof value === 'string') return bound(STRING, value);
  if (value instanceof Instance) return value.attributes.get(name);
  if (value instanceof Dict || value instanceof List) {
    if (CHANGING[value.typeName]?.includes(name)) {
      return new Func(name, () => fail(`${value.typeName}.${name} changes a value, which templates may not`));
    }
    if (value instanceof Dict) return bound(DICT, value);
    return name === 'copy' && value instanceof Tuple ? undefined : bound(LIST, value);
  }
  if (typeof value === 'number' && name === 'is_integer') return new Func(name, () => Number.isInteger(value));
  if (typeof value === 'bigint' && name === 'bit_length') {
    return new Func(name, () => BigInt(value === 0n ? 0 : (value < 0n ? -value : value).toString(2).length));
  }
  if ((typeof value === 'bigint' || typeof value === 'boolean') && (name === 'real' || name === 'numerator'))
    return fromJavaScript(Number(value));
  return undefined;
}
