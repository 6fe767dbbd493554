/** @file Functions of one number against the cpu backend. */
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { bf16Tensor, expectAsOnCpu, type Input } from '../../test/compare.js';
import { cuda, describeCuda } from '../../test/cuda.js';

const SPECIAL = [Number.NaN, Infinity, -Infinity, 0, -0, 1, -1, 0.5, 1.5, 2.5, -2.5, 1e-20, 88, -88, 1e20];

/** Functions, and the range of their arguments where it is not the usual one. */
const FUNCTIONS: readonly [name: string, f: (x: tf.Tensor) => tf.Tensor, range?: [number, number]][] = [
  ['abs', tf.abs],
  ['neg', tf.neg],
  ['exp', tf.exp],
  ['expm1', tf.expm1],
  ['log', tf.log, [0.1, 9]],
  ['log1p', tf.log1p, [-0.9, 9]],
  ['sqrt', tf.sqrt, [0, 9]],
  ['rsqrt', tf.rsqrt, [0.1, 9]],
  ['square', tf.square],
  ['sigmoid', tf.sigmoid],
  ['softplus', tf.softplus, [-20, 20]],
  ['relu', tf.relu],
  ['relu6', tf.relu6, [-9, 9]],
  ['leakyRelu', (x) => tf.leakyRelu(x, 0.1)],
  ['elu', tf.elu],
  ['selu', tf.selu],
  ['sin', tf.sin],
  ['cos', tf.cos],
  ['tan', tf.tan, [-1.2, 1.2]],
  ['asin', tf.asin, [-1, 1]],
  ['acos', tf.acos, [-1, 1]],
  ['atan', tf.atan],
  ['sinh', tf.sinh],
  ['cosh', tf.cosh],
  ['tanh', tf.tanh],
  ['asinh', tf.asinh],
  ['acosh', tf.acosh, [1, 9]],
  ['atanh', tf.atanh, [-0.9, 0.9]],
  ['erf', tf.erf],
  ['sign', tf.sign],
  ['floor', tf.floor, [-9, 9]],
  ['ceil', tf.ceil, [-9, 9]],
  ['round', tf.round, [-9, 9]],
  ['reciprocal', tf.reciprocal, [0.5, 2]],
  ['step', (x) => tf.step(x, 0.25)],
  ['clipByValue', (x) => tf.clipByValue(x, -1, 1.5)],
  ['isNaN', tf.isNaN],
  ['isInf', tf.isInf],
  ['isFinite', tf.isFinite],
];

describeCuda('functions of one number', () => {
  it.each(FUNCTIONS)('%s is what the cpu backend computes, of float and of bf16', async (name, f, range) => {
    const input = (shape: number[], kind: 'f32' | 'bf16'): Input[] => [{ shape, kind, ...(range ? { range } : {}) }];
    await expectAsOnCpu(name, f, input([33], 'f32'));
    await expectAsOnCpu(name, f, input([3, 8], 'bf16'));
    await expectAsOnCpu(name, f, input([1], 'f32'));
  });

  it('keeps int32 where the cpu backend does', async () => {
    const ofNumbers = [
      tf.abs,
      tf.neg,
      tf.square,
      tf.sign,
      tf.relu,
      tf.relu6,
      tf.round,
      (x: tf.Tensor) => tf.clipByValue(x, -3, 4),
    ];
    for (const f of ofNumbers) await expectAsOnCpu(f.name, f, [{ shape: [2, 9], kind: 'i32' }]);
  });

  it('has NaN and the infinities where the cpu backend has them', async () => {
    const special: Input[] = [{ shape: [SPECIAL.length], values: SPECIAL.map(Math.fround) }];
    for (const [name, f] of FUNCTIONS) {
      // The cpu's erf has no ends: it loses NaN and overflows to NaN.
      if (name === 'erf' || name === 'sinh' || name === 'cosh') continue;
      // Sums with an epsilon that is another one in float.
      await expectAsOnCpu(name, f, special, { tolerance: 1e-5 });
    }
  });

  it('works on no elements, on scalars and on a million and three', async () => {
    for (const shape of [[0], [3, 0, 2], [], [1000003]]) await expectAsOnCpu('relu', tf.relu, [{ shape }]);
  });

  it('logicalNot of bool is bool', () => expectAsOnCpu('not', tf.logicalNot, [{ shape: [19], kind: 'bool' }]));

  it('keeps bf16, and keeps scalars of the host there', () => {
    tf.tidy(() => {
      expect(cuda().physical(tf.exp(bf16Tensor([1, 2, 3], [3])))).toBe('bf16');
      expect(cuda().hostScalar(tf.neg(tf.sqrt(tf.scalar(4))))).toBe(-2);
    });
  });
});
