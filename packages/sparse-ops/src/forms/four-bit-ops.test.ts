/** @file Every op that takes a frozen matrix, with one in 4 bits: the numbers and gradients of its dequantised values, and the matrix in its form after it. */
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random1d, random2d, someOf } from '../../test/selections.js';
import { storedLike } from '../engine/stored-tensor.js';
import { linearCrossEntropy } from '../loss/linear-cross-entropy.js';
import { gatedMlp } from '../mlp/gated-mlp.js';
import { doraNorms } from '../project/dora-linear.js';
import { keepTransposed, releaseTransposed } from '../project/frozen-product.js';
import { linear } from '../project/linear.js';
import { linearKeptColumns } from '../project/linear-kept-columns.js';
import { linearKeptRows } from '../project/linear-kept-rows.js';
import { projectColumns } from '../project/project-columns.js';
import { projectRows } from '../project/project-rows.js';
import { gatherColumns } from '../select/gather-columns.js';
import { gatherRows } from '../tokens/gather-rows.js';
import { formOf, storeAs } from './stored-form.js';
import { unpacked } from './stored-matrix.js';

const [H, I, T, D] = [64, 128, 7, 3];
/** What an op takes beside x, which is there for as long as a gradient may be taken. */
interface Others {
  readonly up: tf.Tensor2D;
  readonly gate: tf.Tensor2D;
  readonly down: tf.Tensor2D;
  /** Adapters of [I, H] and [H, I]. */
  readonly toI: ReturnType<typeof adapter>;
  readonly toH: ReturnType<typeof adapter>;
  readonly magnitude: tf.Tensor1D;
}
type Op = (x: tf.Tensor2D, w: Others) => tf.Tensor;

const adapter = (out: number, inputs: number) => ({
  a: random2d(2, inputs, 21),
  b: random2d(out, 2, 22),
  scaling: 0.5,
});

const residual = () => random2d(T, H, 31);
const labels = () => tf.tensor1d([0, 5, 127, 3, 3, 9, 64], 'int32');

const OPS: Readonly<Record<string, Op>> = {
  linear: (x, { up }) => linear(x, up, random1d(I, 5)),
  linearKeptRows: (x, { up }) => linearKeptRows(x, up, someOf(I), random1d(I, 5)),
  linearKeptColumns: (x, { down }) =>
    linearKeptColumns(gatherColumns(tf.concat([x, x], 1), someOf(I)), down, someOf(I)),
  'projectRows with LoRA': (x, { up, gate, toI }) =>
    tf.concat(
      projectRows(
        x,
        [
          { weight: up, bias: null, keep: someOf(I), lora: toI },
          { weight: gate, bias: random1d(I, 8), keep: null, lora: null },
        ],
        D,
      ),
    ),
  'projectRows with DoRA': (x, { up, toI, magnitude }) =>
    projectRows(x, [{ weight: up, bias: null, keep: someOf(I), lora: { ...toI, magnitude } }], D)[0]!,
  projectColumns: (x, { down, toH }) =>
    projectColumns(tf.concat([x, x], 1), residual(), { weight: down, bias: null, keep: someOf(I), lora: toH }, D),
  'gatedMlp, dense': (x, w) => gatedMlp(x, residual(), mlpOf(w), null, T),
  'gatedMlp, sparse': (x, w) => gatedMlp(x, residual(), mlpOf(w), someOf(I), D),
  linearCrossEntropy: (x, { up }) => linearCrossEntropy(x, up, labels()),
};

const mlpOf = ({ gate, up, down }: Pick<Others, 'gate' | 'up' | 'down'>) => ({
  gate: { weight: gate, bias: null },
  up: { weight: up, bias: random1d(I, 6) },
  down: { weight: down, bias: null },
});

describe.each(PATHS)('ops with weights in 4 bits on %s by its %s', (backend, by) => {
  usePath(backend, by);

  const weights = () => {
    const plain = { gate: random2d(I, H, 1), up: random2d(I, H, 2), down: random2d(H, I, 3) };
    const stored = {
      gate: storeAs(plain.gate, 'nf4', { doubleQuantisation: true, dtype: 'BF16' }),
      up: storeAs(plain.up, 'nf4'),
      down: storeAs(plain.down, 'fp4', { blockSize: 32 }),
    };
    tf.dispose(plain);
    return stored;
  };
  const inForms = (w: ReturnType<typeof weights>) => Object.values(w).map(formOf);

  it.each(Object.keys(OPS))('%s computes with the dequantised values, both ways, and leaves nothing', async (name) => {
    const w = weights();
    const plain = { gate: unpacked(w.gate), up: unpacked(w.up), down: unpacked(w.down) };
    const adapters = { toI: adapter(I, H), toH: adapter(H, I), magnitude: random1d(I, 23) };
    const x = random2d(T, H, 4);
    const op = (x: tf.Tensor, of: typeof plain) => OPS[name]!(x as tf.Tensor2D, { ...of, ...adapters });
    tf.tidy(() => {
      expectAllClose('y', op(x, w), op(x, plain).dataSync());
      const gradient = (of: typeof plain) => tf.grad((x) => tf.sum(tf.square(op(x, of))))(x);
      expectAllClose('dx', gradient(w), gradient(plain).dataSync(), TOLERANCE.gradient);
    });
    await expectNoLeak(() => tf.tidy(() => op(x, w)), 1);
    expect(inForms(w)).toEqual(['nf4', 'nf4', 'fp4']);
    const { toI, toH, magnitude } = adapters;
    tf.dispose([w, plain, x, toI.a, toI.b, toH.a, toH.b, magnitude]);
  });

  it('gathers rows, takes norms, and has plain numbers in its place', () => {
    const w = weights();
    tf.tidy(() => {
      const plain = unpacked(w.up);
      const rows = tf.tensor1d([5, 0, 5], 'int32');
      expectAllClose('rows', gatherRows(w.up, rows), tf.gather(plain, rows).dataSync(), { relative: 0, absolute: 0 });
      const { a, b } = adapter(I, H);
      expectAllClose('norms', doraNorms(w.up, a, b, 0.5), doraNorms(plain, a, b, 0.5).dataSync());
      expect(formOf(storedLike(plain, w.up))).toBeNull();
      keepTransposed(w.up);
      linear(random2d(2, H, 1), w.up);
      releaseTransposed(w.up);
    });
    expect(inForms(w)).toEqual(['nf4', 'nf4', 'fp4']);
    tf.dispose(w);
  });
});
