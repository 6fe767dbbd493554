/**
 * @file Regular expressions of files that somebody else wrote, matched in time that grows with the text and not with its square or its
 * power: backtracking in JavaScript's order that remembers every place from which nothing matched and never tries it again (RE2's BitState,
 * with lookarounds as in Davis et al., "Using Selective Memoization to Defeat ReDoS", 2021). V8's own matcher needs years for
 * `(a+)+b` and thirty letters. What cannot be matched so, back references, is refused.
 *
 * The matches are those of `new RegExp(source, flags)`, against which the tests hold them; only where a repeated part may itself be empty
 * is another of several possible matches preferred now and then.
 */
import { type AST, RegExpParser } from '@eslint-community/regexpp';

/** Larger programs come of nested counts like `(a{1000}){1000}`. */
const MAX_INSTRUCTIONS = 5000;
/** Bytes of the table of places that were tried. */
const MAX_TABLE = 2 ** 28;

type Test = (codePoint: number) => boolean;
type Instruction =
  | { readonly op: 'char'; readonly test: Test }
  | { op: 'split'; first: number; second: number; readonly index: number }
  | { op: 'jump'; to: number }
  | { readonly op: 'save'; readonly slot: number }
  | { readonly op: 'look'; readonly program: Program; readonly negate: boolean }
  | { readonly op: 'assert'; readonly holds: (text: Uint32Array, at: number) => boolean }
  | { readonly op: 'match' };

interface Program {
  readonly code: Instruction[];
  readonly backward: boolean;
  splits: number;
}

export interface LinearMatch {
  /** Where it begins and ends, in UTF-16 units. */
  readonly index: number;
  readonly end: number;
  /** Text of each group by number; undefined where it took no part. [0] is the match. */
  readonly groups: readonly (string | undefined)[];
}

/** A regular expression in JavaScript's syntax with the flag `u`; `flags` may add i, m and s. */
export class LinearRegExp {
  readonly #program: Program;
  readonly #slots: number;

  /** @throws SyntaxError when it is no expression, has back references, or is too large. */
  constructor(source: string, flags = '') {
    const parser = new RegExpParser({ ecmaVersion: 2025 });
    const pattern = parser.parsePattern(source, 0, source.length, { unicode: true });
    const compiler = new Compiler();
    this.#program = compiler.program(pattern.alternatives, new Set(flags), false);
    this.#slots = 2 * (compiler.groups + 1);
  }

  /** Matches in one text, which share what they found out about it. */
  on(text: string): LinearMatcher {
    return new LinearMatcher(this.#program, this.#slots, text);
  }

  /** All matches that do not overlap, from left to right; an empty one does not begin where the last one ended in the middle of a match. */
  *matchAll(text: string): Generator<LinearMatch> {
    const matcher = this.on(text);
    let from = 0;
    for (;;) {
      const match = matcher.from(from);
      if (match === null) return;
      yield match;
      from = match.end > match.index ? match.end : match.end + (text.codePointAt(match.end)! > 0xffff ? 2 : 1);
      if (from > text.length) return;
    }
  }

  test(text: string): boolean {
    return this.on(text).from(0) !== null;
  }

  /** The match that begins at the start of the text, or null. */
  matchStart(text: string): LinearMatch | null {
    return this.on(text).at(0);
  }
}

/** One text, and for every program where in it nothing can match. */
export class LinearMatcher {
  readonly #points: Uint32Array;
  /** UTF-16 position of each code point, and the end. */
  readonly #units: Uint32Array;
  readonly #tables = new Map<Program, Uint8Array>();
  readonly #saved: Int32Array;
  #budget: number;

  constructor(
    private readonly program: Program,
    slots: number,
    private readonly text: string,
  ) {
    const points: number[] = [];
    const units: number[] = [];
    for (let at = 0; at < text.length; ) {
      const point = text.codePointAt(at)!;
      points.push(point);
      units.push(at);
      at += point > 0xffff ? 2 : 1;
    }
    units.push(text.length);
    this.#points = Uint32Array.from(points);
    this.#units = Uint32Array.from(units);
    this.#saved = new Int32Array(slots).fill(-1);
    // Loops over what may be empty forget a little; this bounds even them.
    this.#budget = 10_000 + 20 * sizeOf(program) * (points.length + 1);
  }

