/** @file Functions of two numbers, and every way to broadcast, against the cpu backend. */
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { bf16Tensor, expectAsOnCpu, type Kind } from '../../test/compare.js';
import { cuda, describeCuda } from '../../test/cuda.js';

type Op = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;

const ARITHMETIC: readonly [string, Op][] = [
  ['add', tf.add],
  ['sub', tf.sub],
  ['mul', tf.mul],
  ['maximum', tf.maximum],
  ['minimum', tf.minimum],
  ['squaredDifference', tf.squaredDifference],
];
const COMPARISONS: readonly [string, Op][] = [
  ['equal', tf.equal],
  ['notEqual', tf.notEqual],
  ['less', tf.less],
  ['lessEqual', tf.lessEqual],
  ['greater', tf.greater],
  ['greaterEqual', tf.greaterEqual],
];

/** Shapes of operands, by what they exercise. */
const BROADCASTS: readonly [string, number[], number[]][] = [
  ['one shape', [3, 11], [3, 11]],
  ['a scalar', [5, 7], []],
  ['a scalar first', [], [16]],
  ['a row', [6, 16], [16]],
  ['an odd row', [6, 5], [5]],
  ['a column', [6, 16], [6, 1]],
  ['a column first', [6, 1], [6, 16]],
  ['row and column', [5, 1], [1, 8]],
  ['heads', [2, 5, 3, 8], [1, 5, 1, 8]],
  ['the middle', [2, 3, 4], [2, 1, 4]],
  ['five dimensions', [2, 1, 3, 1, 2], [1, 2, 3, 2, 1]],
  ['six dimensions', [2, 1, 2, 1, 2, 1], [1, 3, 1, 3, 1, 8]],
  ['no elements', [0, 4], [4]],
  ['ones', [1, 1], [1]],
];

describeCuda('functions of two numbers', () => {
  it.each(ARITHMETIC)('%s is what the cpu backend computes, of float, bf16 and int32', async (name, op) => {
    for (const kind of ['f32', 'bf16', 'i32'] as const) {
      await expectAsOnCpu(name, op, [
        { shape: [3, 11], kind },
        { shape: [3, 11], kind },
      ]);
    }
  });

  it.each(BROADCASTS)('broadcasts %s', async (_, a, b) => {
    await expectAsOnCpu('sub', tf.sub, [{ shape: a }, { shape: b }]);
    await expectAsOnCpu('sub', tf.sub, [
      { shape: a, kind: 'bf16' },
      { shape: b, kind: 'bf16' },
    ]);
  });

  it('mixes float and bf16', async () => {
    for (const [a, b] of [
      ['f32', 'bf16'],
      ['bf16', 'f32'],
    ] as [Kind, Kind][]) {
      await expectAsOnCpu('mul', tf.mul, [
        { shape: [4, 8], kind: a },
        { shape: [8], kind: b },
      ]);
    }
    tf.tidy(() => {
      const x = bf16Tensor([1, 2], [2]);
      expect(cuda().physical(tf.mul(x, 2))).toBe('bf16');
      expect(cuda().physical(tf.mul(x, x))).toBe('bf16');
      expect(cuda().physical(tf.mul(x, tf.tensor([1, 2])))).toBe('f32');
      expect(cuda().hostScalar(tf.mul(tf.scalar(3), tf.scalar(0.5)))).toBe(1.5);
    });
  });

  it.each(COMPARISONS)('%s gives bool, of any dtype', async (name, op) => {
    for (const kind of ['f32', 'bf16', 'i32'] as const) {
      await expectAsOnCpu(name, op, [
        { shape: [50], kind, range: [-2, 2], values: Array.from({ length: 50 }, (_, n) => (n % 5) - 2) },
        { shape: [50], kind, range: [-2, 2], values: Array.from({ length: 50 }, (_, n) => (n % 3) - 1) },
      ]);
    }
  });

  it('divides as the cpu backend, by zero too', async () => {
    await expectAsOnCpu('div', tf.div, [{ shape: [33] }, { shape: [33], range: [0.5, 2] }]);
    await expectAsOnCpu('div', tf.div, [
      { shape: [3], values: [1, -1, 0] },
      { shape: [3], values: [0, 0, 0] },
    ]);
    await expectAsOnCpu('divNoNan', tf.divNoNan, [
      { shape: [4], values: [1, -1, 0, 6] },
      { shape: [4], values: [0, 0, 0, 3] },
    ]);
    const integers: [number[], number[]] = [
      [7, -7, 7, -7, 6, -6, 5, 0, 2147483647, -2147483648],
      [2, 2, -2, -2, 3, 3, 0, 0, -1, 2],
    ];
    const inputs = integers.map((values) => ({ shape: [10], kind: 'i32' as const, values }));
    for (const [name, op] of [
      ['floorDiv', tf.floorDiv],
      ['mod', tf.mod],
      ['div', tf.div],
    ] as [string, Op][]) {
      await expectAsOnCpu(name, op, inputs);
    }
    await expectAsOnCpu(
      'mod',
      tf.mod,
      [
        { shape: [33], range: [-9, 9] },
        { shape: [33], range: [1, 4] },
      ],
      {
        tolerance: 1e-5,
      },
    );
  });

  it('pow, atan2, prelu and bitwiseAnd are those of the cpu backend', async () => {
    await expectAsOnCpu('pow', tf.pow as Op, [
      { shape: [33], range: [0.1, 3] },
      { shape: [33], range: [-2, 3] },
    ]);
    await expectAsOnCpu('pow', tf.pow as Op, [
      { shape: [7], kind: 'i32', values: [2, 3, -2, 0, 1, -1, 7] },
      { shape: [7], kind: 'i32', values: [10, 0, 3, 0, -1, -3, -1] },
    ]);
    await expectAsOnCpu('pow', tf.pow as Op, [
      { shape: [6], values: [1, -1, 2, -8, 0, 0] },
      { shape: [6], values: [Number.NaN, Infinity, -Infinity, 1 / 3, 0, -1] },
    ]);
    await expectAsOnCpu('atan2', tf.atan2, [{ shape: [33] }, { shape: [33] }]);
    await expectAsOnCpu('prelu', tf.prelu, [{ shape: [4, 8] }, { shape: [8] }]);
    await expectAsOnCpu('bitwiseAnd', tf.bitwiseAnd, [
      { shape: [9], kind: 'i32' },
      { shape: [9], kind: 'i32' },
    ]);
    await expectAsOnCpu('and', tf.logicalAnd, [
      { shape: [9], kind: 'bool' },
      { shape: [9], kind: 'bool' },
    ]);
    await expectAsOnCpu('or', tf.logicalOr, [
      { shape: [9], kind: 'bool' },
      { shape: [], kind: 'bool' },
    ]);
  });

  it('lets NaN win maximum and minimum', async () => {
    const inputs = [
      { shape: [4], values: [Number.NaN, 1, Number.NaN, 2] },
      { shape: [4], values: [1, Number.NaN, Number.NaN, 3] },
    ];
    await expectAsOnCpu('maximum', tf.maximum, inputs);
    await expectAsOnCpu('minimum', tf.minimum, inputs);
  });

  it('has the gradient of elu', () =>
    expectAsOnCpu('eluGrad', (x) => tf.grad((y) => tf.elu(y))(x), [{ shape: [33] }], { tolerance: 1e-5 }));
});
