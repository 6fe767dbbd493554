import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { useBackend } from '../../../../test/support/backends.js';
import { layerOf } from '../../test/layers.js';
import { random1d, random2d, someOf, valuesOf } from '../../test/selections.js';
import {
  branchTensors,
  checkLayer,
  type FrozenLayer,
  keptInputs,
  nameKept,
  withBranch,
  withIndices,
} from './frozen-layer.js';
import { loraLinearReference } from './lora-linear.reference.js';

const options = { out: 4, inputs: 6, rank: 2, bias: false, select: 0 };
const plain = () => layerOf({ ...options, rank: 0 }, 1).layer;
const lora = () => layerOf(options, 2).layer;
const dora = () => layerOf({ ...options, magnitude: true }, 3).layer;
const names = (tensors: Readonly<Record<string, tf.Tensor>>) => Object.keys(tensors);

describe('checkLayer()', () => {
  beforeAll(() => useBackend('cpu'));
  const x = () => random2d(5, 6, 1);
  const check = (layer: FrozenLayer, given: tf.Tensor2D = x(), denseRows = 2) =>
    checkLayer('op', given, layer, denseRows, 'outputs');

  it('takes layers that fit, and every number of dense rows', () => {
    for (const layer of [plain(), lora(), dora(), { ...lora(), keep: someOf(4), bias: random1d(4, 1) }]) {
      for (const denseRows of [0, 3, 5]) check(layer, x(), denseRows);
    }
    checkLayer('op', x(), { ...plain(), keep: someOf(6) }, 2, 'inputs');
  });

  it('says what it wanted of everything that does not', () => {
    expect(() => check(plain(), random2d(5, 7, 1))).toThrow(
      'op: x [5,7] must have as many columns as weight [4,6], and bias [none]',
    );
    expect(() => check({ ...plain(), bias: random1d(6, 1) })).toThrow('bias [6] one number for each of its rows');
    expect(() => check(plain(), x(), 6)).toThrow('op: denseRows is 6, must be a whole number from 0 to 5');
    expect(() => check(plain(), x(), 0.5)).toThrow('denseRows is 0.5');
    expect(() => check({ ...plain(), keep: someOf(6) })).toThrow('the selection is of 6 channels, weight [4,6] has 4');
    expect(() => check({ ...lora(), lora: { ...lora().lora!, a: random2d(2, 5, 1) } })).toThrow('loraA [2,5]');
    expect(() => check({ ...dora(), bias: random1d(4, 1) })).toThrow('of a layer without bias');
    expect(() => check({ ...dora(), lora: { ...dora().lora!, magnitude: random1d(5, 1) } })).toThrow('magnitude [5]');
    expect(() => check(plain(), tf.zeros([5]) as never)).toThrow('op: x [5] must have two dimensions');
  });
});

describe('withBranch()', () => {
  beforeAll(() => useBackend('cpu'));

  it('is the base itself without a branch, and the base with LoRA on it with one', () => {
    const [x, base] = [random2d(5, 6, 1), random2d(5, 4, 2)];
    expect(withBranch(x, base, plain())).toBe(base);
    const { a, b, scaling } = lora().lora!;
    const shapes = { T: 5, In: 6, Out: 4, r: 2 };
    const expected = loraLinearReference(valuesOf(x), valuesOf(base), valuesOf(a), valuesOf(b), scaling, shapes);
    expectAllClose('y', withBranch(x, base, lora()), expected);
  });
});

describe('what a kernel of several layers keeps', () => {
  beforeAll(() => useBackend('cpu'));
  const kept = (count: number) => Array.from({ length: count }, (_, n) => tf.scalar(n));

  it('is named by its order: h, then z and norms of each layer with a magnitude, then others', () => {
    const [h, z0, norms0, z2, norms2, other] = kept(6);
    const named = nameKept([dora(), plain(), dora()], [h!, z0!, norms0!, z2!, norms2!, other!]);
    expect(named).toEqual({
      h,
      rescaled: [
        { layer: 0, z: z0, norms: norms0 },
        { layer: 2, z: z2, norms: norms2 },
      ],
      others: [other],
    });
    expect(names(keptInputs(named))).toEqual(['h', 'z0', 'norms0', 'z2', 'norms2', 'kept0']);
  });

  it('has no h where no layer has a branch', () => {
    const [first, second] = kept(2);
    const named = nameKept([plain(), plain()], [first!, second!]);
    expect(named).toEqual({ h: null, rescaled: [], others: [first, second] });
    expect(names(keptInputs(named))).toEqual(['kept0', 'kept1']);
  });
});

describe('branchTensors() and withIndices()', () => {
  beforeAll(() => useBackend('cpu'));

  it('name the trained tensors of each layer in the order of its gradients', () => {
    expect(names(branchTensors([lora(), plain(), dora()]))).toEqual(['a0', 'b0', 'a2', 'b2', 'm2']);
  });

  it('put living indices in the place of those that a selection had', () => {
    const layers = [plain(), { ...plain(), keep: someOf(4) }, { ...plain(), keep: someOf(4) }];
    const living = [tf.tensor1d([0], 'int32'), tf.tensor1d([1], 'int32'), tf.scalar(9)];
    const [first, second, third] = withIndices(layers, living);
    expect(first).toBe(layers[0]);
    expect([second!.keep!.indices, third!.keep!.indices]).toEqual(living.slice(0, 2));
    expect(second!.keep!.kept).toBe(layers[1]!.keep!.kept);
  });
});
