/** @file Numbers and texts by Python's format specifications: `'%5.2f' % x`, `'{:>8,}'.format(x)`, `x|format`. */
import {
  asNumber,
  bounded,
  Dict,
  either,
  fail,
  floatRepr,
  isNumber,
  lengthOf,
  repr,
  str,
  Tuple,
  typeName,
  type Value,
} from './values.js';

const MAX_WIDTH = 100_000;

interface Spec {
  fill: string;
  align: string;
  sign: string;
  alternate: boolean;
  width: number;
  grouping: string;
  precision: number | null;
  type: string;
}

/** `format(value, spec)`. */
function formatSpec(value: Value, text: string): string {
  const found = /^(?:([\s\S])?([<>=^]))?([-+ ]?)z?(#?)(0?)(\d*)([,_]?)(?:\.(\d+))?([a-zA-Z%]?)$/u.exec(text);
  if (!found) return fail(`Invalid format specifier '${text}' for object of type '${typeName(value)}'`);
  const [, fill, align, sign, alternate, zero, width, grouping, precision, type] = found;
  const spec: Spec = {
    fill: fill ?? (zero && !align ? '0' : ' '),
    align: align ?? (zero ? '=' : ''),
    sign: sign || '-',
    alternate: alternate === '#',
    width: Number(width || 0),
    grouping: grouping ?? '',
    precision: precision === undefined ? null : Number(precision),
    type: type ?? '',
  };
  if (spec.width > MAX_WIDTH || (spec.precision ?? 0) > MAX_WIDTH) fail('Too many decimal digits in format string');
  if (isNumber(value) && !(typeof value === 'boolean' && spec.type === '' && text === ''))
    return formatNumber(value, spec);
  if (typeof value !== 'string' && text !== '' && !isNumber(value)) {
    fail(`unsupported format string passed to ${typeName(value)}.__format__`);
  }
  if (spec.type !== '' && spec.type !== 's') fail(`Unknown format code '${spec.type}' for object of type 'str'`);
  const shown = spec.precision === null ? str(value) : Array.from(str(value)).slice(0, spec.precision).join('');
  return pad(shown, '', { ...spec, align: spec.align || '<' });
}

function formatNumber(value: boolean | bigint | number, spec: Spec): string {
  const number = asNumber(value);
  const { type } = spec;
  let digits: string;
  let prefix = '';
  const isNegative = typeof number === 'bigint' ? number < 0n : number < 0 || Object.is(number, -0);
  if (type !== '' && 'bodxXnc'.includes(type)) {
    if (typeof number !== 'bigint') return fail(`Unknown format code '${type}' for object of type 'float'`);
    if (type === 'c') return pad(String.fromCodePoint(Number(number)), '', { ...spec, align: spec.align || '<' });
    const radix = { b: 2, o: 8, x: 16, X: 16 }[type] ?? 10;
    digits = (number < 0n ? -number : number).toString(radix);
    if (type === 'X') digits = digits.toUpperCase();
    if (spec.alternate && radix !== 10) prefix = `0${type}`;
  } else if (type === '' && typeof number === 'bigint') {
    digits = (number < 0n ? -number : number).toString();
  } else {
    digits = floatDigits(Math.abs(Number(number)), spec);
  }
  const signText = isNegative ? '-' : spec.sign === '-' ? '' : spec.sign;
  if (spec.grouping !== '') digits = grouped(digits, spec.grouping, 'boxX'.includes(type || '-') ? 4 : 3);
  return pad(digits, signText + prefix, { ...spec, align: spec.align || '>' });
}

function floatDigits(value: number, { type, precision, alternate }: Spec): string {
  const kind = type || 'r';
  if (!Number.isFinite(value)) {
    const text = Number.isNaN(value) ? 'nan' : 'inf';
    return /[A-Z]/.test(kind) ? text.toUpperCase() : text;
  }
  const places = Math.min(precision ?? 6, 100);
  switch (kind) {
    case 'f':
    case 'F':
      return fixed(value, precision ?? 6);
    case '%':
      return `${fixed(value * 100, precision ?? 6)}%`;
    case 'e':
    case 'E': {
      const text = exponent(value.toExponential(places));
      return kind === 'E' ? text.toUpperCase() : text;
    }
    case 'g':
    case 'G':
    case 'n': {
      const text = general(value, places || 1, alternate);
      return kind === 'G' ? text.toUpperCase() : text;
    }
    case 'r':
      if (precision === null) return floatRepr(value);
      return withPoint(general(value, places || 1, false));
    default:
      return fail(`Unknown format code '${type}' for object of type 'float'`);
  }
}

const exponent = (text: string) => text.replace(/e([+-])(\d)$/, 'e$10$2');

/** `toFixed` takes exact halves away from zero where Python rounds them to even; all else is the same. */
export function fixed(value: number, places: number): string {
  if (places > 100 || value >= 1e21) {
    const whole = BigInt(Math.trunc(value));
    return places === 0
      ? whole.toString()
      : `${value >= 1e21 ? whole : value.toFixed(100).split('.')[0]}.${(value >= 1e21 ? '' : value.toFixed(100).split('.')[1]!).padEnd(places, '0')}`;
  }
  const text = value.toFixed(places);
  // A double that ends in an exact half at this place has few binary digits, so twenty more decimals show it exactly.
  const more = value.toFixed(Math.min(100, places + 25));
  const rest = more.slice(more.length - Math.min(25, 100 - places));
  if (!/^50*$/.test(rest)) return text;
  const down = places === 0 ? more.split('.')[0]! : more.slice(0, more.length - rest.length);
  return /[02468]\.?$/.test(down) ? down.replace(/\.$/, '') : text;
}

function general(value: number, places: number, keepsZeros: boolean): string {
  if (value === 0) return keepsZeros ? `0.${'0'.repeat(places - 1)}` : '0';
  const scientific = value.toExponential(places - 1);
  const power = Number(scientific.split('e')[1]);
  const strip = (text: string) => (keepsZeros || !text.includes('.') ? text : text.replace(/\.?0+$/, ''));
  if (power < -4 || power >= places) {
    const [mantissa, e] = exponent(scientific).split('e');
    return `${strip(mantissa!)}e${e}`;
  }
  return strip(fixed(value, places - 1 - power));
}

const withPoint = (text: string) => (/[.e]/.test(text) ? text : `${text}.0`);

function grouped(digits: string, separator: string, size: number): string {
  const [, whole, rest] = /^([0-9a-fA-F]*)(.*)$/.exec(digits)!;
  const parts: string[] = [];
  for (let end = whole!.length; end > 0; end -= size) parts.unshift(whole!.slice(Math.max(0, end - size), end));
  return parts.join(separator) + rest;
}

function pad(body: string, prefix: string, { fill, align, width }: Spec): string {
  const missing = width - lengthOf(body) - prefix.length;
  if (missing <= 0) return prefix + body;
  switch (align) {
    case '<':
      return prefix + body + fill.repeat(missing);
    case '^':
      return fill.repeat(Math.floor(missing / 2)) + prefix + body + fill.repeat(missing - Math.floor(missing / 2));
    case '=':
      return prefix + fill.repeat(missing) + body;
    default:
      return fill.repeat(missing) + prefix + body;
  }
}

/** `text % values`. */
export function percentFormat(text: string, values: Value, named?: ReadonlyMap<string, Value>): string {
  const mapping = named && named.size > 0 ? new Dict([...named]) : values;
  const list = values instanceof Tuple ? values.items : [values];
  let next = 0;
  const out = text.replace(
    /%(?:\(([^)]*)\))?([-+ #0]*)(\*|\d+)?(?:\.(\*|\d+))?([hlL]?)([\s\S]?)/g,
    (
      _,
      key: string | undefined,
      flags: string,
      width: string | undefined,
      precision: string | undefined,
      _size,
      type: string,
    ) => {
      if (type === '%') return '%';
      if (type === '') return fail('incomplete format');
      const take = () => (next < list.length ? list[next++]! : fail('not enough arguments for format string'));
      const w = width === '*' ? String(take()) : (width ?? '');
      const p = precision === '*' ? String(take()) : precision;
      let value: Value;
      if (key === undefined) value = take();
      else if (mapping instanceof Dict) {
        value = either(mapping.get(key), () => fail(`'${key}'`));
        next = list.length;
      } else return fail('format requires a mapping');
      return oneValue(value, flags, w, p, type);
    },
  );
  if (next < list.length && !(values instanceof Dict) && !(named && named.size > 0)) {
    fail('not all arguments converted during string formatting');
  }
  return bounded(out);
}

function oneValue(value: Value, flags: string, width: string, precision: string | undefined, type: string): string {
  const align = flags.includes('-') ? '<' : flags.includes('0') && !'sra'.includes(type) ? '=' : '>';
  const fill = align === '=' ? '0' : ' ';
  const sign = flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : '';
  const spec = (kind: string, places = precision) =>
    `${fill}${align}${sign}${width}${places === undefined ? '' : `.${places}`}${kind}`;
  switch (type) {
    case 's':
      return formatSpec(str(value), `${fill}${align}${width}${precision === undefined ? '' : `.${precision}`}`);
    case 'r':
    case 'a':
      return formatSpec(repr(value), `${fill}${align}${width}${precision === undefined ? '' : `.${precision}`}`);
    case 'c':
      return formatSpec(
        typeof value === 'bigint' ? String.fromCodePoint(Number(value)) : str(value),
        `${fill}${align}${width}`,
      );
    case 'd':
    case 'i':
    case 'u': {
      if (!isNumber(value)) return fail(`%${type} format: a real number is required, not ${typeName(value)}`);
      const number = asNumber(value);
      const whole = typeof number === 'bigint' ? number : BigInt(Math.trunc(number));
      if (precision === undefined) return formatSpec(whole, spec('d'));
      const digits = (whole < 0n ? -whole : whole).toString().padStart(Number(precision), '0');
      return formatSpec(`${whole < 0n ? '-' : sign}${digits}`, `${align === '=' ? '>' : align}${width}`);
    }
    case 'o':
    case 'x':
    case 'X':
      if (typeof value !== 'bigint' && typeof value !== 'boolean')
        return fail(`%${type} format: an integer is required, not ${typeName(value)}`);
      return formatSpec(value, `${fill}${align}${sign}${flags.includes('#') ? '#' : ''}${width}${type}`);
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
      if (!isNumber(value)) return fail(`must be real number, not ${typeName(value)}`);
      return formatSpec(Number(asNumber(value)), spec(type, precision ?? '6'));
    default:
      return fail(`unsupported format character '${type}'`);
  }
}

/** `text.format(*args, **named)`. */
export function braceFormat(
  text: string,
  args: readonly Value[],
  named: (name: string) => Value,
  attribute: (value: Value, name: string, isItem: boolean) => Value,
): string {
  let next = 0;
  const one = (field: string, depth: number): string => {
    const [, name, path, conversion, spec] =
      /^([^!:.[]*)((?:\.[^.[!:]+|\[[^\]]*\])*)(?:!([rsa]))?(?::([\s\S]*))?$/.exec(field) ??
      fail(`expected '}' before end of string`);
    let value: Value;
    if (name === '' || /^\d+$/.test(name!)) {
      const at = name === '' ? next++ : Number(name);
      value = at < args.length ? args[at]! : fail('Replacement index out of range for positional args tuple');
    } else value = named(name!);
    for (const [, dotted, item] of path!.matchAll(/\.([^.[]+)|\[([^\]]*)\]/g))
      value = attribute(value, dotted ?? item!, dotted === undefined);
    if (conversion) value = conversion === 's' ? str(value) : repr(value);
    return formatSpec(value, expand(spec ?? '', depth + 1));
  };
  const expand = (source: string, depth: number): string => {
    if (depth > 2) return fail('Max string recursion exceeded');
    let out = '';
    for (let at = 0; at < source.length; at++) {
      const c = source[at]!;
      if ((c === '{' || c === '}') && source[at + 1] === c && depth === 0) {
        out += c;
        at++;
      } else if (c === '{') {
        let level = 1;
        const start = at + 1;
        for (at = start; at < source.length && level > 0; at++)
          level += source[at] === '{' ? 1 : source[at] === '}' ? -1 : 0;
        if (level > 0) return fail("expected '}' before end of string");
        at--;
        out += one(source.slice(start, at), depth);
      } else if (c === '}') return fail("Single '}' encountered in format string");
      else out += c;
    }
    return bounded(out);
  };
  return expand(text, 0);
}
