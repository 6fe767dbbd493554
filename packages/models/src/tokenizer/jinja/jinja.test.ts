import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseTemplate, render, TemplateError, TemplateSyntaxError } from './index.js';
import { strftime } from './strftime.js';

interface Recorded {
  readonly template: string;
  readonly text?: string;
  readonly error?: string;
}
const { variables, recorded } = JSON.parse(
  readFileSync(new URL('../../../fixtures/templates.json', import.meta.url), 'utf8'),
  // What Python recorded as a float, JSON gives without its point.
) as { variables: { nested: { f: number } }; recorded: Recorded[] };

const made = (template: string, more: object = {}) => render(parseTemplate(template), { ...variables, ...more });
const isOurs = (error: unknown) => error instanceof TemplateError || error instanceof TemplateSyntaxError;

describe('render(), against Jinja2 as transformers sets it up', () => {
  it.each(recorded.filter((r) => r.text !== undefined).map((r) => [r.template, r.text!] as const))(
    '%s',
    (template, text) => {
      expect(made(template)).toBe(text);
    },
  );

  it.each(recorded.filter((r) => r.error !== undefined).map((r) => [r.template, r.error!] as const))(
    'refuses %s, where Jinja2 says %s',
    (template) => {
      expect(() => made(template)).toThrow(expect.toSatisfy(isOurs));
    },
  );
});

describe('render()', () => {
  it('knows more constructs than sixty', () => {
    expect(recorded.length).toBeGreaterThan(300);
  });

  it.each([
    ['{% for i in range(10 ** 9) %}x{% endfor %}', 'Range too big'],
    ['{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}', 'steps'],
    ['{% for i in range(99999) %}{% set x = range(99999) | list | length %}{% endfor %}', 'steps'],
    ["{% set s = 'x' * 8000000 %}{% for i in range(99999) %}{% set y = s | upper %}{% endfor %}", 'steps'],
    ["{% set s = 'x' * 8000000 %}{% for i in range(99999) %}{% set y = s.strip('x') %}{% endfor %}", 'steps'],
    ["{% set s = 'x' * 8000000 %}{% for i in range(99999) %}{% if 'y' in s %}{% endif %}{% endfor %}", 'steps'],
    ['{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}', 'maximum recursion depth exceeded'],
    ["{{ 'a' * 10 ** 12 }}", 'too long'],
    ["{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}", 'characters'],
    [
      '{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}',
      'a list too long',
    ],
    ['{{ 9 ** 9999999 }}', 'too large'],
    ["{{ '%099999999d' % 1 }}", 'Too many'],
    ["{{ 'a'.center(10 ** 12) }}", 'characters'],
    ["{{ 'ab'.replace('', 'x' * 8000000) }}", 'too long'],
    ["{% for i in range(9999) %}{{ 'x' * 99999 }}{% endfor %}", 'writes too much'],
    [`{{ ${'('.repeat(1000)}1${')'.repeat(1000)} }}`, 'nested'],
    [`{{ ${'[['.repeat(500)}${']]'.repeat(500)} }}`, 'nested'],
    ['{% if 1 %}'.repeat(1000), 'nested'],
    [`{{ ${'not '.repeat(5000)}1 }}`, 'nested'],
    [`{{ ${'-'.repeat(5000)}1 }}`, 'nested'],
    ["{% include 'x' %}", "the tag 'include' is not supported here"],
    ["{{ 'x' | xmlattr }}", "the filter 'xmlattr' is not supported here"],
  ])('gives up %s with an error', (template, message) => {
    expect(() => made(template)).toThrow(message);
    expect(() => made(template)).toThrow(expect.toSatisfy(isOurs));
  });

  it('calls functions of JavaScript and hands over what is in variables', () => {
    expect(
      made('{{ f(2, [true]) }} {{ u is defined }} {{ x }}', {
        f: (n: number, l: boolean[]) => `${n + 1}${l[0]}`,
        u: undefined,
        x: -0,
      }),
    ).toBe('3true False -0.0');
  });
});

describe('strftime()', () => {
  it('writes a date as Python does in the C locale', () => {
    const date = new Date(2024, 1, 5, 15, 4, 9);
    expect(strftime(date, '%d %b %Y|%A %B|%-d %-m|%H:%M:%S|%I %p|%j %y %%|%F %q')).toBe(
      '05 Feb 2024|Monday February|5 2|15:04:09|03 PM|036 24 %|2024-02-05 %q',
    );
  });
});
