import { describe, expect, it } from 'vitest';
import { TrainerError } from '../errors.js';
import { collate } from './collate.js';
import { countLabels, prepareSamples, samplesDigest } from './samples.js';

const sample = (ids: number[], context: number) => ({
  inputIds: ids,
  labels: ids.map((id, t) => (t < context ? -100 : id)),
});

describe('collate()', () => {
  const samples = [sample([1, 2, 3], 2), sample([4, 5], 1)];

  it('packs samples without padding', () => {
    const batch = collate(samples);
    expect([...batch.inputIds]).toStrictEqual([1, 2, 3, 4, 5]);
    expect([...batch.labels]).toStrictEqual([-100, -100, 3, -100, 5]);
    expect([...batch.layout.sequenceStarts]).toStrictEqual([0, 3, 5]);
    expect(batch.labelCount).toBe(2);
    expect(batch.layout.denseTokens).toBe(5);
  });

  it('puts the dense tokens first that the policy names, and hands it the seed', () => {
    const given: unknown[] = [];
    const batch = collate(samples, {
      seed: 9,
      denseTokens: (labels, lengths, seed) => {
        given.push([...labels], lengths, seed);
        return labels.map((label) => (label === -100 ? 0 : 1));
      },
    });
    expect(given).toStrictEqual([[-100, -100, 3, -100, 5], [3, 2], 9]);
    expect(batch.layout.denseTokens).toBe(2);
    expect([...batch.layout.tokenOfRow]).toStrictEqual([2, 4, 0, 1, 3]);
  });

  it('refuses a batch without labels, naming its samples', () => {
    const prepared = [{ ...sample([1, 2], 2), index: 17 }];
    expect(() => collate(prepared)).toThrow(TrainerError);
    expect(() => collate(prepared)).toThrow('a batch without labels has no loss: samples 17');
    // A label on the first token alone has nothing that could predict it.
    expect(() => collate([sample([1], 0)])).toThrow('a batch without labels');
  });

  it('refuses flags that do not fit', () => {
    expect(() => collate(samples, { denseTokens: () => [1] })).toThrow('denseTokens gave 1 flags for 5 tokens');
  });
});

describe('prepareSamples()', () => {
  const long = sample([1, 2, 3, 4], 1);

  it('truncates long samples by default, as upstream does', () => {
    const { samples, truncated } = prepareSamples([long], { maxLength: 3 });
    expect(truncated).toBe(1);
    expect(samples).toStrictEqual([{ index: 0, inputIds: [1, 2, 3], labels: [-100, 2, 3] }]);
  });

  it('skips them or refuses them on demand', () => {
    const short = sample([1, 2], 1);
    const skipped = prepareSamples([long, short], { maxLength: 3, longSamples: 'skip' });
    expect(skipped).toMatchObject({ skipped: 1, samples: [{ index: 1 }] });
    expect(() => prepareSamples([short, long], { maxLength: 3, longSamples: 'error' })).toThrow(
      '1 of 2 samples are longer than 3 tokens (1)',
    );
  });

  it('refuses samples that truncation leaves without labels, or skips them', () => {
    const prompt = sample([1, 2, 3, 4], 3);
    expect(() => prepareSamples([prompt], { maxLength: 3 })).toThrow('1 of 1 samples have no labelled token within 3');
    const both = prepareSamples([prompt, long], { maxLength: 3, unlabelledSamples: 'skip' });
    expect(both).toMatchObject({ skipped: 1, truncated: 1, samples: [{ index: 1 }] });
    expect(() => prepareSamples([prompt], { maxLength: 3, unlabelledSamples: 'skip' })).toThrow(
      'no sample to train on',
    );
  });

  it('refuses malformed samples', () => {
    expect(() => prepareSamples([{ inputIds: [], labels: [] }], { maxLength: 3 })).toThrow('sample 0 is empty');
    expect(() => prepareSamples([{ inputIds: [1, 2], labels: [1] }], { maxLength: 3 })).toThrow(
      'sample 0 has 2 tokens and 1 labels',
    );
  });
});

describe('countLabels()', () => {
  it('counts labels that have a token before them', () => {
    expect(countLabels([5, 6, -100, 7])).toBe(2);
  });
});

describe('samplesDigest()', () => {
  it('changes with any token, label or order', () => {
    const digest = (...all: ReturnType<typeof sample>[]) => samplesDigest(all.map((one, index) => ({ ...one, index })));
    const [a, b] = [sample([1, 2, 3], 1), sample([1, 2, 4], 1)];
    expect(digest(a, b)).toBe(digest(a, b));
    expect(new Set([digest(a, b), digest(b, a), digest(a), digest(sample([1, 2, 3], 2), b)]).size).toBe(4);
  });
});
