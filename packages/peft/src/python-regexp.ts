/**
 * @file Regular expressions written for Python's `re`, as adapter_config.json has them, matched in linear time: what the two languages spell
 * differently is translated, what this matcher cannot do (back references, possessive and atomic parts, conditions) is refused by name.
 */
import { AdapterError } from './errors.js';
import { type LinearMatch, LinearRegExp } from './linear-regexp.js';

export class PythonRegExp {
  readonly #start: LinearRegExp;
  readonly #whole: LinearRegExp;

  /** @throws AdapterError naming `field` when it is no valid expression, or one that cannot be matched here. */
  constructor(source: string, field: string) {
    try {
      const translated = new Translation(source).result();
      this.#start = new LinearRegExp(translated.source, translated.flags);
      this.#whole = new LinearRegExp(`(?:${translated.source})(?![\\s\\S])`, translated.flags);
    } catch (cause) {
      if (!(cause instanceof SyntaxError)) throw cause;
      const shown = source.length > 100 ? `${source.slice(0, 100)}…` : source;
      throw new AdapterError(
        `${field}: '${shown}' is no regular expression that can be matched here: ${cause.message.slice(0, 200)}`,
        cause,
      );
    }
  }

  /** As `re.match`: anchored at the start only. */
  match(text: string): LinearMatch | null {
    return this.#start.matchStart(text);
  }

  /** As `re.fullmatch`. */
  fullMatch(text: string): boolean {
    return this.#whole.matchStart(text) !== null;
  }
}

