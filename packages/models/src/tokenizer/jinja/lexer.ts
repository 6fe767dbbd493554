/**
 * @file The tokens of a Jinja template, as jinja2's lexer (3.1) gives them with `trim_blocks` and `lstrip_blocks`, which transformers sets.
 *
 * Why not `@huggingface/jinja` (0.5.11): of 100 constructs that were compared, its lexer, parser and runtime each got some wrong (chained
 * comparisons, tests with arguments, `{%+`, `None` and `True` as text, `strip` with characters, scopes of macros, endless loops), and it has
 * no seam where they could be mended. So this is jinja2's grammar and Python's values, held against recordings of both.
 */

export class TemplateSyntaxError extends Error {
  override readonly name = 'TemplateSyntaxError';
}

export interface Token {
  readonly type:
    | 'data'
    | 'block_begin'
    | 'block_end'
    | 'variable_begin'
    | 'variable_end'
    | 'name'
    | 'string'
    | 'integer'
    | 'float'
    | 'operator'
    | 'end';
  readonly value: string;
  readonly line: number;
}

const OPERATORS = ['//', '**', '==', '!=', '>=', '<=', ...'+-/*%~[](){}><=.:|,;'];
/** Python's white space. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: among it are four control characters.
const SPACE = /[\s\u001c-\u001f\u0085]/;
const FLOAT = /(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy;
const INTEGER = /0b(?:_?[0-1])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy;
const NAME = /[\p{L}\p{N}\p{M}_]+/uy;
const CLOSING: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };

/** @throws TemplateSyntaxError */
export function tokenize(template: string): Token[] {
  let source = template.replace(/\r\n|\r/g, '\n');
  if (source.endsWith('\n')) source = source.slice(0, -1);
  return new Lexer(source).run();
}

class Lexer {
  readonly #tokens: Token[] = [];
  #at = 0;
  #line = 1;

  constructor(private readonly source: string) {}

  run(): Token[] {
    let lineStarts = true;
    for (;;) {
      const open = this.#nextOpening();
      if (open < 0) {
        this.#data(this.source.slice(this.#at));
        this.#push('end', '');
        return this.#tokens;
      }
      const kind = this.source[open + 1]!;
      const sign = this.source[open + 2];
      let text = this.source.slice(this.#at, open);
      if (sign === '-') text = trimEnd(text);
      else if (sign !== '+' && kind !== '{') {
        const start = text.lastIndexOf('\n') + 1;
        if ((start > 0 || lineStarts) && isBlank(text, start)) text = text.slice(0, start);
      }
      this.#data(text);
      this.#at = open + 2 + (sign === '-' || sign === '+' ? 1 : 0);
      if (kind === '#') this.#comment();
      else if (kind === '%' && this.#rawBegin()) this.#raw();
      else this.#tag(kind);
      lineStarts = this.source[this.#at - 1] === '\n';
    }
  }

  #nextOpening(): number {
    for (let at = this.source.indexOf('{', this.#at); at >= 0; at = this.source.indexOf('{', at + 1)) {
      const next = this.source[at + 1];
      if (next === '%' || next === '{' || next === '#') return at;
    }
    return -1;
  }

  #data(text: string): void {
    if (text !== '') this.#push('data', text);
    this.#count(text);
  }

  #count(text: string): void {
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#line++;
  }

  #push(type: Token['type'], value: string): void {
    this.#tokens.push({ type, value, line: this.#line });
  }

