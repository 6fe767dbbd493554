/**
 * @file jinja2's grammar (`parser.py` of 3.1): the same precedences, and its oddities, e.g. that `**` groups to the left. One grammar whose
 * rules call each other: so it is long.
 */
import type { Arguments, Body, Expression, Parameters, Statement, Target } from './ast.js';
import { TemplateSyntaxError, type Token, tokenize } from './lexer.js';

/** Deeper ones come from nobody's hand and would overflow the stack. */
const MAX_DEPTH = 150;
const NO_ARGUMENTS: Arguments = { positional: [], named: [], star: null, doubleStar: null };
const COMPARISONS = ['==', '!=', '<', '<=', '>', '>='];

/** @throws TemplateSyntaxError */
export function parseTemplate(template: string): Body {
  return new Parser(tokenize(template)).template();
}

class Parser {
  #at = 0;
  #depth = 0;

  constructor(private readonly tokens: readonly Token[]) {}

  template(): Body {
    const body = this.#body([]);
    if (this.#token.type !== 'end') this.#fail(`unexpected '${this.#describe()}'`);
    return body;
  }

  get #token(): Token {
    return this.tokens[this.#at]!;
  }

  #fail(message: string): never {
    throw new TemplateSyntaxError(`${message} (line ${this.#token.line})`);
  }