  /** The first match that begins at UTF-16 position `unit` or later. */
  from(unit: number): LinearMatch | null {
    for (let at = this.#pointAt(unit); at <= this.#points.length; at++) {
      const match = this.#matchAt(at);
      if (match !== null) return match;
    }
    return null;
  }

  /** The match that begins at UTF-16 position `unit`. */
  at(unit: number): LinearMatch | null {
    return this.#matchAt(this.#pointAt(unit));
  }

  #pointAt(unit: number): number {
    let [low, high] = [0, this.#units.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#units[middle]! < unit) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #matchAt(at: number): LinearMatch | null {
    this.#saved.fill(-1);
    const end = this.#run(this.program, at);
    if (end < 0) return null;
    const slice = (from: number, to: number) => this.text.slice(this.#units[from]!, this.#units[to]!);
    const groups: (string | undefined)[] = [slice(at, end)];
    for (let slot = 2; slot < this.#saved.length; slot += 2) {
      const [from, to] = [this.#saved[slot]!, this.#saved[slot + 1]!];
      groups.push(from >= 0 && to >= from ? slice(from, to) : undefined);
    }
    return { index: this.#units[at]!, end: this.#units[end]!, groups };
  }

  #tableOf(program: Program): Uint8Array {
    let table = this.#tables.get(program);
    if (table === undefined) {
      const size = program.splits * (this.#points.length + 1);
      if (size > MAX_TABLE) {
        throw new RangeError(`a text of ${this.text.length} characters is too long for this regular expression`);
      }
      table = new Uint8Array(size);
      this.#tables.set(program, table);
    }
    return table;
  }

  /** Where the match that begins at `start` ends, or −1. */
  #run(program: Program, start: number): number {
    const { code, backward } = program;
    const table = this.#tableOf(program);
    const points = this.#points;
    const saved = this.#saved;
    const width = points.length + 1;
    // Choices left: where to go on, and how much of trail and undo to keep; an undo gives a slot its old value.
    const choices: number[] = [];
    const trail: number[] = [];
    const undo: number[] = [];
    const failed: number[] = [];
    let isLooped = false;
    let [pc, at] = [0, start];
    for (;;) {
      if (--this.#budget < 0) throw new RangeError('the regular expression takes too long on this text');
      const step = code[pc]!;
      let goesOn = true;
      switch (step.op) {
        case 'char':
          if (backward ? at > 0 && step.test(points[at - 1]!) : at < points.length && step.test(points[at]!)) {
            at += backward ? -1 : 1;
            pc++;
          } else goesOn = false;
          break;
        case 'split': {
          const key = step.index * width + at;
          if (table[key] !== UNTRIED) {
            // A loop that came round without taking anything.
            if (table[key] === OPEN) isLooped = true;
            goesOn = false;
            break;
          }
          table[key] = OPEN;
          trail.push(key);
          choices.push(step.second, at, trail.length, undo.length);
          pc = step.first;
          break;
        }
        case 'jump':
          pc = step.to;
          break;
        case 'save':
          undo.push(step.slot, saved[step.slot]!);
          saved[step.slot] = at;
          pc++;
          break;
        case 'look':
          if (this.#look(step.program, at) !== step.negate) pc++;
          else goesOn = false;
          break;
        case 'assert':
          if (step.holds(points, at)) pc++;
          else goesOn = false;
          break;
        case 'match':
          for (const key of trail) table[key] = UNTRIED;
          // What failed because a loop that has now succeeded was still open may succeed from elsewhere. The expression itself is only
          // tried further on, so of it one column counts.
          if (isLooped && program === this.program)
            for (let n = 0; n < program.splits; n++) table[n * width + at] = UNTRIED;
          else if (isLooped) for (const key of failed) table[key] = UNTRIED;
          return at;
      }
      if (goesOn) continue;
      if (choices.length === 0) {
        for (const key of trail) table[key] = FAILED;
        return -1;
      }
      const keepUndo = choices.pop()!;
      const keepTrail = choices.pop()!;
      at = choices.pop()!;
      pc = choices.pop()!;
      while (trail.length > keepTrail) {
        const key = trail.pop()!;
        table[key] = FAILED;
        failed.push(key);
      }
      while (undo.length > keepUndo) {
        const value = undo.pop()!;
        saved[undo.pop()!] = value;
      }
    }
  }

  /** Whether a lookaround's inside matches at `at`; found out once for every place. */
  #look(program: Program, at: number): boolean {
    let answers = this.#answers.get(program);
    if (answers === undefined) {
      answers = new Uint8Array(this.#points.length + 1);
      this.#answers.set(program, answers);
    }
    if (answers[at] === 0) answers[at] = this.#run(program, at) >= 0 ? 2 : 1;
    return answers[at] === 2;
  }

  readonly #answers = new Map<Program, Uint8Array>();
}

const UNTRIED = 0;
const OPEN = 1;
const FAILED = 2;

const sizeOf = ({ code }: Program): number =>
  code.reduce((sum, step) => sum + (step.op === 'look' ? sizeOf(step.program) : 1), 0);

class Compiler {
  groups = 0;
  #instructions = 0;

  program(alternatives: readonly AST.Alternative[], flags: ReadonlySet<string>, backward: boolean): Program {
    const program: Program = { code: [], backward, splits: 0 };
    this.#alternatives(program, alternatives, flags);
    this.#emit(program, { op: 'match' });
    return program;
  }

  #emit(program: Program, instruction: Instruction): number {
    if (++this.#instructions > MAX_INSTRUCTIONS) {
      throw new SyntaxError(`it is too large (more than ${MAX_INSTRUCTIONS} steps); use smaller counts`);
    }
    return program.code.push(instruction) - 1;
  }

  #split(program: Program): Extract<Instruction, { op: 'split' }> {
    const split = { op: 'split' as const, first: 0, second: 0, index: program.splits++ };
    this.#emit(program, split);
    return split;
  }

  #alternatives(program: Program, alternatives: readonly AST.Alternative[], flags: ReadonlySet<string>): void {
    const ends: { op: 'jump'; to: number }[] = [];
    alternatives.forEach((alternative, n) => {
      const isLast = n === alternatives.length - 1;
      const split = isLast ? null : this.#split(program);
      if (split) split.first = program.code.length;
      const elements = program.backward ? [...alternative.elements].reverse() : alternative.elements;
      for (const element of elements) this.#element(program, element, flags);
      if (split) {
        const jump = { op: 'jump' as const, to: 0 };
        this.#emit(program, jump);
        ends.push(jump);
        split.second = program.code.length;
      }
    });
    for (const jump of ends) jump.to = program.code.length;
  }

  #element(program: Program, element: AST.Element, flags: ReadonlySet<string>): void {
    switch (element.type) {
      case 'Character':
      case 'CharacterSet':
      case 'CharacterClass':
        this.#emit(program, { op: 'char', test: testOf(element, flags) });
        return;
      case 'Group':
        this.#alternatives(program, element.alternatives, changed(flags, element.modifiers));
        return;
      case 'CapturingGroup': {
        // Groups are numbered by their opening parentheses, and a counted group is compiled several times.
        const number = numberOf(element);
        this.groups = Math.max(this.groups, number);
        const [open, close] = program.backward ? [2 * number + 1, 2 * number] : [2 * number, 2 * number + 1];
        this.#emit(program, { op: 'save', slot: open });
        this.#alternatives(program, element.alternatives, flags);
        this.#emit(program, { op: 'save', slot: close });
        return;
      }
      case 'Quantifier':
        this.#quantifier(program, element, flags);
        return;
      case 'Assertion':
        this.#assertion(program, element, flags);
        return;
      case 'Backreference':
        throw new SyntaxError(`it has the back reference '${element.raw}', which no linear-time matcher can do`);
      default:
        throw new SyntaxError(`'${element.raw}' is not supported`);
    }
  }

