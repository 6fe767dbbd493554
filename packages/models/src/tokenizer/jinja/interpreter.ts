/**
 * @file Renders a template as jinja2's sandbox does, with transformers' additions (`tojson`, `raise_exception`, `strftime_now`,
 * `{% generation %}`, `{% break %}`). Steps, depth and the length of texts are bounded: templates come with models that strangers wrote.
 * One switch over statements and one over expressions, which call each other: so it is long.
 */
import type { Arguments, Body, Expression, Parameters, Target } from './ast.js';
import { filterOf, itemOf } from './filters.js';
import { globals } from './globals.js';
import { attributeOf } from './methods.js';
import { binary, negative, positive } from './operators.js';
import { contains, testOf } from './tests.js';
import {
  bounded,
  type Call,
  charge,
  chargeFor,
  compare,
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
  startMeter,
  str,
  Tuple,
  truth,
  typeName,
  Undefined,
  type Value,
} from './values.js';

const MAX_DEPTH = 200;

class Scope {
  readonly variables = new Map<string, Value>();
  constructor(readonly parent: Scope | null) {}

  find(name: string): Value | undefined {
    for (let scope: Scope | null = this; scope !== null; scope = scope.parent) {
      const value = scope.variables.get(name);
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

type Flow = 'break' | 'continue' | null;

/** @throws TemplateError where Python would raise, and where a bound is reached. */
export function render(body: Body, variables: Readonly<Record<string, unknown>>): string {
  const root = new Scope(null);
  for (const [name, value] of globals()) root.variables.set(name, value);
  const top = new Scope(root);
  for (const [name, value] of Object.entries(variables)) {
    if (value !== undefined) top.variables.set(name, fromJavaScript(value));
  }
  const meter = startMeter();
  try {
    return new Interpreter().text(body, top);
  } finally {
    meter.restore();
  }
}

class Interpreter {
  #depth = 0;
  #out: string[] = [];
  #length = 0;

  /** What a body writes. */
  text(body: Body, scope: Scope): string {
    const [out, length] = [this.#out, this.#length];
    this.#out = [];
    try {
      this.#body(body, scope);
      return this.#out.join('');
    } finally {
      this.#out = out;
      this.#length = length;
    }
  }

  #write(text: string): void {
    this.#length += text.length;
    if (this.#length > 2 ** 24) fail('the template writes too much');
    this.#out.push(text);
  }

  #step(): void {
    charge(2);
  }

  #body(body: Body, scope: Scope): Flow {
    for (const statement of body) {
      this.#step();
      switch (statement.type) {
        case 'data':
          this.#write(statement.text);
          break;
        case 'print':
          this.#write(str(this.#value(statement.value, scope)));
          break;
        case 'if': {
          const branch = statement.branches.find(([test]) => truth(this.#value(test, scope)));
          const flow = this.#body(branch ? branch[1] : statement.otherwise, scope);
          if (flow) return flow;
          break;
        }
        case 'for':
          this.#for(statement, scope, 1);
          break;
        case 'set':
          this.#assign(statement.target, this.#value(statement.value, scope), scope);
          break;
        case 'setBlock': {
          const written = this.text(statement.body, new Scope(scope));
          this.#assign(
            statement.target,
            statement.filter ? this.#filtered(statement.filter, written, scope) : written,
            scope,
          );
          break;
        }
        case 'macro':
          scope.variables.set(statement.name, this.#macro(statement.name, statement.parameters, statement.body, scope));
          break;
        case 'callBlock': {
          const caller = this.#macro('caller', statement.parameters, statement.body, scope);
          this.#write(str(this.#call(statement.call as Extract<Expression, { type: 'call' }>, scope, caller)));
          break;
        }
        case 'filterBlock':
          this.#write(str(this.#filtered(statement.filter, this.text(statement.body, new Scope(scope)), scope)));
          break;
        case 'with': {
          const inner = new Scope(scope);
          for (const [target, value] of statement.values) this.#assign(target, this.#value(value, scope), inner);
          const flow = this.#body(statement.body, inner);
          if (flow) return flow;
          break;
        }
        case 'scope': {
          const flow = this.#body(statement.body, new Scope(scope));
          if (flow) return flow;
          break;
        }
        default:
          return statement.type;
      }
    }
    return null;
  }

  #for(statement: Extract<Body[number], { type: 'for' }>, scope: Scope, depth: number, given?: Value): void {
    if (depth > 50) fail('a recursive loop is nested too deep');
    const iterable = either(given, () => this.#value(statement.iterable, scope));
    let items = iterate(iterable);
    const { test, target } = statement;
    if (test) {
      items = items.filter((item) => {
        const inner = new Scope(scope);
        this.#step();
        this.#assign(target, item, inner);
        return truth(this.#value(test, inner));
      });
    }
    if (items.length === 0) {
      this.#body(statement.otherwise, new Scope(scope));
      return;
    }
    const usesLoop = mentions(statement.body, 'loop');
    let last: Value | undefined;
    const changed = new Func('changed', ({ args }) => {
      const now = new Tuple(args);
      const differs = last === undefined || !isEqual(last, now);
      last = now;
      return differs;
    });
    const loop = (n: number) => {
      const attributes = new Map<string, Value>([
        ['index', BigInt(n + 1)],
        ['index0', BigInt(n)],
        ['revindex', BigInt(items.length - n)],
        ['revindex0', BigInt(items.length - n - 1)],
        ['first', n === 0],
        ['last', n === items.length - 1],
        ['length', BigInt(items.length)],
        ['depth', BigInt(depth)],
        ['depth0', BigInt(depth - 1)],
        ['previtem', either(items[n - 1], () => new Undefined('there is no previous item'))],
        ['nextitem', either(items[n + 1], () => new Undefined('there is no next item'))],
        [
          'cycle',
          new Func('cycle', ({ args }) => either(args[n % args.length], () => fail('no items for cycling given'))),
        ],
        ['changed', changed],
      ]);
      const again = statement.recursive
        ? ({ args: [next] }: Call) => {
            const [out, length] = [this.#out, this.#length];
            this.#out = [];
            try {
              this.#for(
                statement,
                scope,
                depth + 1,
                either(next, () => fail('loop() needs an iterable')),
              );
              return this.#out.join('');
            } finally {
              this.#out = out;
              this.#length = length;
            }
          }
        : undefined;
      return new Instance('LoopContext', attributes, again);
    };
    for (const [n, item] of items.entries()) {
      this.#step();
      const inner = new Scope(scope);
      this.#assign(target, item, inner);
      if (usesLoop) inner.variables.set('loop', loop(n));
      if (this.#body(statement.body, inner) === 'break') break;
    }
  }

  #assign(target: Target, value: Value, scope: Scope): void {
    switch (target.type) {
      case 'name':
        scope.variables.set(target.name, value);
        return;
      case 'namespace': {
        const found = scope.find(target.name);
        if (!(found instanceof Instance && found.typeName === 'Namespace')) {
          fail('cannot assign attribute on non-namespace object');
        }
        found.attributes.set(target.attribute, value);
        return;
      }
      case 'targets': {
        const items = iterate(value);
        if (items.length !== target.items.length) {
          fail(
            items.length > target.items.length
              ? `too many values to unpack (expected ${target.items.length})`
              : `not enough values to unpack (expected ${target.items.length}, got ${items.length})`,
          );
        }
        for (const [n, inner] of target.items.entries()) this.#assign(inner, items[n]!, scope);
      }
    }
  }

  #macro(name: string, { names, defaults }: Parameters, body: Body, scope: Scope): Func {
    const usesVarargs = mentions(body, 'varargs');
    const usesKwargs = mentions(body, 'kwargs');
    const usesCaller = mentions(body, 'caller');
    return new Func(name, ({ args, named }) =>
      this.#deeper(() => {
        const inner = new Scope(scope);
        const left = new Map(named);
        for (const [n, parameter] of names.entries()) {
          let value = args[n];
          if (left.has(parameter)) {
            if (value !== undefined) fail(`macro '${name}' got multiple values for argument '${parameter}'`);
            value = left.get(parameter);
            left.delete(parameter);
          }
          const fallback = defaults[n - (names.length - defaults.length)];
          if (value === undefined && fallback) value = this.#value(fallback, inner);
          inner.variables.set(
            parameter,
            value === undefined ? new Undefined(`parameter '${parameter}' was not provided`) : value,
          );
        }
        const caller = left.get('caller');
        if (usesCaller && !names.includes('caller')) {
          inner.variables.set('caller', caller ?? new Undefined('No caller defined'));
          left.delete('caller');
        }
        if (usesKwargs) inner.variables.set('kwargs', new Dict([...left]));
        else for (const key of left.keys()) fail(`macro '${name}' takes no keyword argument '${key}'`);
        if (usesVarargs) inner.variables.set('varargs', new Tuple(args.slice(names.length)));
        else if (args.length > names.length) fail(`macro '${name}' takes not more than ${names.length} argument(s)`);
        return this.text(body, inner);
      }),
    );
  }

  #deeper<T>(run: () => T): T {
    if (++this.#depth > MAX_DEPTH) fail('maximum recursion depth exceeded');
    try {
      return run();
    } finally {
      this.#depth--;
    }
  }

  #filtered(filter: Expression, start: Value, scope: Scope): Value {
    if (filter.type !== 'filter') return start;
    const value = filter.value === null ? start : this.#filtered(filter.value, start, scope);
    return filterOf(filter.name)(value, this.#arguments(filter.args, scope));
  }

  #arguments({ positional, named, star, doubleStar }: Arguments, scope: Scope): Call {
    const args = positional.map((item) => this.#value(item, scope));
    if (star) args.push(...iterate(this.#value(star, scope)));
    const byName = new Map(named.map(([name, item]) => [name, this.#value(item, scope)]));
    if (doubleStar) {
      const extra = this.#value(doubleStar, scope);
      if (!(extra instanceof Dict)) return fail('argument after ** must be a mapping');
      for (const [key, value] of extra.entries()) {
        if (byName.has(str(key))) fail(`got multiple values for keyword argument '${str(key)}'`);
        byName.set(str(key), value);
      }
    }
    return { args, named: byName };
  }

  #call(expression: Extract<Expression, { type: 'call' }>, scope: Scope, caller?: Value): Value {
    const called = this.#value(expression.value, scope);
    const call = this.#arguments(expression.args, scope);
    for (const value of call.args) chargeFor(value);
    if (called instanceof Undefined) return fail(called.message);
    const given =
      caller === undefined ? call : { args: call.args, named: new Map([...call.named, ['caller', caller]]) };
    if (called instanceof Func) return called.call(given);
    if (called instanceof Instance && called.call) return called.call(given);
    return fail(`a value of type '${typeName(called)}' cannot be called`);
  }

  #value(expression: Expression, scope: Scope): Value {
    this.#step();
    switch (expression.type) {
      case 'const':
        return expression.value;
      case 'name': {
        const found = scope.find(expression.name);
        return found === undefined ? new Undefined(`'${expression.name}' is undefined`) : found;
      }
      case 'list':
        return new List(expression.items.map((item) => this.#value(item, scope)));
      case 'tuple':
        return new Tuple(expression.items.map((item) => this.#value(item, scope)));
      case 'dict':
        return new Dict(
          expression.items.map(([key, value]) => [this.#value(key, scope), this.#value(value, scope)] as const),
        );
      case 'not':
        return !truth(this.#value(expression.value, scope));
      case 'negative':
        return negative(this.#value(expression.value, scope));
      case 'positive':
        return positive(this.#value(expression.value, scope));
      case 'and': {
        const left = this.#value(expression.left, scope);
        return truth(left) ? this.#value(expression.right, scope) : left;
      }
      case 'or': {
        const left = this.#value(expression.left, scope);
        return truth(left) ? left : this.#value(expression.right, scope);
      }
      case 'binary': {
        const [left, right] = [this.#value(expression.left, scope), this.#value(expression.right, scope)];
        chargeFor(left);
        chargeFor(right);
        return binary(expression.operator, left, right);
      }
      case 'concat':
        return bounded(expression.items.map((item) => str(this.#value(item, scope))).join(''));
      case 'compare':
        return this.#compared(expression, scope);
      case 'if':
        if (truth(this.#value(expression.test, scope))) return this.#value(expression.yes, scope);
        return expression.no
          ? this.#value(expression.no, scope)
          : new Undefined('the inline if-expression evaluated to false and no else section was defined.');
      case 'attribute': {
        const value = this.#value(expression.value, scope);
        if (value instanceof Undefined) return fail(value.message);
        if (typeof value === 'string') chargeFor(value);
        const { name } = expression;
        const own = attributeOf(value, name);
        const found = own === undefined && value instanceof Dict ? value.get(name) : own;
        return found === undefined ? new Undefined(`'${typeName(value)} object' has no attribute '${name}'`) : found;
      }
      case 'item':
        return this.#item(expression, scope);
      case 'slice':
        return fail('a slice stands only in brackets behind a value');
      case 'call':
        return this.#call(expression, scope);
      case 'filter': {
        const value = this.#value(expression.value!, scope);
        chargeFor(value);
        return filterOf(expression.name)(value, this.#arguments(expression.args, scope));
      }
      case 'test': {
        const test = testOf(expression.name);
        const value = this.#value(expression.value, scope);
        chargeFor(value);
        return test(value, this.#arguments(expression.args, scope).args);
      }
    }
  }

  #compared({ first, rest }: Extract<Expression, { type: 'compare' }>, scope: Scope): Value {
    let left = this.#value(first, scope);
    for (const [operator, next] of rest) {
      const right = this.#value(next, scope);
      chargeFor(left);
      chargeFor(right);
      if (!holds(operator, left, right)) return false;
      left = right;
    }
    return true;
  }

  #item({ value: of, key }: Extract<Expression, { type: 'item' }>, scope: Scope): Value {
    const value = this.#value(of, scope);
    if (typeof value === 'string' || key.type === 'slice') chargeFor(value);
    if (key.type !== 'slice') return itemOf(value, this.#value(key, scope));
    if (value instanceof Undefined) return fail(value.message);
    const part = (e: Expression | null) => {
      const n = e === null ? null : this.#value(e, scope);
      if (n === null) return null;
      return typeof n === 'bigint' || typeof n === 'boolean'
        ? Number(n)
        : fail('slice indices must be integers or None');
    };
    if (
      !(typeof value === 'string' || value instanceof List || (value instanceof Iterable && value.typeName === 'range'))
    ) {
      return new Undefined(`'${typeName(value)}' object is not subscriptable`);
    }
    const items = sliced(iterate(value), part(key.start), part(key.stop), part(key.step) ?? 1);
    if (typeof value === 'string') return (items as string[]).join('');
    return value instanceof Tuple ? new Tuple(items) : new List(items);
  }
}

function holds(operator: string, left: Value, right: Value): boolean {
  switch (operator) {
    case '==':
      return isEqual(left, right);
    case '!=':
      return !isEqual(left, right);
    case 'in':
      return contains(right, left);
    case 'not in':
      return !contains(right, left);
    case '<':
      return compare(left, right, operator) < 0;
    case '<=':
      return compare(left, right, operator) <= 0;
    case '>':
      return compare(left, right, operator) > 0;
    default:
      return compare(left, right, operator) >= 0;
  }
}

function sliced(items: readonly Value[], start: number | null, stop: number | null, step: number): Value[] {
  if (step === 0) fail('slice step cannot be zero');
  const { length } = items;
  const [low, high] = step > 0 ? [0, length] : [-1, length - 1];
  const place = (n: number | null, fallback: number) =>
    n === null ? fallback : Math.max(low, Math.min(high, n < 0 ? n + length : n));
  const out: Value[] = [];
  const from = place(start, step > 0 ? low : high);
  const to = place(stop, step > 0 ? high : low);
  for (let n = from; step > 0 ? n < to : n > to; n += step) out.push(items[n]!);
  return out;
}

/** Whether a body has a name in it, which is how jinja2 decides what a macro takes. */
function mentions(node: unknown, name: string): boolean {
  if (Array.isArray(node)) return node.some((item) => mentions(item, name));
  if (typeof node !== 'object' || node === null) return false;
  const { type, name: own } = node as { type?: unknown; name?: unknown };
  if (type === 'name' && own === name) return true;
  return Object.values(node).some((item) => mentions(item, name));
}
