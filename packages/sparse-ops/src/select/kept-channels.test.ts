import { describe, expect, it } from 'vitest';
import { keptChannels } from './kept-channels.js';

describe('keptChannels()', () => {
  it.each([
    [160, 0.9, 1, 15],
    [100, 0.5, 1, 50],
    [10, 0, 1, 10],
    [10, 1, 1, 1],
    [7, 0.99, 1, 1],
    [4096, 0.99, 16, 48],
    [14336, 0.9, 16, 1440],
    [10, 0.5, 16, 10],
    [1, 0.5, 1, 1],
  ])('of %i channels at sparsity %d, in multiples of %i, keeps %i', (total, sparsity, multiple, kept) => {
    expect(keptChannels(total, sparsity, multiple)).toBe(kept);
  });

  it('says what it wanted when an argument is out of range', () => {
    expect(() => keptChannels(10, 1.5)).toThrow('sparsity is 1.5, must be the fraction dropped, from 0 to 1');
    expect(() => keptChannels(10, Number.NaN)).toThrow('sparsity is NaN');
    expect(() => keptChannels(0, 0.5)).toThrow('total is 0, must be a positive whole number');
    expect(() => keptChannels(10, 0.5, 2.5)).toThrow('multiple is 2.5, must be a positive whole number');
  });
});
