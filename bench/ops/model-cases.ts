/** @file Ops beside a step's own: a token of generation, frozen matrices in 4 bits, moments in 8 bits, the loss of an adapted head; in the manner of cases.ts. */
import * as ops from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { decodeLayerReference } from '../../packages/sparse-ops/src/decode/decode-layer.reference.js';
import {
  bookOf,
  quantise4bitReference,
  unpack4bitReference,
} from '../../packages/sparse-ops/src/forms/four-bit.reference.js';
import { logitsCrossEntropyReference } from '../../packages/sparse-ops/src/loss/logits-cross-entropy.reference.js';
import { linearReference } from '../../packages/sparse-ops/src/project/linear.reference.js';
import { adamw8bitReference } from '../../packages/sparse-ops/src/update/adamw-8bit.reference.js';
import { integers, uniform } from '../support/random.js';
import type { OpCase, OpShape } from './case.js';

const PARTS = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const;
/** Numbers that share a scale: in 4 bits, and of a moment. */
const [BLOCK, MOMENT_BLOCK] = [64, 256];

export function modelCases({ sequences, length, context, H, I, N, K, d, V }: OpShape): OpCase[] {
  const T = sequences * length;
  const D = T - sequences * Math.round(length * context);
  let seed = 2000;
  const matrix = (rows: number, columns: number, deviation = 1) => {
    const values = uniform(rows * columns, ++seed, deviation);
    return { values, tensor: tf.tensor2d(values, [rows, columns]) };
  };
  const weight = (out: number, inputs: number) => matrix(out, inputs, 1 / Math.sqrt(inputs));

  return [
    {
      name: 'adamw-8bit',
      kernels: ['SpftAdamw8bit'],
      make() {
        const [parameter, gradient] = [matrix(H, I), matrix(H, I)];
        const options = { learningRate: 0.01, weightDecay: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, step: 1 };
        const zeros = () => ({
          codes: new Uint8Array(H * I),
          scales: new Float32Array(Math.ceil((H * I) / MOMENT_BLOCK)),
        });
        return {
          inputs: [parameter.tensor, gradient.tensor],
          run(initial, gradient) {
            const p = tf.variable(initial);
            const [state, tables] = [ops.zeroMoments8bit([p]), ops.momentTablesTensor()];
            ops.adamw8bitUpdate([p], [gradient], state, tables, options);
            const updated = tf.clone(p);
            tf.dispose([p, tables, ...Object.values(state).flat()]);
            return updated;
          },
          reference: () =>
            adamw8bitReference(parameter.values, gradient.values, zeros(), zeros(), { ...options, scale: 1 }).p,
          differentiable: false,
        };
      },
    },
    {
      name: 'decode-layer',
      kernels: ['SpftDecodeLayer'],
      make() {
        const heads = { heads: N, kvHeads: K, headDim: d };
        const sides = {
          q: [N * d, H],
          k: [K * d, H],
          v: [K * d, H],
          o: [H, N * d],
          gate: [I, H],
          up: [I, H],
          down: [H, I],
        };
        const made = Object.fromEntries(PARTS.map((part) => [part, weight(sides[part][0]!, sides[part][1]!)]));
        const of = <X>(each: (part: ReturnType<typeof weight>) => X) =>
          Object.fromEntries(PARTS.map((part) => [part, { weight: each(made[part]!), bias: null }])) as Record<
            (typeof PARTS)[number],
            { weight: X; bias: null }
          >;
        const [x, angles] = [matrix(sequences, H), matrix(sequences, d / 2)];
        const [cos, sin] = [angles.values.map(Math.cos), angles.values.map(Math.sin)];
        const norm = new Float32Array(H).fill(1);
        const [keys, values] = [matrix(sequences * length, K * d), matrix(sequences * length, K * d)];
        const at = integers(sequences, length, 12);
        const { gate, up, down, ...attention } = of(({ tensor }) => tensor);
        const norms = { inputNorm: tf.tensor1d(norm), postAttentionNorm: tf.tensor1d(norm), eps: 1e-5 };
        const places = {
          positions: tf.tensor1d(at, 'int32'),
          ...{ cos: tf.tensor2d(cos, [sequences, d / 2]), sin: tf.tensor2d(sin, [sequences, d / 2]) },
        };
        return {
          inputs: [x.tensor],
          run(x) {
            const room = (of: tf.Tensor) =>
              tf.variable(tf.reshape(of, [sequences, length, K * d])) as tf.Variable<tf.Rank.R3>;
            const cache = { keys: room(keys.tensor), values: room(values.tensor) };
            const y = ops.decodeLayer(
              x as tf.Tensor2D,
              { ...norms, attention, mlp: { gate, up, down } },
              cache,
              places,
              heads,
            );
            tf.dispose([cache.keys, cache.values]);
            return y;
          },
          reference: () => {
            const plain = {
              inputNorm: norm,
              postAttentionNorm: norm,
              weights: of(({ values }) => values),
              heads,
              eps: 1e-5,
            };
            return decodeLayerReference(x.values, plain, cos, sin, at, { keys: keys.values, values: values.values }).y;
          },
          differentiable: false,
        };
      },
    },
    {
      name: 'four-bit',
      kernels: ['SpftLinear4bit', 'SpftLinear4bitGrad', 'SpftUnpack4bit', 'SpftQuantise4bit'],
      make() {
        // Rows are whole blocks.
        const inputs = BLOCK * Math.ceil(H / BLOCK);
        const [x, w] = [matrix(T, inputs), weight(I, inputs)];
        const stored = ops.storeAs(w.tensor, 'nf4');
        const plain = () => {
          const arrays = { ...quantise4bitReference(w.values, 'nf4', BLOCK), map: Float32Array.from(bookOf('nf4')) };
          const attributes = {
            out: I,
            in: inputs,
            blockSize: BLOCK,
            dtype: 'F32' as const,
            offset: 0,
            nestedBlockSize: MOMENT_BLOCK,
          };
          return unpack4bitReference(arrays, attributes);
        };
        return {
          inputs: [x.tensor],
          run: (x) => ops.linear(x as tf.Tensor2D, stored, null),
          reference: () => linearReference(x.values, plain(), null, T, inputs, I),
        };
      },
    },
    {
      name: 'logits-cross-entropy',
      kernels: [],
      make() {
        const [z, labels] = [matrix(D, V), integers(D, V, 10)];
        const tensor = tf.tensor1d(labels, 'int32');
        const loops = () => logitsCrossEntropyReference(z.values, labels, V);
        return {
          inputs: [z.tensor],
          run: (z) => ops.logitsCrossEntropy(z as tf.Tensor2D, tensor),
          reference: () => [loops().loss],
          gradients: ([dy]) => [loops().dz.map((g) => g * dy!)],
        };
      },
    },
  ];
}
