/** @file Ops of several frozen layers in E4M3: products that they share, and gradients beside those of the numbers that codes stand for. */
import {
  type ChannelSelection,
  type FrozenLayer,
  gatedMlp,
  projectColumns,
  projectRows,
  storeAs,
} from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { e4m3GradientRowsReference, e4m3WeightReference } from '../../../sparse-ops/src/engine/e4m3.reference.js';
import { cuda, describeCuda } from '../../test/cuda.js';
import { distance, matrix, numbers, selection, twice } from '../../test/e4m3.js';

describeCuda('layers in e4m3', () => {
  it.each([
    ['all rows dense', 11, 11],
    ['some sparse', 40, 12],
    ['kept numbers of channels that are no multiple of 16', 40, 12],
  ])('make one product of several layers and one scale for what their gradients are a row: %s', (what, T, D) => {
    const outs = [48, 32, 32];
    const counts = what.startsWith('kept') ? [24, 8, 16] : [32, 16, 16];
    const w = outs.map((out) => numbers(out * 64, 0.05));
    const dy = outs.map((out, n) => numbers(T * out, 4 ** -n));
    const x = matrix(T, 64);
    const weights = w.map((values, n) => storeAs(matrix(outs[n]!, 64, values), 'fp8'));
    const dys = dy.map((values, n) => matrix(T, outs[n]!, values));
    const indices = counts.map((count, n) =>
      Array.from({ length: count }, (_, i) => i + (i > 3 ? outs[n]! - count : 0)),
    );
    const keeps = indices.map((of, n) => (D < T ? selection(of, outs[n]!) : null));
    const layers = weights.map((weight, n) => ({ weight, bias: null, keep: keeps[n]!, lora: null }));
    const gradient = tf.grad((x) => {
      const ys = projectRows(x as tf.Tensor2D, layers, D);
      return ys.map((y, n) => y.mul(dys[n]!).sum()).reduce((a, b) => a.add(b)) as tf.Scalar;
    });
    const before = cuda().masksBelow;
    cuda().masksBelow = 0;
    const [dx] = twice(() => [gradient(x)]);
    const profile = cuda().profile(() => gradient(x).dispose());
    const products = profile
      .filter(({ name }) => name.startsWith('product'))
      .reduce((sum, { calls }) => sum + calls, 0);
    cuda().masksBelow = before;
    // Forward three of dense rows, and one of sparse rows; backward one of each.
    expect(products).toBe(D < T ? 6 : 4);
    // The codes of all gradients of a row share its scale; of sparse rows those of kept channels.
    const codes = w.map((values) => e4m3WeightReference(values));
    const expected = new Float64Array(T * 64);
    for (let t = 0; t < T; t++) {
      const kept = outs.map((out, n) => (t < D ? Array.from({ length: out }, (_, o) => o) : indices[n]!));
      const row = kept.flatMap((of, n) => of.map((o) => dy[n]![t * outs[n]! + o]!));
      const quantised = e4m3GradientRowsReference(Float32Array.from(row), row.length);
      let at = 0;
      for (const [n, of] of kept.entries()) {
        for (const o of of) {
          for (let i = 0; i < 64; i++) expected[64 * t + i]! += quantised[at]! * codes[n]![64 * o + i]!;
          at++;
        }
      }
    }
    expect(distance(dx!, expected)).toBeLessThan(4e-3);
    tf.dispose([x, ...weights, ...dys, ...keeps.flatMap((keep) => keep?.indices ?? [])]);
  });

  /** Layers whose gradients are compared with those of the same ops on `cpu` with the numbers that codes stand for. */
  const spanning: Record<string, (T: number, D: number, sparse: boolean) => Promise<void>> = {
    projectRows: (T, D, sparse) =>
      compared(
        [
          [T, 64],
          [48, 64],
          [32, 64],
          [8, 64],
          [48, 8],
        ],
        ([x, w1, w2, a, b], keeps) => {
          const lora = { a: a!, b: b!, scaling: 0.5 };
          const layers: FrozenLayer[] = [
            { weight: w1!, bias: null, keep: sparse ? keeps[0]! : null, lora },
            { weight: w2!, bias: null, keep: sparse ? keeps[1]! : null, lora: null },
          ];
          return projectRows(x!, layers, D);
        },
        [48, 32],
      ),
    projectColumns: (T, D, sparse) =>
      compared(
        [
          [T, 64],
          [48, 64],
          [48, 64],
          [8, 64],
          [48, 8],
        ],
        ([x, w1, , a, b], keeps, residual) => {
          const layer = {
            weight: w1!,
            bias: null,
            keep: sparse ? keeps[0]! : null,
            lora: { a: a!, b: b!, scaling: 0.5 },
          };
          return [projectColumns(x!, residual, layer, D)];
        },
        [64],
        [T, 48],
      ),
    gatedMlp: (T, D, sparse) =>
      compared(
        [
          [T, 64],
          [96, 64],
          [96, 64],
          [64, 96],
        ],
        ([x, gate, up, down], keeps, residual) => {
          const weights = {
            gate: { weight: gate!, bias: null },
            up: { weight: up!, bias: null },
            down: { weight: down!, bias: null },
          };
          return [gatedMlp(x!, residual, weights, sparse ? keeps[0]! : null, sparse ? D : T)];
        },
        [96],
        [T, 64],
      ),
  };

  /** Of what is stored from now on. */
  let outlierChannels = 0;

  type Op = (tensors: tf.Tensor2D[], keeps: ChannelSelection[], residual: tf.Tensor2D) => tf.Tensor[];

  /** @param totals channels of each selection, of which 16 are kept. */
  async function compared(
    shapes: [number, number][],
    op: Op,
    totals: number[],
    residualShape: [number, number] = [1, 1],
  ): Promise<void> {
    const values = shapes.map(([rows, columns], n) => numbers(rows * columns, n === 0 ? 1 : 0.1));
    const ofResidual = numbers(residualShape[0] * residualShape[1]);
    const weights = shapes.map(([, columns], n) => n > 0 && columns > 8 && shapes[n]![0] > 8);
    const gradientsOf = (made: tf.Tensor2D[], residual: tf.Tensor2D) => {
      const keeps = totals.map((total) =>
        selection(
          Array.from({ length: 16 }, (_, n) => Math.floor((n * total) / 16)),
          total,
        ),
      );
      // x and the branch, which get gradients; frozen ones stay as they are.
      const trained = made.flatMap((_, n) => (weights[n] ? [] : [n]));
      const f = (...given: tf.Tensor[]) => {
        const all = made.map((tensor, n) => (weights[n] ? tensor : (given[trained.indexOf(n)] as tf.Tensor2D)));
        const ys = op(all, keeps, residual);
        return ys.map((y) => y.square().sum()).reduce((a, b) => a.add(b)) as tf.Scalar;
      };
      return [...op(made, keeps, residual), ...tf.grads(f)(trained.map((n) => made[n]!))];
    };
    const plain = (place: number) => (weights[place] ? e4m3WeightReference(values[place]!) : values[place]!);
    await tf.setBackend('cpu');
    const expected = tf.tidy(() =>
      gradientsOf(
        shapes.map((shape, n) => tf.tensor2d(plain(n), shape)),
        tf.tensor2d(ofResidual, residualShape),
      ).map((t) => t.dataSync() as Float32Array),
    );
    await tf.setBackend('cuda');
    const made = shapes.map(([rows, columns], n) => {
      if (n > 0 && !weights[n]) return tf.tensor2d(values[n]!, [rows, columns]);
      const tensor = matrix(rows, columns, values[n]!);
      return weights[n] ? storeAs(tensor, 'fp8', { outlierChannels }) : tensor;
    });
    const residual = matrix(...residualShape, ofResidual);
    const actual = twice(() => gradientsOf(made, residual));
    actual.forEach((values, n) => {
      expect(distance(values, expected[n]!), `result ${n}`).toBeLessThan(0.1);
    });
    tf.dispose([...made, residual]);
  }

  it.each(
    Object.keys(spanning).flatMap(
      (op) =>
        [
          [op, 21, 21, false],
          [op, 40, 12, true],
          [op, 41, 13, true],
          [op, 16, 0, true],
        ] as const,
    ),
  )('%s of %i rows, %i of them dense, sparse: %s', (op, T, D, sparse) => spanning[op]!(T, D, sparse));

  it.each(Object.keys(spanning))('%s with columns of outlier channels', async (op) => {
    outlierChannels = 16;
    try {
      await spanning[op]!(21, 21, false);
      await spanning[op]!(40, 12, true);
    } finally {
      outlierChannels = 0;
    }
  });

  it.each(Object.keys(spanning))('%s whose few dense rows read the matrices as they lie', async (op) => {
    const before = cuda().skinnyFrom;
    cuda().skinnyFrom = 0;
    try {
      await spanning[op]!(40, 12, true);
      await spanning[op]!(21, 21, false);
    } finally {
      cuda().skinnyFrom = before;
    }
  });
});
