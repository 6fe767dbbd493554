/** @file Products of few rows, in every form, number of rows and size of thread's part, against the same ops one by one. */
import { linear, rmsNorm, storeAs, swiglu } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { bf16Tensor, random, roundToBf16 } from '../../../test/compare.js';
import { cuda, describeCuda } from '../../../test/cuda.js';
import { bothOf } from '../../../test/four-bit.js';
import { inScope } from '../../shared/tensors.js';
import type { FewRowsProduct } from '../project/few-rows.js';
import { timesRows } from './times-rows.js';

const next = random(7);
const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
const numbers = (count: number, size = 1) => Array.from({ length: count }, () => roundToBf16(size * normal()));

type Form = 'bf16' | 'f32' | 'fp8' | 'nf4';

const plain = (type: 'bf16' | 'f32', values: number[], shape: number[]) =>
  (type === 'bf16' ? bf16Tensor(values, shape) : tf.tensor(values, shape as [number, number])) as tf.Tensor2D;

function matrix(form: Form, rows: number, columns: number): tf.Tensor2D {
  if (form === 'nf4') {
    const [packed, unpacked] = bothOf(rows, columns, rows % 2 === 0 ? {} : { type: 'fp4', nested: false });
    unpacked.dispose();
    return packed;
  }
  const made = plain(form === 'f32' ? 'f32' : 'bf16', numbers(rows * columns, 1 / Math.sqrt(columns)), [rows, columns]);
  if (form !== 'fp8') return made;
  const stored = storeAs(made, 'fp8');
  made.dispose();
  return stored;
}

function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>, allowed: number) {
  let [error, norm] = [0, 0];
  for (let n = 0; n < expected.length; n++) {
    error += (actual[n]! - expected[n]!) ** 2;
    norm += expected[n]! ** 2;
  }
  expect(actual.length).toBe(expected.length);
  expect(Math.sqrt(error)).toBeLessThanOrEqual(allowed * Math.sqrt(norm));
}

/** What the launches of `run` are called. */
function launchesOf(run: () => void): string[] {
  return cuda()
    .profile(run)
    .map(({ name }) => name);
}