  #fail(message: string): never {
    throw new TemplateSyntaxError(`${message} (line ${this.#line})`);
  }

  #comment(): void {
    const end = this.source.indexOf('#}', this.#at);
    if (end < 0) this.#fail('Missing end of comment tag');
    this.#count(this.source.slice(this.#at, end));
    this.#closed(end, true);
  }

  /** Goes on behind an end at `end`, of which a sign before it says what is trimmed. */
  #closed(end: number, trims: boolean): void {
    const sign = end > 0 ? this.source[end - 1] : '';
    let after = end + 2;
    if (sign === '-') {
      while (after < this.source.length && SPACE.test(this.source[after]!)) after++;
    } else if (trims && sign !== '+' && this.source[after] === '\n') after++;
    this.#count(this.source.slice(end, after));
    this.#at = after;
  }

  #rawBegin(): boolean {
    const found = sticky(/\s*raw\s*(-?)%\}/y, this.source, this.#at);
    if (!found) return false;
    this.#at += found[0].length;
    if (found[1] === '-') while (SPACE.test(this.source[this.#at] ?? '')) this.#at++;
    return true;
  }

  #raw(): void {
    for (let at = this.source.indexOf('{%', this.#at); at >= 0; at = this.source.indexOf('{%', at + 2)) {
      const found = sticky(/\{%([-+]?)\s*endraw\s*([-+]?)%\}/y, this.source, at);
      if (!found) continue;
      let text = this.source.slice(this.#at, at);
      if (found[1] === '-') text = trimEnd(text);
      else if (found[1] !== '+') {
        const start = text.lastIndexOf('\n') + 1;
        if (start > 0 && isBlank(text, start)) text = text.slice(0, start);
      }
      this.#data(text);
      this.#closed(at + found[0].length - 2, true);
      return;
    }
    this.#fail('Missing end of raw directive');
  }

  #tag(kind: string): void {
    const isBlock = kind === '%';
    this.#push(isBlock ? 'block_begin' : 'variable_begin', '');
    const end = isBlock ? '%}' : '}}';
    const open: string[] = [];
    for (;;) {
      const c = this.source[this.#at];
      if (c === undefined) this.#fail(`unexpected end of template, expected '${end}'`);
      if (SPACE.test(c)) {
        if (c === '\n') this.#line++;
        this.#at++;
        continue;
      }
      if (open.length === 0) {
        const signed = c === '-' || (c === '+' && isBlock) ? 1 : 0;
        if (this.source.startsWith(end, this.#at + signed)) {
          this.#push(isBlock ? 'block_end' : 'variable_end', '');
          this.#closed(this.#at + signed, isBlock);
          return;
        }
      }
      this.#inside(c, open);
    }
  }

  #inside(c: string, open: string[]): void {
    const previous = this.source[this.#at - 1];
    const float = previous === '.' ? null : sticky(FLOAT, this.source, this.#at);
    const found = float ?? sticky(INTEGER, this.source, this.#at);
    if (found && /\d/.test(c)) {
      this.#push(float ? 'float' : 'integer', found[0].replaceAll('_', ''));
      this.#at += found[0].length;
      return;
    }
    const name = sticky(NAME, this.source, this.#at);
    if (name) {
      this.#push('name', name[0]);
      this.#at += name[0].length;
      return;
    }
    if (c === '"' || c === "'") {
      this.#string(c);
      return;
    }
    const operator = OPERATORS.find((o) => this.source.startsWith(o, this.#at));
    if (operator === undefined) this.#fail(`unexpected char '${c}'`);
    if (CLOSING[operator]) open.push(CLOSING[operator]);
    else if (')]}'.includes(operator)) {
      const wanted = open.pop();
      if (wanted !== operator) {
        this.#fail(`unexpected '${operator}'${wanted === undefined ? '' : `, expected '${wanted}'`}`);
      }
    }
    this.#push('operator', operator);
    this.#at += operator.length;
  }

  #string(quote: string): void {
    const start = this.#at + 1;
    let end = start;
    while (this.source[end] !== quote) {
      if (end >= this.source.length) this.#fail(`unexpected char '${quote}'`);
      end += this.source[end] === '\\' ? 2 : 1;
    }
    const raw = this.source.slice(start, end);
    this.#push(
      'string',
      unescaped(raw, (message) => this.#fail(message)),
    );
    this.#count(raw);
    this.#at = end + 1;
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\n': '',
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}; // prettier-ignore

/** As Python's `unicode-escape` decodes. */
function unescaped(raw: string, fail: (message: string) => never): string {
  return raw.replace(
    /\\(?:([0-7]{1,3})|x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([\s\S]))/g,
    (whole, octal?: string, x?: string, u?: string, U?: string, other?: string) => {
      if (octal !== undefined) return String.fromCodePoint(Number.parseInt(octal, 8));
      const hex = x ?? u ?? U;
      if (hex !== undefined) {
        const point = Number.parseInt(hex, 16);
        return point > 0x10ffff ? fail('illegal Unicode character') : String.fromCodePoint(point);
      }
      if (other === 'x' || other === 'u' || other === 'U') return fail(`truncated \\${other} escape`);
      if (other === 'N') return fail('\\N{…} is not supported');
      return ESCAPES[other!] ?? whole;
    },
  );
}

function sticky(expression: RegExp, text: string, at: number): RegExpExecArray | null {
  expression.lastIndex = at;
  return expression.exec(text);
}

function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && SPACE.test(text[end - 1]!)) end--;
  return text.slice(0, end);
}

function isBlank(text: string, from: number): boolean {
  if (from >= text.length) return false;
  for (let at = from; at < text.length; at++) if (!SPACE.test(text[at]!)) return false;
  return true;
}
