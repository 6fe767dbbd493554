import { describe, expect, it } from 'vitest';
import { showValue } from './show-value.js';

describe('showValue()', () => {
  it('is JSON where that is short', () => {
    for (const value of [null, true, 3, -1.5, 'a "b"', [], {}, [1, [2]], { a: { b: [null] } }]) {
      expect(showValue(value)).toBe(JSON.stringify(value));
    }
    expect(showValue(undefined)).toBe('nothing');
    expect(showValue(-0)).toBe('-0');
  });

  it('is short for what is deep or large', () => {
    let deep: unknown = 1;
    for (let n = 0; n < 100_000; n++) deep = n % 2 ? [deep] : { d: deep };
    expect(showValue(deep)).toBe('[{"d":[{"d":[{…}]}]}]');
    expect(showValue('x'.repeat(1e6))).toHaveLength(81);
    expect(showValue(Array.from({ length: 1e5 }, (_, i) => i))).toMatch(/^\[0,1,2,.*…$/);
    expect(showValue({ ['k'.repeat(1e6)]: 1 }, 20)).toHaveLength(21);
  });
});
