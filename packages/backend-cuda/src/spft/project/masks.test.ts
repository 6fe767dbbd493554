/** @file Sparse rows by masks where channels are few: what gathered channels give, in fewer launches. */
import { type ChannelSelection, type FrozenLayer, projectColumns, projectRows, storeAs } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterEach, expect, it } from 'vitest';
import { bf16Tensor, random, roundToBf16 } from '../../../test/compare.js';
import { cuda, describeCuda } from '../../../test/cuda.js';

const next = random(11);
const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
const matrix = (rows: number, columns: number, size = 1) =>
  bf16Tensor(
    Array.from({ length: rows * columns }, () => roundToBf16(size * normal())),
    [rows, columns],
  ) as tf.Tensor2D;

const masksBelow = 2 ** 32;
afterEach(() => {
  cuda().masksBelow = masksBelow;
});

/** What `run` gives by gathered channels and by masks, with how many launches each took. */
function both(run: () => tf.Tensor[]): { values: Float32Array[]; launches: number }[] {
  return [0, masksBelow].map((below) => {
    cuda().masksBelow = below;
    const { kernels, products } = cuda().launches;
    const made = run();
    const after = cuda().launches;
    const values = made.map((t) => t.dataSync() as Float32Array);
    tf.dispose(made);
    return { values, launches: after.kernels + after.products - kernels - products };
  });
}

function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, norm] = [0, 0];
  for (let n = 0; n < b.length; n++) {
    difference += (a[n]! - b[n]!) ** 2;
    norm += b[n]! ** 2;
  }
  return Math.sqrt(difference / norm);
}

describeCuda('layers that mask', () => {
  it.each([
    // rows, dense ones, inputs, outputs, rank, FP8
    [96, 20, 64, 160, 8, false],
    [70, 0, 32, 136, 16, false],
    [40, 39, 64, 48, 0, false],
    [33, 12, 64, 160, 8, true],
    [33, 12, 24, 37, 3, false],
  ])(
    'give what gathered channels give: %i rows, %i dense, [%i → %i], rank %i, FP8 %j',
    (T, D, inputs, out, rank, fp8) => {
      const channels = Array.from({ length: out }, (_, n) => n).filter((n) => n % 3 === 1 || n > out - 9);
      const kept = channels.slice(channels.length % 16);
      const keep: ChannelSelection = { indices: tf.tensor1d(kept, 'int32'), kept: kept.length, total: out };
      const variables: tf.Variable[] = [];
      const layerOf = (o: number, i: number): FrozenLayer => {
        const plain = matrix(o, i, 1 / Math.sqrt(i));
        const branch =
          rank > 0
            ? {
                a: tf.variable(tf.randomNormal([rank, i], 0, 0.1, 'float32', 1)),
                b: tf.variable(tf.randomNormal([o, rank], 0, 0.3, 'float32', 2)),
                scaling: 2,
              }
            : null;
        if (branch) variables.push(branch.a, branch.b);
        return {
          weight: fp8 ? storeAs(plain, 'fp8') : plain,
          bias: tf.randomNormal([o], 0, 1, 'float32', 3),
          keep,
          lora: branch as never,
        };
      };
      const [gate, up, down] = [layerOf(out, inputs), layerOf(out, inputs), layerOf(inputs, out)];
      const [x, wide, residual] = [matrix(T, inputs), matrix(T, out), matrix(T, inputs)];
      const [dgate, dup, dy] = [matrix(T, out), matrix(T, out), matrix(T, inputs)];
      const rows = both(() => {
        const f = (x: tf.Tensor, ...rest: tf.Tensor[]) => {
          void rest;
          const [a, b] = projectRows(x as tf.Tensor2D, [gate, up], D);
          return tf.add(tf.sum(tf.mul(a!, dgate)), tf.sum(tf.mul(b!, dup))) as tf.Scalar;
        };
        const ys = tf.tidy(() => projectRows(x, [gate, up], D));
        return [...ys, ...tf.grads(f)([x, ...variables.slice(0, 4)])];
      });
      const columns = both(() => {
        const f = (x: tf.Tensor, ...rest: tf.Tensor[]) => {
          void rest;
          return tf.sum(tf.mul(projectColumns(x as tf.Tensor2D, residual, down, D), dy)) as tf.Scalar;
        };
        return [projectColumns(wide, residual, down, D), ...tf.grads(f)([wide, ...variables.slice(4)])];
      });
      for (const [gathered, masked] of [rows, columns]) {
        gathered!.values.forEach((values, n) => {
          expect(distance(masked!.values[n]!, values), `output ${n}`).toBeLessThan(fp8 ? 6e-2 : 1e-2);
        });
        expect(masked!.launches).toBeLessThan(gathered!.launches);
      }
      // Of channels that are not kept sparse rows have the branch alone: nothing where there is none.
      if (rank === 0) {
        const [y] = rows[1]!.values;
        const last = [...y!.subarray((T - 1) * out)];
        expect(last.every((value, n) => kept.includes(n) || value === 0)).toBe(true);
      }
      tf.dispose([
        x,
        wide,
        residual,
        dgate,
        dup,
        dy,
        keep.indices,
        ...variables,
        ...[gate, up, down].flatMap(({ weight, bias }) => [weight, bias!]),
      ]);
    },
  );
});
