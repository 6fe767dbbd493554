import { describe, expect, it } from 'vitest';
import { shortJson } from './short-json.js';

describe('shortJson()', () => {
  it('is JSON where that is short', () => {
    for (const value of [null, true, -1.5, 'a"b\n', [], [1, [2, 'x']], {}, { a: 1, 'b c': [null] }]) {
      expect(shortJson(value)).toBe(JSON.stringify(value));
    }
    expect([undefined, Number.NaN, 10n].map((value) => shortJson(value))).toEqual(['undefined', 'NaN', '10']);
  });

  it('cuts what is long, deep, wide or cyclic', () => {
    let deep: unknown = 1;
    for (let level = 0; level < 200_000; level++) deep = level % 2 ? [deep] : { x: deep };
    const cyclic: unknown[] = [];
    cyclic.push(cyclic);
    for (const value of [deep, cyclic, 'x'.repeat(1e6), new Array(1e6).fill('ab'), { a: { b: 'y'.repeat(100) } }]) {
      const text = shortJson(value);
      expect(text.length).toBeLessThanOrEqual(60);
      expect(text.endsWith('…')).toBe(true);
    }
    expect(shortJson('abcdefghij', 8)).toBe('"abcd…');
  });
});
