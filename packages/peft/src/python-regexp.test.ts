import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { AdapterError } from './errors.js';
import { PythonRegExp } from './python-regexp.js';

const { names, matches } = JSON.parse(
  readFileSync(new URL('../fixtures/python-regexps.json', import.meta.url), 'utf8'),
) as { names: string[]; matches: [string, boolean[]][] };

describe('PythonRegExp', () => {
  it.each(matches)('matches /%s/ wholly as Python does', (source, expected) => {
    const expression = new PythonRegExp(source, 'target_modules');
    expect(names.filter((name) => expression.fullMatch(name))).toEqual(names.filter((_, n) => expected[n]));
  });

  it('gives the groups of a match at the start', () => {
    const expression = new PythonRegExp('.*\\.layers\\.(\\d+)\\.', 'layers_pattern');
    expect(expression.match('model.layers.12.x')?.groups[1]).toBe('12');
    expect(expression.match('layers.12.x')).toBeNull();
  });

  it.each([
    ['(a)\\1', "back reference '\\1'"],
    ['(?P<x>a)(?P=x)', "back reference '(?P=x)'"],
    ['a++', 'possessive'],
    ['(?>a)', "the group '(?>"],
    ['(?x)a', "the flag 'x'"],
    ['(?<x>a)', 'is not supported'],
    ['[a', 'has no end'],
    ['a\\', 'ends in a backslash'],
    ['\\q', 'is no escape'],
    ['(', 'target_modules'],
    [')', 'target_modules'],
    ['*', 'target_modules'],
    ['(?:a{1,900}){1,900}', 'too large'],
  ])('refuses /%s/ by name', (source, message) => {
    expect(() => new PythonRegExp(source, 'target_modules')).toThrow(AdapterError);
    expect(() => new PythonRegExp(source, 'target_modules')).toThrow(message);
  });
});
