/** @file Ops that span several products of a layer, or the choice of its channels, in the manner of cases.ts. */
import * as ops from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { gatedMlpGradReference, gatedMlpReference } from '../../packages/sparse-ops/src/mlp/gated-mlp.reference.js';
import {
  type LoraMlpReference,
  loraMlpGradReference,
  loraMlpReference,
} from '../../packages/sparse-ops/src/mlp/lora-mlp.reference.js';
import { layerGradReference, layerReference } from '../../packages/sparse-ops/src/project/project-rows.reference.js';
import { gatedScoresReference } from '../../packages/sparse-ops/src/select/gated-scores.reference.js';
import { gatedSelectionReference } from '../../packages/sparse-ops/src/select/gated-selection.reference.js';
import { queryChannelsReference } from '../../packages/sparse-ops/src/select/query-channels.reference.js';
import { topKReference } from '../../packages/sparse-ops/src/select/top-k-selection.reference.js';
import { uniform } from '../support/random.js';
import type { OpCase, OpShape } from './case.js';

export function blockCases({ sequences, length, context, H, I, N, K, d, r, p, kept }: OpShape): OpCase[] {
  const T = sequences * length;
  const D = T - sequences * Math.round(length * context);
  const keptIndices = [...topKReference(uniform(I, 77), kept)];
  const keep = (): ops.ChannelSelection => ({ indices: tf.tensor1d(keptIndices, 'int32'), kept, total: I });
  let seed = 1000;
  const matrix = (rows: number, columns: number, deviation = 1) => {
    const values = uniform(rows * columns, ++seed, deviation);
    return { values, tensor: tf.tensor2d(values, [rows, columns]) };
  };
  const weight = (out: number, inputs: number) => matrix(out, inputs, 1 / Math.sqrt(inputs));
  const plain = (w: { values: Float32Array }, out: number, inputs: number) => ({
    ...{ weight: w.values, bias: null, keep: new Set(keptIndices), lora: null, out, inputs },
  });

  return [
    {
      name: 'project-rows',
      kernels: ['SpftProjectRows', 'SpftProjectRowsGrad'],
      make() {
        const [x, w, a, b] = [matrix(T, H), weight(I, H), weight(r, H), weight(I, r)];
        const layer = {
          ...plain(w, I, H),
          lora: { a: a.values, b: b.values, r, scaling: 2, magnitude: null },
        };
        return {
          inputs: [x.tensor, a.tensor, b.tensor],
          run: (...[x, a, b]) => {
            const lora = { a: a as tf.Tensor2D, b: b as tf.Tensor2D, scaling: 2 };
            return ops.projectRows(x as tf.Tensor2D, [{ weight: w.tensor, bias: null, keep: keep(), lora }], D)[0]!;
          },
          reference: () => layerReference(x.values, T, layer, D, 'outputs'),
          gradients: (dy) => {
            const { dx, dA, dB } = layerGradReference(x.values, dy, T, layer, D, 'outputs');
            return [dx, dA!, dB!];
          },
        };
      },
    },
    {
      name: 'gated-mlp',
      kernels: ['SpftGatedMlp', 'SpftGatedMlpGrad'],
      make() {
        const [x, residual] = [matrix(T, H), matrix(T, H)];
        const [gate, up, down] = [weight(I, H), weight(I, H), weight(H, I)];
        const mlp = { gate: plain(gate, I, H), up: plain(up, I, H), down: plain(down, H, I) };
        const frozen = (w: { tensor: tf.Tensor2D }) => ({ weight: w.tensor, bias: null });
        const weights = { gate: frozen(gate), up: frozen(up), down: frozen(down) };
        return {
          inputs: [x.tensor, residual.tensor],
          run: (x, residual) => ops.gatedMlp(x as tf.Tensor2D, residual as tf.Tensor2D, weights, keep(), D),
          reference: () => gatedMlpReference(x.values, residual.values, T, mlp, D),
          gradients: (dy) => [gatedMlpGradReference(x.values, dy, T, mlp, D), dy],
        };
      },
    },
    {
      name: 'lora-mlp',
      kernels: ['SpftLoraMlp', 'SpftLoraMlpGrad'],
      make() {
        const [x, residual] = [matrix(T, H), matrix(T, H)];
        const sides = { gate: [I, H], up: [I, H], down: [H, I] } as const;
        const parts = (['gate', 'up', 'down'] as const).map((name) => {
          const [out, inputs] = sides[name];
          const [w, a, b] = [weight(out, inputs), weight(r, inputs), matrix(out, r)];
          const lora = { a: a.values, b: b.values, r, scaling: 2, magnitude: null };
          return { name, w, a, b, reference: { ...plain(w, out, inputs), lora } };
        });
        const layers = (branches: readonly tf.Tensor[]) =>
          Object.fromEntries(
            parts.map(({ name, w }, n) => {
              const [a, b] = [branches[2 * n] as tf.Tensor2D, branches[2 * n + 1] as tf.Tensor2D];
              return [name, { weight: w.tensor, bias: null, lora: { a, b, scaling: 2 } }];
            }),
          ) as unknown as ops.MlpLayers;
        const references = Object.fromEntries(
          parts.map(({ name, reference }) => [name, reference]),
        ) as unknown as LoraMlpReference;
        return {
          inputs: [x.tensor, residual.tensor, ...parts.flatMap(({ a, b }) => [a.tensor, b.tensor])],
          run: (x, residual, ...branches) =>
            ops.loraMlp(x as tf.Tensor2D, residual as tf.Tensor2D, layers(branches), keep(), D),
          reference: () => loraMlpReference(x.values, residual.values, T, references, D),
          gradients: (dy) => {
            const { dx, ...of } = loraMlpGradReference(x.values, dy, T, references, D);
            return [dx, dy, ...parts.flatMap(({ name }) => [of[name].dA!, of[name].dB!])];
          },
        };
      },
    },
    {
      name: 'gated-selection',
      kernels: ['SpftGatedSelection'],
      make() {
        const x = matrix(T, H);
        const layout = ops.packTokens({ lengths: new Array(sequences).fill(length), dense: () => false });
        const pairs = [0, 1].map(() => ({ a: weight(H, p), b: matrix(p, I) }));
        const [gate, up] = pairs.map(({ a, b }) => ({ a: a.tensor, b: b.tensor })) as [
          ops.LowRankPair,
          ops.LowRankPair,
        ];
        return {
          inputs: [x.tensor],
          run: (x) => ops.gatedSelection(x as tf.Tensor2D, layout, gate, up, kept).indices,
          reference: () => {
            const [ofGate, ofUp] = pairs.map(({ a, b }) => ({ a: a.values, b: b.values, r: p }));
            return gatedSelectionReference(x.values, layout, ofGate!, ofUp!, { In: H, n: I, kept });
          },
          differentiable: false,
        };
      },
    },
    {
      name: 'gated-scores',
      kernels: ['SpftGatedScores'],
      make() {
        const x = matrix(sequences, H);
        const pairs = [0, 1].map(() => ({ a: weight(H, p), b: matrix(p, I) }));
        const [gate, up] = pairs.map(({ a, b }) => ({ a: a.tensor, b: b.tensor })) as [
          ops.LowRankPair,
          ops.LowRankPair,
        ];
        const [ofGate, ofUp] = pairs.map(({ a, b }) => ({ a: a.values, b: b.values, r: p }));
        return {
          inputs: [x.tensor],
          run: (x) => ops.gatedScores(x as tf.Tensor2D, gate, up),
          reference: () => gatedScoresReference(x.values, ofGate!, ofUp!, { B: sequences, In: H, n: I }),
          differentiable: false,
        };
      },
    },
    {
      name: 'query-channels',
      kernels: ['SpftQueryChannels'],
      make() {
        const layout = { heads: N, kvHeads: K, headDim: d };
        const some = topKReference(uniform(K * d, 78), Math.ceil((K * d) / 2));
        const indices = tf.tensor1d([...some], 'int32');
        return {
          inputs: [],
          run: () => ops.queryChannels({ indices, kept: some.length, total: K * d }, layout).indices,
          reference: () => queryChannelsReference([...some], layout),
          differentiable: false,
        };
      },
    },
  ];
}
