import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { useBackend } from '../../../../test/support/backends.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { recomputed, recomputedAs, recordOp } from './record-op.js';

const x0 = () => tf.tensor1d([1, 2, 3]);

/** Doubles and triples; keeps x itself, and the sum of its elements, which only the gradient looks at. */
const twoAndThree = (x: tf.Tensor, seen: (saved: readonly tf.Tensor[]) => void = () => {}) =>
  recordOp<[tf.Tensor, tf.Tensor]>({
    name: 'TwoAndThree',
    inputs: { x },
    saves: [x],
    run: () => ({ outputs: [tf.mul(x, 2), tf.mul(x, 3)], kept: [tf.sum(x)] }),
    gradient: ([first, second], saved) => {
      seen(saved);
      return { x: tf.tidy(() => tf.add(tf.mul(first!, 2), tf.mul(second!, 3))) };
    },
  });

const square = (x: tf.Tensor) =>
  recordOp<[tf.Tensor]>({
    name: 'OwnSquare',
    inputs: { x },
    saves: [x],
    run: () => ({ outputs: [tf.square(x)], kept: [] }),
    gradient: ([dy], [x]) => ({ x: tf.tidy(() => tf.mul(dy!, tf.mul(x!, 2))) }),
  })[0];

describe('recordOp()', () => {
  beforeAll(() => useBackend('cpu'));

  it('gives its outputs to the caller and gives back what it kept, where nothing is recorded', async () => {
    const x = x0();
    expectAllClose('outputs', tf.concat(twoAndThree(x)), [2, 4, 6, 3, 6, 9]);
    await expectNoLeak(() => twoAndThree(x), 2);
  });

  it('gives several outputs one gradient, with what was saved and then what was kept', () => {
    let saved: number[][] = [];
    const dx = tf.grad((x) => {
      const [two, three] = twoAndThree(x, (tensors) => {
        saved = tensors.map((t) => [...t.dataSync()]);
      });
      return tf.add(two, tf.mul(three, 10));
    })(x0());
    expectAllClose('dx', dx, [32, 32, 32]);
    expect(saved).toEqual([[1, 2, 3], [6]]);
  });

  it('gives an output that nobody uses a gradient of zero', () => {
    expectAllClose('dx', tf.grad((x) => twoAndThree(x)[1])(x0()), [3, 3, 3]);
  });

  it('leaves nothing after the gradient, in a chain either, with an input that is disposed meanwhile', async () => {
    const f = (x: tf.Tensor) => {
      const y = square(x);
      const z = square(y);
      y.dispose();
      return z;
    };
    const x = x0();
    expectAllClose('dx', tf.grad(f)(x), [4, 32, 108]);
    await expectNoLeak(() => tf.grad(f)(x).dispose());
  });

  it('ends a gradient that it passed on with its one reader, and none of the caller', () => {
    const [x, dy] = [x0(), tf.ones([3])];
    let inner: tf.Tensor | null = null;
    const watch = (x: tf.Tensor) =>
      recordOp<[tf.Tensor]>({
        name: 'Watch',
        inputs: { x },
        saves: [],
        run: () => ({ outputs: [tf.clone(x)], kept: [] }),
        gradient: ([dy]) => {
          inner = dy!;
          return { x: tf.clone(dy!) };
        },
      })[0];
    const dx = tf.grad((x) => square(watch(x)))(x, dy);
    expect(inner!.isDisposed).toBe(true);
    expect(dy.isDisposed).toBe(false);
    expectAllClose('dx', dx, [2, 4, 6]);
  });

  it('saves of what its gradient reads what ends before it, and nothing else', async () => {
    const [lasting, last] = [tf.tensor1d([2, 2, 2]), tf.tensor1d([1, 0, 1])];
    let reads: tf.Tensor[] = [];
    const f = (x: tf.Tensor) => {
      const made = tf.add(lasting, 1);
      return recordOp<[tf.Tensor]>({
        name: 'TimesBoth',
        inputs: { x },
        saves: [last],
        reads: [lasting, null, made],
        run: () => ({ outputs: [tf.tidy(() => tf.mul(tf.mul(x, lasting), made))], kept: [tf.scalar(10)] }),
        gradient: ([dy], saved, living) => {
          expect(saved.map((t) => [...t.dataSync()])).toEqual([[1, 0, 1], [10]]);
          expect(living(null)).toBe(null);
          expect(made.isDisposed).toBe(true);
          reads = [living(lasting), living(made)];
          expect(reads.map((t) => t.isDisposed)).toEqual([false, false]);
          return { x: tf.tidy(() => tf.mul(tf.mul(dy!, reads[0]!), reads[1]!)) };
        },
      })[0];
    };
    const x = x0();
    expectAllClose('dx', tf.grad((x) => tf.tidy(() => f(x)))(x), [6, 6, 6]);
    expect(reads[0]).toBe(lasting);
    expect(reads[1]!.isDisposed).toBe(true);
    await expectNoLeak(() =>
      tf
        .grad((x) => tf.tidy(() => f(x)))(x)
        .dispose(),
    );
  });

  it('is asked more than once in a gradient of a gradient', () => {
    const second = tf.grad((x) => tf.grad((x) => tf.sum(tf.mul(square(x), x)))(x));
    expect(second(x0()).shape).toEqual([3]);
  });
});

describe('recomputed()', () => {
  beforeAll(() => useBackend('cpu'));

  it('saves what a tensor was made of, and makes it again for the gradient', () => {
    let made = 0;
    const f = (x: tf.Tensor) => {
      const root = tf.sqrt(x);
      const again = recomputed(root, [x], ([x]) => {
        made++;
        return tf.sqrt(x!);
      });
      const y = square(again);
      root.dispose();
      return y;
    };
    const x = tf.tensor1d([4, 9]);
    const { value, grad } = tf.valueAndGrad(f)(x);
    expectAllClose('y', value, [4, 9]);
    expectAllClose('dx', grad, [1, 1]);
    expect(made).toBe(1);
  });

  it('goes on from tensor to tensor, by recomputedAs()', () => {
    const x = tf.tensor1d([1, 2]);
    const half = recomputed(tf.mul(x, 0.5), [x], ([x]) => tf.mul(x!, 0.5));
    const add = (input: tf.Tensor, [by]: readonly tf.Tensor[]) => tf.add(input, by!);
    const by = tf.scalar(3);
    const moved = recomputedAs(add(half, [by]), half, [by], add);
    let saved: number[] = [];
    const dy = tf.grad(
      (z) =>
        recordOp<[tf.Tensor]>({
          name: 'Times',
          inputs: { z },
          saves: [moved],
          run: () => ({ outputs: [tf.mul(z, moved)], kept: [] }),
          gradient: ([dy], [moved]) => {
            saved = [...moved!.dataSync()];
            return { z: tf.mul(dy!, moved!) };
          },
        })[0],
    )(tf.ones([2]));
    expect(saved).toEqual([3.5, 4]);
    expectAllClose('dz', dy, [3.5, 4]);
    const plain = tf.tensor1d([1]);
    expect(recomputedAs(plain, tf.tensor1d([2]), [], add)).toBe(plain);
  });
});
