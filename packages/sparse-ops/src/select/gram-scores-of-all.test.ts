import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import { gramScoresReference } from './gram-scores.reference.js';
import { gramScoresOfAll } from './gram-scores-of-all.js';

describe.each(PATHS)('gramScoresOfAll() on %s by its %s', (backend, by) => {
  usePath(backend, by);
  const predictors = (In: number, shapes: readonly (readonly [r: number, n: number])[]) =>
    shapes.map(([r, n], i) => ({ a: random2d(In, r, 2 * i + 2), b: random2d(r, n, 2 * i + 3) }));

  it.each([
    [0, 3, [[2, 4]]],
    [
      5,
      7,
      [
        [1, 1],
        [8, 30],
      ],
    ],
    [
      9,
      6,
      [
        [2, 12],
        [2, 6],
        [3, 6],
      ],
    ],
    [
      4,
      5,
      [
        [2, 3],
        [2, 3],
        [2, 3],
        [2, 3],
      ],
    ],
    [4, 5, []],
  ] as [number, number, [number, number][]][])(
    'is gramScores() of each predictor, for %i tokens of %i, ranks and channels %j',
    (T, In, shapes) => {
      const [x, all] = [random2d(T, In, 1), predictors(In, shapes)];
      const scores = gramScoresOfAll(x, all);
      expect(scores.map(({ shape }) => shape)).toEqual(shapes.map(([, n]) => [n]));
      all.forEach(({ a, b }, i) => {
        const [r, n] = shapes[i]!;
        const expected = gramScoresReference(valuesOf(x), valuesOf(a), valuesOf(b), { T, In, r, n });
        expectAllClose(`scores ${i}`, scores[i]!, expected);
      });
    },
  );

  it('leaves one tensor for each predictor, and says what it wanted when shapes do not fit', async () => {
    const [x, all] = [
      random2d(3, 4, 1),
      predictors(4, [
        [2, 5],
        [1, 3],
      ]),
    ];
    await expectNoLeak(() => gramScoresOfAll(x, all), 2);
    expect(() => gramScoresOfAll(random2d(3, 5, 1), all)).toThrow(
      'gramScoresOfAll: x [3,5], a [4,2] and b [2,5] of predictor 0 must be [T, in], [in, r] and [r, n]',
    );
  });
});
