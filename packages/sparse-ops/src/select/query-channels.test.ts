import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { indicesOf, random1d, selectionOf, someOf, valuesOf } from '../../test/selections.js';
import { combineQueryKeyScores, queryChannels } from './query-channels.js';
import { combineQueryKeyScoresReference, queryChannelsReference } from './query-channels.reference.js';

const LAYOUTS = [
  { heads: 4, kvHeads: 4, headDim: 5 },
  { heads: 4, kvHeads: 2, headDim: 6 },
  { heads: 9, kvHeads: 3, headDim: 4 },
  { heads: 8, kvHeads: 1, headDim: 16 },
  { heads: 1, kvHeads: 1, headDim: 1 },
].map((layout) => [JSON.stringify(layout), layout] as const);

describe.each(PATHS)('combineQueryKeyScores() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each(LAYOUTS)('equals its reference for %s', (_, layout) => {
    const [q, k] = [random1d(layout.heads * layout.headDim, 1), random1d(layout.kvHeads * layout.headDim, 2)];
    const expected = combineQueryKeyScoresReference(valuesOf(q), valuesOf(k), layout);
    expectAllClose('scores', combineQueryKeyScores(q, k, layout), expected);
  });

  it('leaves one tensor, and says what it wanted when the scores do not fit', async () => {
    const layout = LAYOUTS[1]![1];
    const [q, k] = [random1d(24, 1), random1d(12, 2)];
    await expectNoLeak(() => combineQueryKeyScores(q, k, layout), 1);
    expect(() => combineQueryKeyScores(q, random1d(11, 1), layout)).toThrow(
      'combineQueryKeyScores: 11 kv channels, the layout has 2 heads of 6 for 4 query heads',
    );
    expect(() => combineQueryKeyScores(k, k, layout)).toThrow('12 query scores, the layout has 24 channels');
  });
});

describe.each(PATHS)('queryChannels() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each(LAYOUTS)('equals its reference for %s', (_, layout) => {
    const total = layout.kvHeads * layout.headDim;
    const all = Array.from({ length: total }, (_, c) => c);
    for (const keep of [someOf(total), selectionOf(total, [total - 1]), selectionOf(total, all)]) {
      const query = queryChannels(keep, layout);
      const expected = queryChannelsReference([...indicesOf(keep)], layout);
      expect([...indicesOf(query)]).toEqual(expected);
      expect([query.kept, query.total, query.indices.dtype]).toEqual([
        expected.length,
        layout.heads * layout.headDim,
        'int32',
      ]);
    }
  });

  it('leaves one tensor, and says what it wanted when the selection does not fit', async () => {
    const layout = LAYOUTS[1]![1];
    const keep = someOf(12);
    await expectNoLeak(() => queryChannels(keep, layout), 1);
    expect(() => queryChannels(someOf(13), layout)).toThrow('queryChannels: 13 kv channels');
  });
});
