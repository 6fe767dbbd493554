import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random, random1d, random2d, valuesOf } from '../../test/selections.js';
import { decodeLayer } from './decode-layer.js';
import { decodeLayerReference } from './decode-layer.reference.js';

const PARTS = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const;
type Part = (typeof PARTS)[number];

/** A layer and a cache, as tensors and as numbers. */
function make(
  [N, K, d]: readonly [number, number, number],
  H: number,
  I: number,
  C: number,
  at: readonly number[],
  biases: readonly Part[],
) {
  const B = at.length;
  const heads = { heads: N, kvHeads: K, headDim: d };
  const sides = { q: [N * d, H], k: [K * d, H], v: [K * d, H], o: [H, N * d], gate: [I, H], up: [I, H], down: [H, I] };
  const weights = Object.fromEntries(
    PARTS.map((part, n) => {
      const [out, inputs] = sides[part] as [number, number];
      const weight = tf.tidy(() => tf.mul(random2d(out, inputs, 20 + n), 1 / Math.sqrt(inputs)) as tf.Tensor2D);
      return [part, { weight, bias: biases.includes(part) ? random1d(out, 40 + n) : null }];
    }),
  ) as Record<Part, { weight: tf.Tensor2D; bias: tf.Tensor1D | null }>;
  const { gate, up, down, ...attention } = weights;
  const [inputNorm, postAttentionNorm] = [random1d(H, 1), random1d(H, 2)];
  const layer = { inputNorm, postAttentionNorm, eps: 1e-5, attention, mlp: { gate, up, down } };
  const angles = random2d(B, d / 2, 3);
  const places = { positions: tf.tensor1d([...at], 'int32'), cos: tf.cos(angles), sin: tf.sin(angles) };
  const variable = (seed: number) =>
    tf.tidy(() => tf.variable(random([B, C, K * d], seed), false)) as tf.Variable<tf.Rank.R3>;
  const cache = { keys: variable(4), values: variable(5) };
  const plain = {
    ...{ inputNorm: valuesOf(inputNorm), postAttentionNorm: valuesOf(postAttentionNorm), heads, eps: 1e-5 },
    weights: Object.fromEntries(
      PARTS.map((part) => [
        part,
        { weight: valuesOf(weights[part].weight), bias: weights[part].bias && valuesOf(weights[part].bias) },
      ]),
    ) as Record<Part, { weight: Float32Array; bias: Float32Array | null }>,
  };
  return { x: random2d(B, H, 6), layer, places, cache, heads, plain };
}

describe.each(PATHS)('decodeLayer() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [[4, 2, 4], 16, 24, 9, [5], []],
    [[3, 3, 2], 7, 5, 4, [0, 3, 1], ['q', 'v', 'down']],
    [[6, 2, 8], 24, 32, 70, [69, 12], ['k', 'o', 'gate', 'up']],
  ] as const)(
    'equals its reference: heads %j, hidden %i, intermediate %i, room for %i, at %j, biases on %j',
    (shape, H, I, C, at, biases) => {
      const { x, layer, places, cache, heads, plain } = make(shape, H, I, C, at, biases);
      const before = { keys: valuesOf(cache.keys).slice(), values: valuesOf(cache.values).slice() };
      const expected = decodeLayerReference(valuesOf(x), plain, valuesOf(places.cos), valuesOf(places.sin), at, before);
      expectAllClose('y', decodeLayer(x, layer, cache, places, heads), expected.y);
      expectAllClose('keys', cache.keys, expected.keys);
      expectAllClose('values', cache.values, expected.values);
    },
  );

  it('takes token after token, leaves one tensor each, and a copy of the cache that somebody kept as it was', async () => {
    const { x, layer, places, cache, heads } = make([4, 2, 4], 16, 24, 9, [5], []);
    const kept = tf.clone(cache.keys);
    const before = valuesOf(kept).slice();
    await expectNoLeak(() => decodeLayer(x, layer, cache, places, heads), 1);
    expect(valuesOf(kept)).toEqual(before);
    expect(valuesOf(cache.keys)).not.toEqual(before);
  });

  it('says what it wanted when the shapes do not fit', () => {
    const { x, layer, places, cache, heads } = make([4, 2, 4], 16, 24, 9, [5, 1], []);
    expect(() => decodeLayer(x, layer, cache, { ...places, positions: tf.tensor1d([1], 'int32') }, heads)).toThrow(
      'decodeLayer: positions is [1], must be [2] for 2 sequences',
    );
    expect(() => decodeLayer(x, layer, cache, places, { ...heads, headDim: 6 })).toThrow(
      'keys is [2,9,8], must be [2,9,12]',
    );
  });
});
