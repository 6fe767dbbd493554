import { describe, expect, it } from 'vitest';
import { splitDataset, subset } from './split.js';

const items = Array.from({ length: 50 }, (_, i) => i);

describe('splitDataset()', () => {
  it('draws by the seed, keeps the order, loses nothing', () => {
    const { train, validation } = splitDataset(items, 0.1, 42);
    expect(validation).toHaveLength(5);
    expect([...train, ...validation].sort((a, b) => a - b)).toEqual(items);
    expect(train).toEqual([...train].sort((a, b) => a - b));
    expect(splitDataset(items, 0.1, 42)).toEqual({ train, validation });
    expect(splitDataset(items, 0.1, 43).validation).not.toEqual(validation);
    expect(splitDataset(items, 5, 42).validation).toEqual(validation);
    expect(splitDataset(items, 0, 42)).toEqual({ train: items, validation: [] });
  });

  it.each([-0.1, 50, 51, 2.5, Number.NaN])('refuses %s of 50 items', (validation) => {
    expect(() => splitDataset(items, validation, 0)).toThrow(`validation is ${validation} of 50 items`);
  });
});

describe('subset()', () => {
  it('is the first items, or drawn ones with a seed, or all', () => {
    expect(subset(items, 3)).toEqual([0, 1, 2]);
    const drawn = subset(items, 3, 7);
    expect(drawn).toHaveLength(3);
    expect(drawn).not.toEqual([0, 1, 2]);
    expect(subset(items, 3, 7)).toEqual(drawn);
    expect(subset(items, 99, 7)).toEqual(items);
    expect(() => subset(items, 0)).toThrow('count is 0');
  });
});
