import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import { packTokens } from '../tokens/token-partition.js';
import { gatedSelection } from './gated-selection.js';
import { gatedSelectionReference } from './gated-selection.reference.js';

describe.each(PATHS)('gatedSelection() on %s by its %s', (backend, by) => {
  usePath(backend, by);
  const pair = (In: number, r: number, n: number, seed: number) => ({
    a: random2d(In, r, seed),
    b: random2d(r, n, seed + 1),
  });
  const layoutOf = (...lengths: number[]) => packTokens({ lengths, dense: (token) => token % 3 === 1 });

  it.each([
    [[4], 3, 2, 2, 5, 2],
    [[3, 1, 6], 7, 8, 8, 20, 6],
    [[3, 1, 6], 7, 3, 2, 20, 20],
    [[2, 2], 70, 9, 9, 33, 1],
  ])(
    'chooses what its parts choose: sequences of %j tokens, %i inputs, ranks %i and %i, %i channels of which %i',
    (lengths, In, r, s, n, kept) => {
      const layout = layoutOf(...lengths);
      const [x, gate, up] = [random2d(layout.tokens, In, 1), pair(In, r, n, 2), pair(In, s, n, 4)];
      const plain = ({ a, b }: typeof gate) => ({ a: valuesOf(a), b: valuesOf(b), r: a.shape[1] });
      const expected = gatedSelectionReference(valuesOf(x), layout, plain(gate), plain(up), { In, n, kept });
      const selection = gatedSelection(x, layout, gate, up, kept);
      expect(selection).toMatchObject({ kept, total: n });
      expect([...selection.indices.dataSync()]).toEqual(expected);
      // Once more: nothing of the first call is in the way.
      expect([...gatedSelection(x, layout, gate, up, kept).indices.dataSync()]).toEqual(expected);
    },
  );

  it('leaves one tensor', async () => {
    const [x, gate, up] = [random2d(5, 4, 1), pair(4, 2, 6, 2), pair(4, 2, 6, 4)];
    await expectNoLeak(() => gatedSelection(x, layoutOf(3, 2), gate, up, 2).indices, 1);
  });

  it('says what it wanted when something does not fit', () => {
    const [gate, up] = [pair(4, 2, 6, 2), pair(4, 2, 6, 4)];
    const x = tf.zeros([5, 4]) as tf.Tensor2D;
    expect(() => gatedSelection(x, layoutOf(3, 2), gate, pair(4, 2, 7, 4), 2)).toThrow('gatedSelection: x [5,4], gate');
    expect(() => gatedSelection(x, layoutOf(3, 2), gate, up, 7)).toThrow(
      'kept is 7, must be a whole number from 1 to 6',
    );
    expect(() => gatedSelection(x, layoutOf(3, 3), gate, up, 2)).toThrow("a row for each of the layout's 6 tokens");
  });
});