  #quantifier(program: Program, { min, max, greedy, element }: AST.Quantifier, flags: ReadonlySet<string>): void {
    const choose = (split: Extract<Instruction, { op: 'split' }>, inside: number, after: number) => {
      split.first = greedy ? inside : after;
      split.second = greedy ? after : inside;
    };
    for (let n = 0; n < min; n++) this.#element(program, element, flags);
    if (max === Number.POSITIVE_INFINITY) {
      const start = program.code.length;
      const split = this.#split(program);
      const inside = program.code.length;
      this.#element(program, element, flags);
      this.#emit(program, { op: 'jump', to: start });
      choose(split, inside, program.code.length);
      return;
    }
    const splits: [Extract<Instruction, { op: 'split' }>, number][] = [];
    for (let n = min; n < max; n++) {
      const split = this.#split(program);
      splits.push([split, program.code.length]);
      this.#element(program, element, flags);
    }
    for (const [split, inside] of splits) choose(split, inside, program.code.length);
  }

  #assertion(program: Program, assertion: AST.Assertion, flags: ReadonlySet<string>): void {
    switch (assertion.kind) {
      case 'lookahead':
      case 'lookbehind': {
        const inside = this.program(assertion.alternatives, flags, assertion.kind === 'lookbehind');
        this.#emit(program, { op: 'look', program: inside, negate: assertion.negate });
        return;
      }
      case 'start':
        this.#emit(program, {
          op: 'assert',
          holds: flags.has('m') ? (t, at) => at === 0 || isLineEnd(t[at - 1]!) : (_, at) => at === 0,
        });
        return;
      case 'end':
        this.#emit(program, {
          op: 'assert',
          holds: flags.has('m') ? (t, at) => at === t.length || isLineEnd(t[at]!) : (t, at) => at === t.length,
        });
        return;
      case 'word': {
        const { negate } = assertion;
        const isBoundary = (t: Uint32Array, at: number) =>
          (at > 0 && isWord(t[at - 1]!)) !== (at < t.length && isWord(t[at]!));
        this.#emit(program, { op: 'assert', holds: (t, at) => isBoundary(t, at) !== negate });
      }
    }
  }
}

