import { describe, expect, it } from 'vitest';
import { parseConfigText } from './source-text.js';

const messageOf = (text: string, file = 'x.yaml') => {
  try {
    const { problems } = parseConfigText(text, file);
    return problems.map((problem) => `${problem.file}:${problem.line}: ${problem.path.join('.')}: ${problem.message}`);
  } catch (error) {
    return (error as Error).message;
  }
};

describe('parseConfigText()', () => {
  it('knows the line of every key, nested and in flow style', () => {
    const { value, source } = parseConfigText(
      '# c\na: 1\nb:\n  c: {d: 2,\n    e: 3}\n  f:\n    - x\n    - y: 1\n',
      'x.yaml',
    );
    expect(value).toEqual({ a: 1, b: { c: { d: 2, e: 3 }, f: ['x', { y: 1 }] } });
    const lines = [['a'], ['b'], ['b', 'c'], ['b', 'c', 'd'], ['b', 'c', 'e'], ['b', 'f', '0'], ['b', 'f', '1', 'y']];
    expect(lines.map((path) => source.lineOf(path))).toEqual([2, 3, 4, 4, 5, 7, 8]);
  });

  it('gives the line of what is above where a key has none of its own', () => {
    const { source } = parseConfigText('a:\n  {b, c: 1}\nd: 2\n', 'x.yaml');
    expect([source.lineOf(['a', 'c']), source.lineOf(['d']), source.lineOf(['none'])]).toEqual([1, 3, null]);
  });

  it("reads numbers as upstream's files write them, and Python's booleans", () => {
    const { value } = parseConfigText('a: 3e-4\nb: 1E-5\nc: .5\nd: True\ne: False\nf: no\ng: 2e5', 'x.yaml');
    expect(value).toEqual({ a: 3e-4, b: 1e-5, c: 0.5, d: true, e: false, f: 'no', g: 2e5 });
  });

  it('reads anchors and merge keys, and no dates or other types', () => {
    const { value } = parseConfigText('a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\nc: 2026-01-01', 'x.yaml');
    expect(value).toEqual({ a: { x: 1 }, b: { x: 1, y: 2 }, c: '2026-01-01' });
    expect(messageOf('a: !!js/function "() => 1"')).toMatch(/x.yaml:1: this is not YAML: unknown tag/);
  });

  it('reads past a byte order mark', () => {
    expect(parseConfigText('\uFEFFa: 1', 'x.yaml').value).toEqual({ a: 1 });
    expect(parseConfigText('\uFEFF{"a": 1}', 'x.json').value).toEqual({ a: 1 });
  });

  it('reads JSON with lines', () => {
    const { value, source } = parseConfigText('{\n\t"a": 1,\n\t"b": {"c/d": "\\/"}\n}', 'x.JSON');
    expect(value).toEqual({ a: 1, b: { 'c/d': '/' } });
    expect(source.lineOf(['b', 'c/d'])).toBe(3);
  });

  it('names the line of a syntax error', () => {
    expect(messageOf('a: 1\nb: [1, 2\nc: 3')).toMatch(/^x\.yaml:3: this is not YAML: /);
    expect(messageOf('a: 1\n\tb: 2')).toMatch(/^x\.yaml:2: this is not YAML: /);
    expect(messageOf('{\n "a": 1,\n}', 'x.json')).toMatch(/^x\.json:3: this is not JSON: /);
    expect(messageOf('a: 1\n---\nb: 2')).toMatch(/this is not YAML: expected a single document/);
  });

  it('reports every repeated key with both lines', () => {
    expect(messageOf('a: 1\nb: 2\na: 3\nc:\n  d: 1\n  d: 2\n')).toEqual([
      'x.yaml:3: a: this key is given twice, first on line 1; keep one',
      'x.yaml:6: c.d: this key is given twice, first on line 5; keep one',
    ]);
    expect(messageOf('{"a": 1,\n"a": 2}', 'x.json')).toEqual([
      'x.json:2: a: this key is given twice, first on line 1; keep one',
    ]);
    expect(messageOf('c: {a, b: 1,\n b: 2}')).toEqual(['x.yaml:2: : this key is given twice; keep one']);
  });

  it('reports a repeated key and the syntax error behind it', () => {
    expect(messageOf('a: 1\na: 2\nb: [\n')).toBe(
      '2 problems:\n' +
        '  x.yaml:2: this key is given twice; keep one\n' +
        '  x.yaml:4: this is not YAML: unexpected end of the stream within a flow collection',
    );
    expect(messageOf('a: {a: 1, a: 2\n---\nb: 3')).toMatch(/^2 problems:\n.*x\.yaml:1.*twice.*\n.*this is not YAML/);
  });

  it('rejects what has no keys at its root', () => {
    expect(messageOf('')).toBe('x.yaml: expected keys with values (key: value), the file is empty');
    expect(messageOf('# only a comment\n')).toContain('the file is empty');
    expect(messageOf(' ', 'x.json')).toContain('the file is empty');
    expect(messageOf('- a\n- b')).toContain('found a list of 2');
    expect(messageOf('hello')).toContain('found the string "hello"');
    expect(messageOf('[1]', 'x.json')).toContain('found a list of 1');
  });
});