describeCuda('timesRows()', () => {
  it.each([
    // type of x, form, rows of x, columns, rows of each matrix
    ['bf16', 'bf16', 1, 64, [48, 16, 16]],
    ['bf16', 'bf16', 2, 4096, [9]],
    ['bf16', 'bf16', 1, 14336, [5, 3]],
    ['bf16', 'bf16', 3, 1536, [33, 7, 1]],
    ['bf16', 'bf16', 4, 14336, [3]],
    ['bf16', 'bf16', 4, 576, [576, 192, 192]],
    ['bf16', 'fp8', 1, 64, [48, 16]],
    ['bf16', 'fp8', 3, 4096, [17]],
    ['f32', 'f32', 1, 72, [40, 40, 40]],
    ['f32', 'f32', 4, 2048, [3]],
    ['f32', 'bf16', 2, 256, [31, 2]],
    ['bf16', 'nf4', 1, 64, [48, 16, 17]],
    ['bf16', 'nf4', 1, 4096, [9, 4]],
    ['bf16', 'nf4', 1, 14336, [12]],
    ['bf16', 'nf4', 2, 1536, [33, 8, 5]],
    ['bf16', 'nf4', 3, 192, [6, 7]],
    ['f32', 'nf4', 4, 1024, [7]],
    ['bf16', 'bf16', 5, 64, [48, 16]],
    ['bf16', 'bf16', 1, 60, [48, 16]],
    ['bf16', 'fp8', 2, 24, [16, 16]],
  ] as const)('of %s with %s: %i rows of %i, matrices of %j rows', (type, form, B, columns, rows) => {
    const x = plain(type, numbers(B * columns), [B, columns]);
    const weights = rows.map((out) => matrix(form, out, columns));
    const biases = rows.map((out, n) => (n === 1 ? null : (tf.tensor(numbers(out), [out]) as tf.Tensor1D)));
    const weight = tf.tensor(numbers(columns), [columns]) as tf.Tensor1D;
    const residual = plain(type, numbers(B * rows[0]!), [B, rows[0]!]);
    const layers = weights.map((weight, n) => ({ weight, bias: biases[n]! }));
    const norm = { weight, eps: 1e-5 };
    const of = (product: Omit<FewRowsProduct, 'x'>) =>
      inScope(cuda(), (scope) => timesRows(cuda(), { x, ...product }, scope)).map((info) =>
        tf.engine().makeTensorFromTensorInfo(info),
      );
    const allowed = type === 'f32' && form === 'f32' ? 1e-5 : 1e-2;
    const normed = rmsNorm(x, weight, 1e-5);
    const plainly = { norm: null, residual: null, gated: false };

    const alone = of({ ...plainly, norm, layers });
    alone.forEach((y, n) => {
      // Activations are not rounded to codes here, other than in products of batches.
      const unpacked =
        form === 'fp8' || form === 'nf4'
          ? plain(type as 'bf16', [...weights[n]!.dataSync()], weights[n]!.shape)
          : weights[n]!;
      expectNear(y.dataSync(), linear(normed, unpacked, biases[n]).dataSync(), allowed);
    });
    const [added] = of({ ...plainly, residual, layers: layers.slice(0, 1) });
    const without =
      form === 'fp8' || form === 'nf4' ? plain('bf16', [...weights[0]!.dataSync()], weights[0]!.shape) : weights[0]!;
    expectNear(added!.dataSync(), tf.add(linear(x, without, biases[0]), residual).dataSync(), allowed);
    const pair = [layers[0]!, { weight: matrix(form, rows[0]!, columns), bias: biases[0]! }] as const;
    const [gated] = of({ ...plainly, norm, layers: pair, gated: true });
    const [gate, up] = pair.map(({ weight, bias }) =>
      linear(
        normed,
        form === 'fp8' || form === 'nf4' ? plain('bf16', [...weight.dataSync()], weight.shape) : weight,
        bias,
      ),
    );
    // Beside, both factors are rounded before they are multiplied.
    expectNear(gated!.dataSync(), swiglu(gate!, up!).dataSync(), 2 * allowed);
  });

  it('is one launch for matrices of a form, and by products of batches where it cannot be', () => {
    const product = (B: number, columns: number, forms: readonly Form[]): FewRowsProduct => ({
      x: plain('bf16', numbers(B * columns), [B, columns]),
      ...{ norm: null, residual: null, gated: false },
      layers: forms.map((form) => ({ weight: matrix(form, 16, columns), bias: null })),
    });
    const ofThese = (of: FewRowsProduct) =>
      launchesOf(() => {
        for (const info of inScope(cuda(), (scope) => timesRows(cuda(), of, scope))) cuda().release(info);
      });
    expect(ofThese(product(4, 64, ['bf16', 'bf16', 'bf16']))).toEqual(['gemv']);
    expect(ofThese(product(1, 64, ['fp8', 'fp8']))).toEqual(['gemv']);
    for (const of of [product(5, 64, ['bf16']), product(1, 60, ['bf16']), product(1, 64, ['bf16', 'fp8'])])
      expect(ofThese(of)).not.toContain('gemv');
  });

  it('gives the same bits again', () => {
    const [x, weight] = [plain('bf16', numbers(4096), [1, 4096]), matrix('bf16', 70, 4096)];
    const once = () => {
      const of = { x, layers: [{ weight, bias: null }], norm: null, residual: null, gated: false };
      const [y] = inScope(cuda(), (scope) => timesRows(cuda(), of, scope));
      const values = [...(cuda().readSync(y!.dataId) as Float32Array)];
      cuda().release(y!);
      return values;
    };
    expect(once()).toEqual(once());
  });
});