const isLineEnd = (c: number) => c === 10 || c === 13 || c === 0x2028 || c === 0x2029;
const isWord = (c: number) => (c >= 48 && c <= 57) || (c >= 65 && c <= 90) || (c >= 97 && c <= 122) || c === 95;

function numberOf(group: AST.CapturingGroup): number {
  let root: AST.Node = group;
  while (root.parent) root = root.parent;
  // The parser gives no numbers; a group's is how many opening parentheses of groups stand before it, itself included.
  let count = 0;
  const visit = (node: unknown): boolean => {
    if (typeof node !== 'object' || node === null) return false;
    const { type, alternatives, elements, element } = node as Record<string, unknown>;
    if (type === 'CapturingGroup') count++;
    if (node === group) return true;
    for (const child of [...asArray(alternatives), ...asArray(elements), element]) if (visit(child)) return true;
    return false;
  };
  visit(root);
  return count;
}

const asArray = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

function changed(flags: ReadonlySet<string>, modifiers: AST.Modifiers | null): ReadonlySet<string> {
  if (!modifiers) return flags;
  const next = new Set(flags);
  const names = { ignoreCase: 'i', multiline: 'm', dotAll: 's' } as const;
  for (const [key, flag] of Object.entries(names)) {
    if (modifiers.add[key as keyof typeof names]) next.add(flag);
    if (modifiers.remove?.[key as keyof typeof names]) next.delete(flag);
  }
  return next;
}

/** Whether one character is of a set: V8's own answer for that character, remembered. */
function testOf(element: AST.Character | AST.CharacterSet | AST.CharacterClass, flags: ReadonlySet<string>): Test {
  if (element.type === 'Character' && !flags.has('i')) {
    const { value } = element;
    return (point) => point === value;
  }
  const known = `${element.raw}/${[...flags].sort().join('')}`;
  const cached = TESTS.get(known);
  if (cached) return cached;
  const one = new RegExp(`^${element.raw}$`, `u${flags.has('i') ? 'i' : ''}${flags.has('s') ? 's' : ''}`);
  const ascii = new Int8Array(128);
  const others = new Map<number, boolean>();
  const test: Test = (point) => {
    if (point < 128) {
      if (ascii[point] === 0) ascii[point] = one.test(String.fromCharCode(point)) ? 1 : -1;
      return ascii[point] === 1;
    }
    let answer = others.get(point);
    if (answer === undefined) {
      answer = one.test(String.fromCodePoint(point));
      if (others.size < 20_000) others.set(point, answer);
    }
    return answer;
  };
  if (TESTS.size < 500) TESTS.set(known, test);
  return test;
}

const TESTS = new Map<string, Test>();