  #describe(): string {
    return this.#token.value || this.#token.type.replace('_', ' ');
  }

  #is(type: Token['type'], value?: string): boolean {
    return this.#token.type === type && (value === undefined || this.#token.value === value);
  }

  #skip(type: Token['type'], value?: string): boolean {
    if (!this.#is(type, value)) return false;
    this.#at++;
    return true;
  }

  #expect(type: Token['type'], value?: string): Token {
    const token = this.#token;
    if (!this.#skip(type, value))
      this.#fail(`expected '${value ?? type.replace('_', ' ')}', got '${this.#describe()}'`);
    return token;
  }

  /** Runs `parse` one level deeper. */
  #deeper<T>(parse: () => T): T {
    if (++this.#depth > MAX_DEPTH) this.#fail(`nested more than ${MAX_DEPTH} levels deep`);
    try {
      return parse();
    } finally {
      this.#depth--;
    }
  }

  /** Statements up to a block tag whose name is one of `ends`; that tag's name is then the current token. */
  #body(ends: readonly string[]): Body {
    return this.#deeper(() => {
      const body: Statement[] = [];
      for (;;) {
        if (this.#is('data')) {
          body.push({ type: 'data', text: this.#token.value });
          this.#at++;
        } else if (this.#skip('variable_begin')) {
          body.push({ type: 'print', value: this.#tuple() });
          this.#expect('variable_end');
        } else if (this.#is('block_begin')) {
          const name = this.tokens[this.#at + 1]!;
          if (name.type === 'name' && ends.includes(name.value)) {
            this.#at++;
            return body;
          }
          if (name.type === 'name' && name.value.startsWith('end') && ends.length === 0) {
            this.#fail(`Encountered unknown tag '${name.value}'`);
          }
          this.#at++;
          body.push(this.#statement());
          this.#expect('block_end');
        } else {
          if (ends.length > 0) this.#fail(`Unexpected end of template; wanted '${ends.join("' or '")}'`);
          return body;
        }
      }
    });
  }

  /** The body of a block that ends with `end`, which is taken too. */
  #until(...ends: string[]): Body {
    this.#expect('block_end');
    const body = this.#body(ends);
    if (ends.length === 1) this.#at++;
    return body;
  }

  #statement(): Statement {
    const { value: name } = this.#expect('name');
    switch (name) {
      case 'for':
        return this.#for();
      case 'if':
        return this.#if();
      case 'set': {
        const target = this.#target(true);
        if (this.#skip('operator', '=')) return { type: 'set', target, value: this.#tuple() };
        const filter = this.#filters(null, true);
        return { type: 'setBlock', target, filter, body: this.#until('endset') };
      }
      case 'macro': {
        const macro = this.#expect('name').value;
        const parameters = this.#parameters();
        return { type: 'macro', name: macro, parameters, body: this.#until('endmacro') };
      }
      case 'call': {
        const parameters = this.#is('operator', '(') ? this.#parameters() : { names: [], defaults: [] };
        const call = this.#expression();
        if (call.type !== 'call') this.#fail('expected call');
        return { type: 'callBlock', call, parameters, body: this.#until('endcall') };
      }
      case 'filter': {
        const filter = this.#filters(null, false);
        return { type: 'filterBlock', filter: filter!, body: this.#until('endfilter') };
      }
      case 'with': {
        const values: [Target, Expression][] = [];
        while (!this.#is('block_end')) {
          if (values.length > 0) this.#expect('operator', ',');
          const target = this.#target(false);
          this.#expect('operator', '=');
          values.push([target, this.#expression()]);
        }
        return { type: 'with', values, body: this.#until('endwith') };
      }
      case 'print':
        return { type: 'print', value: this.#tuple() };
      case 'generation':
        return { type: 'scope', body: this.#until('endgeneration') };
      case 'block': {
        this.#expect('name');
        const body = this.#until('endblock');
        this.#skip('name');
        return { type: 'scope', body };
      }
      case 'break':
      case 'continue':
        return { type: name };
      case 'include':
      case 'import':
      case 'from':
      case 'extends':
      case 'autoescape':
        return this.#fail(`the tag '${name}' is not supported here`);
      default:
        return this.#fail(`Encountered unknown tag '${name}'`);
    }
  }

  #for(): Statement {
    const target = this.#target(false, 'in');
    this.#expect('name', 'in');
    const iterable = this.#tuple(false, 'recursive');
    const test = this.#skip('name', 'if') ? this.#expression() : null;
    const recursive = this.#skip('name', 'recursive');
    const body = this.#until('endfor', 'else');
    const otherwise = this.#skip('name', 'else') ? this.#until('endfor') : this.#endsFor();
    return { type: 'for', target, iterable, test, recursive, body, otherwise };
  }

  /** Takes the `endfor` of a loop without `else`. */
  #endsFor(): Body {
    this.#at++;
    return [];
  }

  #if(): Statement {
    const branches: [Expression, Body][] = [];
    for (;;) {
      const test = this.#tuple(false);
      branches.push([test, this.#until('elif', 'else', 'endif')]);
      if (this.#skip('name', 'elif')) continue;
      if (this.#skip('name', 'else')) return { type: 'if', branches, otherwise: this.#until('endif') };
      this.#at++;
      return { type: 'if', branches, otherwise: [] };
    }
  }

  #target(withNamespace: boolean, end?: string): Target {
    const one = (): Target => {
      if (this.#skip('operator', '(')) {
        const inner = this.#target(withNamespace);
        this.#expect('operator', ')');
        return inner;
      }
      const { value: name } = this.#expect('name');
      if (withNamespace && this.#skip('operator', '.')) {
        return { type: 'namespace', name, attribute: this.#expect('name').value };
      }
      if (/^(true|false|none|True|False|None)$/.test(name)) this.#fail(`can't assign to '${name}'`);
      return { type: 'name', name };
    };
    const items = [one()];
    let isTuple = false;
    while (this.#skip('operator', ',')) {
      isTuple = true;
      if (this.#is('operator', '=') || this.#is('operator', ')') || (end !== undefined && this.#is('name', end))) break;
      items.push(one());
    }
    return isTuple ? { type: 'targets', items } : items[0]!;
  }

  #parameters(): Parameters {
    const names: string[] = [];
    const defaults: Expression[] = [];
    this.#expect('operator', '(');
    while (!this.#is('operator', ')')) {
      if (names.length > 0) this.#expect('operator', ',');
      names.push(this.#expect('name').value);
      if (this.#skip('operator', '=')) defaults.push(this.#expression());
      else if (defaults.length > 0) this.#fail('non-default argument follows default argument');
    }
    this.#expect('operator', ')');
    return { names, defaults };
  }

  /** One expression, or several with commas between as a tuple. */
  #tuple(withCondition = true, end?: string, isInParentheses = false): Expression {
    const items: Expression[] = [];
    let isTuple = false;
    const isEnd = () =>
      this.#is('variable_end') ||
      this.#is('block_end') ||
      this.#is('operator', ')') ||
      (end !== undefined && this.#is('name', end));
    for (;;) {
      if (items.length > 0) this.#expect('operator', ',');
      if (isEnd()) break;
      items.push(withCondition ? this.#expression() : this.#or());
      if (!this.#is('operator', ',')) break;
      isTuple = true;
    }
    if (isTuple) return { type: 'tuple', items };
    if (items.length > 0) return items[0]!;
    if (!isInParentheses) this.#fail(`Expected an expression, got '${this.#describe()}'`);
    return { type: 'tuple', items };
  }

  #expression(): Expression {
    return this.#deeper(() => {
      let value = this.#or();
      while (this.#skip('name', 'if')) {
        const test = this.#or();
        const no = this.#skip('name', 'else') ? this.#expression() : null;
        value = { type: 'if', test, yes: value, no };
      }
      return value;
    });
  }

  #or(): Expression {
    let left = this.#and();
    while (this.#skip('name', 'or')) left = { type: 'or', left, right: this.#and() };
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.#skip('name', 'and')) left = { type: 'and', left, right: this.#not() };
    return left;
  }

  #not(): Expression {
    if (this.#skip('name', 'not')) return this.#deeper(() => ({ type: 'not', value: this.#not() }));
    return this.#compare();
  }

  #compare(): Expression {
    const first = this.#sum();
    const rest: [string, Expression][] = [];
    for (;;) {
      const { type, value } = this.#token;
      const next = this.tokens[this.#at + 1];
      if (type === 'operator' && COMPARISONS.includes(value)) {
        this.#at++;
        rest.push([value, this.#sum()]);
      } else if (this.#skip('name', 'in')) rest.push(['in', this.#sum()]);
      else if (this.#is('name', 'not') && next?.type === 'name' && next.value === 'in') {
        this.#at += 2;
        rest.push(['not in', this.#sum()]);
      } else break;
    }
    return rest.length === 0 ? first : { type: 'compare', first, rest };
  }

  #operators(operators: readonly string[], next: () => Expression): Expression {
    let left = next();
    while (this.#token.type === 'operator' && operators.includes(this.#token.value)) {
      const operator = this.#token.value;
      this.#at++;
      left = { type: 'binary', operator, left, right: next() };
    }
    return left;
  }

  #sum(): Expression {
    return this.#operators(['+', '-'], () => this.#concat());
  }

  #concat(): Expression {
    const items = [this.#product()];
    while (this.#skip('operator', '~')) items.push(this.#product());
    return items.length === 1 ? items[0]! : { type: 'concat', items };
  }

  #product(): Expression {
    return this.#operators(['*', '/', '//', '%'], () => this.#power());
  }

  #power(): Expression {
    return this.#operators(['**'], () => this.#unary(true));
  }

  #unary(withFilters: boolean): Expression {
    return this.#deeper(() => {
      let value: Expression;
      if (this.#skip('operator', '-')) value = { type: 'negative', value: this.#unary(false) };
      else if (this.#skip('operator', '+')) value = { type: 'positive', value: this.#unary(false) };
      else value = this.#primary();
      value = this.#postfix(value);
      return withFilters ? this.#filterExpression(value) : value;
    });
  }

  #primary(): Expression {
    const token = this.#token;
    this.#at++;
    switch (token.type) {
      case 'name':
        if (/^[tT]rue$/.test(token.value)) return { type: 'const', value: true };
        if (/^[fF]alse$/.test(token.value)) return { type: 'const', value: false };
        if (/^[nN]one$/.test(token.value)) return { type: 'const', value: null };
        return { type: 'name', name: token.value };
      case 'string': {
        let { value } = token;
        for (; this.#is('string'); this.#at++) value += this.#token.value;
        return { type: 'const', value };
      }
      case 'integer':
        if (token.value.length > 4300) this.#fail('an integer of more than 4,300 digits');
        return { type: 'const', value: BigInt(token.value) };
      case 'float':
        return { type: 'const', value: Number(token.value) };
      case 'operator':
        if (token.value === '(') {
          const value = this.#tuple(true, undefined, true);
          this.#expect('operator', ')');
          return value;
        }
        if (token.value === '[') return { type: 'list', items: this.#list(']', () => this.#expression()) };
        if (token.value === '{') {
          const items = this.#list('}', () => {
            const key = this.#expression();
            this.#expect('operator', ':');
            return [key, this.#expression()] as const;
          });
          return { type: 'dict', items };
        }
    }
    this.#at--;
    return this.#fail(`unexpected '${this.#describe()}'`);
  }

  #list<T>(end: string, item: () => T): T[] {
    const items: T[] = [];
    while (!this.#skip('operator', end)) {
      if (items.length > 0) {
        this.#expect('operator', ',');
        if (this.#skip('operator', end)) break;
      }
      items.push(item());
    }
    return items;
  }

  #postfix(start: Expression): Expression {
    let value = start;
    for (;;) {
      if (this.#skip('operator', '.')) {
        const token = this.#token;
        if (this.#skip('name')) value = { type: 'attribute', value, name: token.value };
        else value = { type: 'item', value, key: { type: 'const', value: BigInt(this.#expect('integer').value) } };
      } else if (this.#skip('operator', '[')) {
        const keys = this.#list(']', () => this.#subscript());
        if (keys.length === 0) this.#fail('Expected subscript expression');
        value = { type: 'item', value, key: keys.length === 1 ? keys[0]! : { type: 'tuple', items: keys } };
      } else if (this.#is('operator', '(')) value = { type: 'call', value, args: this.#arguments() };
      else return value;
    }
  }

  #subscript(): Expression {
    const isColon = () => this.#is('operator', ':');
    const isOver = () => this.#is('operator', ']') || this.#is('operator', ',');
    const part = () => (isColon() || isOver() ? null : this.#expression());
    const start = part();
    if (!isColon()) return start ?? this.#fail('Expected subscript expression');
    this.#at++;
    const stop = part();
    const step = this.#skip('operator', ':') ? part() : null;
    return { type: 'slice', start, stop, step };
  }

  #arguments(): Arguments {
    const positional: Expression[] = [];
    const named: [string, Expression][] = [];
    let star: Expression | null = null;
    let doubleStar: Expression | null = null;
    this.#expect('operator', '(');
    for (let isFirst = true; !this.#skip('operator', ')'); isFirst = false) {
      if (!isFirst) {
        this.#expect('operator', ',');
        if (this.#skip('operator', ')')) break;
      }
      const next = this.tokens[this.#at + 1];
      if (this.#skip('operator', '**')) {
        if (doubleStar) this.#fail('invalid syntax for function call expression');
        doubleStar = this.#expression();
      } else if (this.#skip('operator', '*')) {
        if (star || doubleStar) this.#fail('invalid syntax for function call expression');
        star = this.#expression();
      } else if (this.#is('name') && next?.type === 'operator' && next.value === '=') {
        if (doubleStar) this.#fail('invalid syntax for function call expression');
        const { value } = this.#token;
        this.#at += 2;
        named.push([value, this.#expression()]);
      } else {
        if (star || doubleStar || named.length > 0) this.#fail('invalid syntax for function call expression');
        positional.push(this.#expression());
      }
    }
    return { positional, named, star, doubleStar };
  }

  #dotted(): string {
    let { value } = this.#expect('name');
    while (this.#skip('operator', '.')) value += `.${this.#expect('name').value}`;
    return value;
  }

  /** Filters with `|` before each, or the first without it; null where there is none. */
  #filters(start: Expression | null, needsPipe: boolean): Expression | null {
    let value = start;
    for (let isFirst = !needsPipe; isFirst || this.#skip('operator', '|'); isFirst = false) {
      const name = this.#dotted();
      value = { type: 'filter', value, name, args: this.#is('operator', '(') ? this.#arguments() : NO_ARGUMENTS };
    }
    return value;
  }

  #filterExpression(start: Expression): Expression {
    let value = start;
    for (;;) {
      if (this.#is('operator', '|')) value = this.#filters(value, true)!;
      else if (this.#is('name', 'is')) value = this.#test(value);
      else if (this.#is('operator', '(')) value = { type: 'call', value, args: this.#arguments() };
      else return value;
    }
  }

  #test(value: Expression): Expression {
    this.#at++;
    const isNegated = this.#skip('name', 'not');
    const name = this.#dotted();
    let args = NO_ARGUMENTS;
    const { type, value: word } = this.#token;
    if (this.#is('operator', '(')) args = this.#arguments();
    else if (
      (type === 'name' && !['else', 'or', 'and'].includes(word)) ||
      ['string', 'integer', 'float'].includes(type) ||
      (type === 'operator' && ['[', '{'].includes(word))
    ) {
      if (this.#is('name', 'is')) this.#fail('You cannot chain multiple tests with is');
      args = { ...NO_ARGUMENTS, positional: [this.#postfix(this.#primary())] };
    }
    const test: Expression = { type: 'test', value, name, args };
    return isNegated ? { type: 'not', value: test } : test;
  }
}
