import { describe, expect, it } from 'vitest';
import { LinearRegExp } from './linear-regexp.js';

const LLAMA3 =
  "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const PATTERNS: [string, string?][] = [
  ['a'],
  ['a*'],
  ['a+?b'],
  ['(a*)*'],
  ['(a*)+b'],
  ['(?:a?b?)+c'],
  ['(?:a|ab)(?:c|bcd)(?:d*)'],
  ['(a)|(b)'],
  ['(?:(a)|b)*'],
  ['(?<first>\\d+)\\.(\\d+)'],
  ['[^a-c\\s]+'],
  ['.+', 's'],
  ['^a|b$', 'm'],
  ['a.c', 'i'],
  ['[A-C]+', 'i'],
  ['(?=a)ab|b'],
  ['(?!ab)a'],
  ['(?<=a)b'],
  ['(?<!a|c)b'],
  ['(?<=a(?=b))b'],
  ['\\bab\\B'],
  ['a{2,3}'],
  ['a{2,3}?'],
  ['(?:ab){0,2}c'],
  ['a{0}b'],
  ['(?:)'],
  ['(?:|a)+'],
  ['(?:a|)*b'],
  ['\\p{L}+|\\p{N}'],
  ['😀+'],
  [LLAMA3],
];
const TEXTS = [
  '',
  'a',
  'aaab',
  'abcd',
  'abab',
  'b',
  'cb ab ba',
  'a\nb\rc',
  'ABC abc',
  'aaaa',
  '12.34.5',
  "don't  stop 1234\n\n x  ",
  '😀😀a😀',
  'né ½ ①',
  'ababc',
  'acb',
  'x'.repeat(30),
  ' '.repeat(20),
  'a b\u00a0c',
]; // prettier-ignore

describe('LinearRegExp', () => {
  it.each(PATTERNS)('finds with /%s/ what V8 finds', (source, flags = '') => {
    const mine = new LinearRegExp(source, flags);
    for (const text of TEXTS) {
      const theirs = [...text.matchAll(new RegExp(source, `gu${flags}`))];
      const found = [...mine.matchAll(text)];
      expect(found.map((m) => [m.index, m.groups[0]])).toEqual(theirs.map((m) => [m.index, m[0]]));
      expect(found.map((m) => m.end)).toEqual(theirs.map((m) => m.index + m[0].length));
    }
  });

  it('finds what V8 finds, for 4,000 random expressions and texts', () => {
    let state = 7;
    const random = (n: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * n);
    };
    // What a quantifier repeats is never empty: where it is, the languages differ in which of several matches they prefer.
    const solid = (depth: number): string =>
      depth === 0
        ? ['a', 'b', '[ab]', '.'][random(4)]!
        : [
            () => `(?:${solid(depth - 1)}|${solid(depth - 1)})`,
            () => `(${solid(depth - 1)}${piece(depth - 1)})`,
            () => `(?:${piece(depth - 1)}${solid(depth - 1)})`,
            () => `(?:${solid(depth - 1)})+`,
          ][random(4)]!();
    const piece = (depth: number): string => {
      const inner = () => (depth > 0 ? piece(depth - 1) : 'a');
      const whole = () => solid(Math.max(0, depth - 1));
      return [
        () => whole(),
        () => `(?:${inner()}|${inner()})`,
        () => `(${inner()})`,
        () => `(?:${whole()})*`,
        () => `(?:${whole()})+`,
        () => `(?:${whole()})?`,
        () => `(?:${whole()}){1,2}`,
        () => `(?:${whole()})*?`,
        () => `(?=${inner()})`,
        () => `(?!${inner()})`,
        () => `(?<=${inner()})`,
        () => `(?<!${inner()})`,
        () => '^',
        () => '$',
        () => `${inner()}${inner()}`,
      ][random(15)]!(); // prettier-ignore
    };
    for (let n = 0; n < 4000; n++) {
      const source = piece(4) + piece(3);
      const text = Array.from({ length: random(9) }, () => 'abc'[random(3)]).join('');
      const theirs = [...text.matchAll(new RegExp(source, 'gu'))].map((m) => [m.index, m[0]]);
      const mine = [...new LinearRegExp(source).matchAll(text)].map((m) => [m.index, m.groups[0]]);
      expect(mine, `/${source}/ on '${text}'`).toEqual(theirs);
    }
  });

  it('gives the texts of groups', () => {
    const groups = (source: string, text: string) => new LinearRegExp(source).matchStart(text)?.groups;
    expect(groups('(a+)(b)?(c)', 'aac')).toEqual(['aac', 'aa', undefined, 'c']);
    expect(groups('(?:.*\\.)?layers\\.(\\d+)\\.', 'model.layers.12.x')).toEqual(['model.layers.12.', '12']);
    expect(groups('b', 'ab')).toBeUndefined();
  });

  it.each([
    ['(a+)+b', 'a'.repeat(20_000)],
    ['(a|a)*b', 'a'.repeat(20_000)],
    ['(?:a*)*b|a', 'a'.repeat(5000)],
    ['b*c|b', 'b'.repeat(20_000)],
    ['\\s*x', ' '.repeat(20_000)],
    ['(?=.*x).', 'a'.repeat(20_000)],
    ['(?<=x.*)a', 'a'.repeat(20_000)],
    ['(.*)*(.*)*(.*)*x', 'a'.repeat(2000)],
    ['(?:a?){50}a{50}', 'a'.repeat(50)],
  ])('needs few steps for /%s/, whose matching is counted', (source, text) => {
    // The matcher itself counts its steps and gives up beyond twenty for every place and instruction.
    expect(() => [...new LinearRegExp(source).matchAll(text)]).not.toThrow();
  });

  it('refuses what it cannot match in linear time, and what is too large', () => {
    expect(() => new LinearRegExp('(a)\\1')).toThrow("the back reference '\\1'");
    expect(() => new LinearRegExp('(?:a{1000}){1000}')).toThrow('too large');
    expect(() => new LinearRegExp('(')).toThrow(SyntaxError);
  });
});
