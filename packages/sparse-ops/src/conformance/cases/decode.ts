/** @file A step of generation: decoder layers of all shapes, with tokens at the begin, in the middle and at the end of what has room. */
import * as tf from '@tensorflow/tfjs';
import type { HeadLayout } from '../../contract/types.js';
import { decodeLayer } from '../../decode/decode-layer.js';
import { decodeLayerReference } from '../../decode/decode-layer.reference.js';
import {
  type CaseInput,
  type ConformanceCase,
  float,
  given,
  int32,
  matrix,
  type Numbers,
  type Tensors,
  variableOf,
  vector,
} from '../case.js';
import { normals } from '../numbers.js';

const PARTS = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const;
const EPS = 1e-5;

interface Shape {
  readonly H: number;
  readonly I: number;
  readonly heads: HeadLayout;
  /** Position of each sequence's token. */
  readonly at: readonly number[];
  /** Tokens that have room. */
  readonly C: number;
  readonly biases?: readonly (typeof PARTS)[number][];
}

const SHAPES: readonly Shape[] = [
  { H: 16, I: 24, heads: { heads: 4, kvHeads: 2, headDim: 4 }, at: [5], C: 9 },
  { H: 7, I: 11, heads: { heads: 3, kvHeads: 1, headDim: 6 }, at: [0, 4, 2], C: 5, biases: ['q', 'v', 'down'] },
  { H: 64, I: 80, heads: { heads: 8, kvHeads: 2, headDim: 16 }, at: [69, 0], C: 70, biases: ['o', 'gate', 'up'] },
  { H: 32, I: 48, heads: { heads: 2, kvHeads: 2, headDim: 32 }, at: [3, 129, 7, 64, 1, 200], C: 256 },
  { H: 128, I: 64, heads: { heads: 18, kvHeads: 1, headDim: 64 }, at: [40, 11, 300], C: 320 },
  { H: 48, I: 16, heads: { heads: 2, kvHeads: 1, headDim: 24 }, at: [], C: 4 },
];

/** A weight as a model has it: products of it with normed rows are about 1, so that attention is not all one token's. */
const weight = (out: number, inputs: number, seed: number): CaseInput => ({
  shape: [out, inputs],
  kind: 'float',
  values: [...normals(out * inputs, seed)].map((x) => x / Math.sqrt(inputs)),
});

function decode({ H, I, heads, at, C, biases = [] }: Shape): ConformanceCase {
  const { heads: N, kvHeads: K, headDim: d } = heads;
  const B = at.length;
  const sides = { q: [N * d, H], k: [K * d, H], v: [K * d, H], o: [H, N * d], gate: [I, H], up: [I, H], down: [H, I] };
  const angles = Array.from({ length: (B * d) / 2 }, (_, n) => Math.sin(n) * 3);
  const bias = <T>(part: (typeof PARTS)[number], of: (name: string) => T) =>
    biases.includes(part) ? of(`${part}B`) : null;
  const weightsOf = (t: Tensors) => {
    const each = PARTS.map((part) => [part, { weight: matrix(t[part]), bias: bias(part, (name) => vector(t[name])) }]);
    return Object.fromEntries(each) as Record<
      (typeof PARTS)[number],
      { weight: tf.Tensor2D; bias: tf.Tensor1D | null }
    >;
  };
  const plainOf = (v: Numbers) => {
    const each = PARTS.map((part) => [part, { weight: v[part]!, bias: bias(part, (name) => v[name]!) }]);
    return Object.fromEntries(each) as Record<
      (typeof PARTS)[number],
      { weight: Float32Array; bias: Float32Array | null }
    >;
  };
  return {
    name: `decodeLayer() of ${B} sequences at ${at.join(', ') || 'nothing'} of ${C}; ${H} and ${I}, ${N} heads on ${K} of ${d}${biases.length > 0 ? `, biases on ${biases.join(', ')}` : ''}`,
    kernels: ['SpftDecodeLayer'],
    inputs: {
      x: float(B, H),
      ...{ inputNorm: float(H), postAttentionNorm: float(H) },
      ...Object.fromEntries(PARTS.map((part, n) => [part, weight(sides[part][0]!, sides[part][1]!, 50 + n)])),
      ...Object.fromEntries(biases.map((part) => [`${part}B`, float(sides[part][0]!)])),
      ...{ cos: given([B, d / 2], angles.map(Math.cos)), sin: given([B, d / 2], angles.map(Math.sin)) },
      positions: int32(at),
      ...{ keys: float(B, C, K * d), values: float(B, C, K * d) },
    },
    run: (t) => {
      const { gate, up, down, ...attention } = weightsOf(t);
      const cache = { keys: variableOf(t.keys!), values: variableOf(t.values!) } as {
        keys: tf.Variable<tf.Rank.R3>;
        values: tf.Variable<tf.Rank.R3>;
      };
      const layer = {
        ...{ inputNorm: vector(t.inputNorm), postAttentionNorm: vector(t.postAttentionNorm), eps: EPS },
        ...{ attention, mlp: { gate, up, down } },
      };
      const places = { positions: vector(t.positions), cos: matrix(t.cos), sin: matrix(t.sin) };
      try {
        const y = decodeLayer(matrix(t.x), layer, cache, places, heads);
        const [keys, values] = [cache.keys, cache.values].map((of) => tf.tensor(of.dataSync(), of.shape));
        return [y, keys!, values!];
      } finally {
        tf.dispose([cache.keys, cache.values]);
      }
    },
    expected: (v) => {
      const layer = {
        inputNorm: v.inputNorm!,
        postAttentionNorm: v.postAttentionNorm!,
        weights: plainOf(v),
        heads,
        eps: EPS,
      };
      const cache = { keys: v.keys!, values: v.values! };
      const { y, keys, values } = decodeLayerReference(v.x!, layer, v.cos!, v.sin!, at, cache);
      return [y, keys, values];
    },
  };
}

export const decodeCases: readonly ConformanceCase[] = SHAPES.map(decode);