/** What Python's classes mean for text, inside brackets. */
const SETS: Readonly<Record<string, string>> = {
  d: '\\p{Nd}',
  w: '\\p{L}\\p{N}_',
  s: '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000',
};
const CONTROLS: Readonly<Record<string, string>> = { a: '\x07', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

/** One pass over Python's syntax that writes JavaScript's (with the flag `u`). */
class Translation {
  #at = 0;
  #flags: ReadonlySet<string> = new Set();
  readonly #open: ReadonlySet<string>[] = [];

  constructor(private readonly text: string) {}

  result(): { source: string; flags: string } {
    const global = /^\(\?([a-zA-Z]+)\)/.exec(this.text);
    let flags = '';
    if (global) {
      for (const flag of global[1]!) {
        if (!'aimsu'.includes(flag)) throw new SyntaxError(`the flag '${flag}' is not supported`);
        if (flag === 'i') flags = 'i';
      }
      this.#flags = new Set(global[1]);
      this.#at = global[0].length;
    }
    let source = '';
    while (this.#at < this.text.length) source += this.#piece();
    return { source, flags };
  }

  #next(): string {
    const point = this.text.codePointAt(this.#at)!;
    const c = String.fromCodePoint(point);
    this.#at += c.length;
    return c;
  }

  #take(pattern: RegExp): RegExpExecArray | null {
    const sticky = new RegExp(pattern.source, 'y');
    sticky.lastIndex = this.#at;
    const found = sticky.exec(this.text);
    if (found) this.#at = sticky.lastIndex;
    return found;
  }

  #piece(): string {
    const c = this.#next();
    switch (c) {
      case '\\':
        return this.#escape(false);
      case '[':
        return this.#set();
      case '(':
        return this.#group();
      case ')':
        this.#flags = this.#open.pop() ?? this.#flags;
        return ')';
      case '.':
        return this.#flags.has('s') ? '[\\s\\S]' : '[^\\n]';
      case '^':
        return this.#flags.has('m') ? '(?:(?<![\\s\\S])|(?<=\\n))' : '(?<![\\s\\S])';
      case '$':
        return this.#flags.has('m') ? '(?=\\n|(?![\\s\\S]))' : '(?=\\n?(?![\\s\\S]))';
      case '*':
      case '+':
      case '?':
        return this.#repeat(c);
      case '{': {
        const counts = this.#take(/(\d*)(?:(,)(\d*))?\}/);
        if (!counts || counts[0] === '}') {
          if (counts) this.#at -= 1;
          return '\\{';
        }
        const [, low, comma, high] = counts;
        return this.#repeat(`{${low || '0'}${comma ?? ''}${high ?? ''}}`);
      }
      case '|':
        return '|';
      default:
        return literal(c);
    }
  }

  #repeat(quantifier: string): string {
    if (this.#take(/\+/)) throw new SyntaxError(`possessive repetition '${quantifier}+' is not supported`);
    return quantifier + (this.#take(/\?/) ? '?' : '');
  }

  #group(): string {
    this.#open.push(this.#flags);
    if (!this.#take(/\?/)) return '(';
    const simple = this.#take(/:|=|!|<=|<!/);
    if (simple) return `(?${simple[0]}`;
    const name = this.#take(/P<([A-Za-z_]\w*)>/);
    if (name) return `(?<${name[1]}>`;
    if (this.#take(/#[^)]*\)/)) {
      this.#open.pop();
      return '';
    }
    const reference = this.#take(/P=(\w*)\)/);
    if (reference) throw new SyntaxError(`the back reference '(?P=${reference[1]})' cannot be matched in linear time`);
    const flags = this.#take(/([a-zA-Z]*)(?:-([a-zA-Z]+))?:/);
    if (flags) {
      const [, on = '', off = ''] = flags;
      const unknown = [...on, ...off].find((f) => !'aimsu'.includes(f));
      if (unknown) throw new SyntaxError(`the flag '${unknown}' is not supported`);
      const next = new Set(this.#flags);
      for (const f of on) next.add(f);
      for (const f of off) next.delete(f);
      this.#flags = next;
      return on.includes('i') ? '(?i:' : off.includes('i') ? '(?-i:' : '(?:';
    }
    throw new SyntaxError(`the group '(?${this.text.slice(this.#at, this.#at + 8)}' is not supported`);
  }

  /** What follows a backslash; in a set, as its part. */
  #escape(inSet: boolean): string {
    if (this.#at >= this.text.length) throw new SyntaxError('it ends in a backslash');
    const octal = this.#take(/0[0-7]{0,2}|[0-3][0-7]{2}/);
    if (octal) return literal(String.fromCharCode(Number.parseInt(octal[0], 8)));
    const hex = this.#take(/x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})/);
    if (hex) {
      const point = Number.parseInt(hex[1] ?? hex[2] ?? hex[3]!, 16);
      if (point > 0x10ffff) throw new SyntaxError(`'\\${hex[0]}' is no character`);
      return literal(String.fromCodePoint(point));
    }
    const reference = this.#take(/[1-9]\d?/);
    if (reference) throw new SyntaxError(`the back reference '\\${reference[0]}' cannot be matched in linear time`);
    const c = this.#next();
    if (Object.hasOwn(CONTROLS, c)) return literal(CONTROLS[c]!);
    const set = SETS[c.toLowerCase()];
    if (set !== undefined && /[dwsDWS]/.test(c)) {
      if (c === c.toLowerCase()) return inSet ? set : `[${set}]`;
      if (!inSet) return `[^${set}]`;
      if (c === 'D') return '\\P{Nd}';
      throw new SyntaxError(`'\\${c}' inside brackets is not supported`);
    }
    if (inSet && c === 'b') return '\\x08';
    if (!inSet) {
      if (c === 'A') return '(?<![\\s\\S])';
      if (c === 'Z' || c === 'z') return '(?![\\s\\S])';
      if (c === 'b' || c === 'B') return `\\${c}`;
    }
    if (/[A-Za-z0-9]/.test(c)) throw new SyntaxError(`'\\${c}' is no escape`);
    return literal(c);
  }

  #set(): string {
    let inside = this.#take(/\^/) ? '^' : '';
    const begin = this.#at;
    for (let isFirst = true; ; isFirst = false) {
      if (this.#at >= this.text.length)
        throw new SyntaxError(`the set '[${this.text.slice(begin, begin + 8)}' has no end`);
      const low = this.#member(isFirst);
      if (low === null) return `[${inside}]`;
      if (this.text[this.#at] === '-' && this.text[this.#at + 1] !== undefined && this.text[this.#at + 1] !== ']') {
        this.#at++;
        const high = this.#member(true)!;
        inside += `${low}-${high}`;
      } else inside += low;
    }
  }

  /** One member of a set, or null at its end. */
  #member(isFirst: boolean): string | null {
    const c = this.#next();
    if (c === ']' && !isFirst) return null;
    return c === '\\' ? this.#escape(true) : literal(c);
  }
}

/** A character as itself, in a set or outside. */
function literal(c: string): string {
  return /^[\^$\\.*+?()[\]{}|/-]$/.test(c) ? `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}` : c;
}
