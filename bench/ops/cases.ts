/**
 * @file Every op of sparse-ops that has a reference, at the shape of a step: its inputs, its call, and the plain loops that it must agree
 * with. A row is named after the op's file; a test demands a row for each `*.reference.ts`.
 */
import * as ops from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import {
  packedAttentionGradReference,
  packedAttentionReference,
} from '../../packages/sparse-ops/src/attention/packed-attention.reference.js';
import { ropeReference } from '../../packages/sparse-ops/src/attention/rope.reference.js';
import { batchedMatMulReference } from '../../packages/sparse-ops/src/engine/batched-matmul.reference.js';
import { linearCrossEntropyReference } from '../../packages/sparse-ops/src/loss/linear-cross-entropy.reference.js';
import { swigluGradReference, swigluReference } from '../../packages/sparse-ops/src/mlp/swiglu.reference.js';
import { rmsNormGradReference, rmsNormReference } from '../../packages/sparse-ops/src/norm/rms-norm.reference.js';
import {
  doraLinearReference,
  doraNormsReference,
} from '../../packages/sparse-ops/src/project/dora-linear.reference.js';
import { dropoutReference } from '../../packages/sparse-ops/src/project/dropout.reference.js';
import { linearReference } from '../../packages/sparse-ops/src/project/linear.reference.js';
import {
  linearKeptColumnsGradReference,
  linearKeptColumnsReference,
} from '../../packages/sparse-ops/src/project/linear-kept-columns.reference.js';
import {
  linearKeptRowsGradReference,
  linearKeptRowsReference,
} from '../../packages/sparse-ops/src/project/linear-kept-rows.reference.js';
import {
  loraLinearGradReference,
  loraLinearReference,
} from '../../packages/sparse-ops/src/project/lora-linear.reference.js';
import { columnNormsReference } from '../../packages/sparse-ops/src/select/column-norms.reference.js';
import { gatherColumnsReference } from '../../packages/sparse-ops/src/select/gather-columns.reference.js';
import { gramScoresReference } from '../../packages/sparse-ops/src/select/gram-scores.reference.js';
import { maskColumnsReference } from '../../packages/sparse-ops/src/select/mask-columns.reference.js';
import { scatterColumnsReference } from '../../packages/sparse-ops/src/select/scatter-columns.reference.js';
import { topKReference } from '../../packages/sparse-ops/src/select/top-k-selection.reference.js';
import {
  gatherRowsGradReference,
  gatherRowsReference,
} from '../../packages/sparse-ops/src/tokens/gather-rows.reference.js';
import { sequenceMeansReference } from '../../packages/sparse-ops/src/tokens/sequence-means.reference.js';
import { globalNormReference } from '../../packages/sparse-ops/src/update/global-norm.reference.js';
import { adamwReference } from '../../packages/sparse-ops/src/update/optimizer-update.reference.js';
import { integers, uniform } from '../support/random.js';
import { blockCases } from './block-cases.js';
import type { OpCase, OpShape } from './case.js';
import { modelCases } from './model-cases.js';

/** All ops at one shape. */
export function opCases(shape: OpShape): OpCase[] {
  const { sequences, length, context, H, I, N, K, d, V, r, p, kept } = shape;
  const T = sequences * length;
  const isOutput = (token: number) => token % length >= Math.round(length * context);
  const layout = ops.packTokens({ lengths: Array.from({ length: sequences }, () => length), dense: isOutput });
  const D = layout.denseTokens;
  const S = T - D;
  const heads = { heads: N, kvHeads: K, headDim: d };
  const s = 2;
  const keptIndices = topKReference(uniform(I, 77), kept);
  const keep = (): ops.ChannelSelection => ({ indices: tf.tensor1d(keptIndices, 'int32'), kept, total: I });

  /** Values and their tensor; a weight of `inputs` inputs keeps the variance. */
  let seed = 0;
  const matrix = (rows: number, columns: number, deviation = 1) => {
    const values = uniform(rows * columns, ++seed, deviation);
    return { values, tensor: tf.tensor2d(values, [rows, columns]) };
  };
  const weight = (out: number, inputs: number) => matrix(out, inputs, 1 / Math.sqrt(inputs));
  const vector = (n: number, around = 0) => {
    const values = uniform(n, ++seed).map((x) => around + (around === 0 ? x : 0.1 * x));
    return { values, tensor: tf.tensor1d(values) };
  };
  const first = (run: (x: tf.Tensor2D) => tf.Tensor) => (x: tf.Tensor) => run(x as tf.Tensor2D);

  return [
    {
      name: 'batched-matmul',
      kernels: ['SpftBatchedMatMul'],
      make() {
        const [a, b] = [matrix(N * length, d), matrix(N * length, d)];
        const shaped = [a, b].map(({ tensor }) => tf.reshape(tensor, [N, length, d]));
        return {
          inputs: shaped,
          run: (a, b) => ops.batchedMatMul(a as tf.Tensor3D, b as tf.Tensor3D, false, true),
          reference: () => batchedMatMulReference(a.values, b.values, [N, length, d, length], false, true),
        };
      },
    },
    {
      name: 'column-norms',
      kernels: ['SpftColumnNorms'],
      make() {
        const x = matrix(T, I);
        return {
          inputs: [x.tensor],
          run: first(ops.columnNorms),
          reference: () => columnNormsReference(x.values, T, I),
        };
      },
    },
    {
      name: 'dora-linear',
      kernels: ['SpftDoraLinear', 'SpftDoraLinearGrad', 'SpftDoraNorms'],
      make() {
        const [x, base, A, B, w, m] = [
          matrix(T, H),
          matrix(T, H),
          weight(r, H),
          weight(H, r),
          weight(H, H),
          vector(H, 1),
        ];
        const shapes = { T, In: H, Out: H, r };
        return {
          inputs: [x, base, A, B, m].map(({ tensor }) => tensor),
          run: (x, base, A, B, m) =>
            ops.doraLinear(
              ...([x, base, A, B] as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D, tf.Tensor2D]),
              m as tf.Tensor1D,
              w.tensor,
              s,
            ),
          reference() {
            const norms = doraNormsReference(w.values, A.values, B.values, s, shapes);
            return doraLinearReference(x.values, base.values, A.values, B.values, m.values, norms, null, s, shapes);
          },
        };
      },
    },
    {
      name: 'dropout',
      kernels: ['SpftDropout'],
      make() {
        const x = matrix(T, H);
        return {
          inputs: [x.tensor],
          run: (x) => ops.dropout(x, 0.1, 5),
          reference: () => dropoutReference(x.values, 0.1, 5),
          gradients: (dy) => [dropoutReference(dy, 0.1, 5)],
        };
      },
    },
    {
      name: 'gather-columns',
      kernels: ['SpftGatherColumns', 'SpftScatterColumns'],
      make() {
        const [x, selection] = [matrix(S, I), keep()];
        return {
          inputs: [x.tensor],
          run: first((x) => ops.gatherColumns(x, selection)),
          reference: () => gatherColumnsReference(x.values, keptIndices, S, I),
          gradients: (dy) => [scatterColumnsReference(dy, keptIndices, S, I)],
        };
      },
    },
    {
      name: 'gather-rows',
      kernels: ['SpftGatherRows', 'SpftGatherRowsGrad'],
      make() {
        const [x, rows] = [matrix(T, H), integers(D, T, 8)];
        const indices = tf.tensor1d(rows, 'int32');
        return {
          inputs: [x.tensor],
          run: first((x) => ops.gatherRows(x, indices)),
          reference: () => gatherRowsReference(x.values, rows, H),
          gradients: (dy) => [gatherRowsGradReference(dy, rows, T, H)],
        };
      },
    },
    {
      name: 'global-norm',
      kernels: ['SpftGlobalNorm'],
      make() {
        const all = [matrix(r, H), matrix(H, r), matrix(r, I), matrix(I, r)];
        return {
          inputs: all.map(({ tensor }) => tensor),
          run: (...tensors) => ops.globalNorm(tensors),
          reference: () => [globalNormReference(all.map(({ values }) => values))],
          differentiable: false,
        };
      },
    },
    {
      name: 'gram-scores',
      kernels: ['SpftGramScores', 'SpftGramScoresGrad'],
      make() {
        const [x, a, b] = [matrix(T, H), matrix(H, p, 1 / Math.sqrt(H)), matrix(p, I)];
        return {
          inputs: [x.tensor],
          run: first((x) => ops.gramScores(x, a.tensor, b.tensor)),
          reference: () => gramScoresReference(x.values, a.values, b.values, { T, In: H, r: p, n: I }),
        };
      },
    },
    {
      name: 'linear-cross-entropy',
      kernels: ['SpftLinearCrossEntropy'],
      make() {
        const [x, w, labels] = [matrix(D, H), weight(V, H), integers(D, V, 9)];
        const tensor = tf.tensor1d(labels, 'int32');
        const loops = () => linearCrossEntropyReference(x.values, w.values, labels, H, V);
        return {
          inputs: [x.tensor],
          run: first((x) => ops.linearCrossEntropy(x, w.tensor, tensor)),
          reference: () => [loops().loss],
          gradients: ([dy]) => [loops().dx.map((g) => g * dy!)],
        };
      },
    },
    {
      name: 'linear-kept-columns',
      kernels: ['SpftLinearKeptColumns', 'SpftLinearKeptColumnsGrad'],
      make() {
        const [x, w, selection] = [matrix(S, kept), weight(H, I), keep()];
        return {
          inputs: [x.tensor],
          run: first((x) => ops.linearKeptColumns(x, w.tensor, selection)),
          reference: () => linearKeptColumnsReference(x.values, w.values, keptIndices, null, S, H, I),
          gradients: (dy) => [linearKeptColumnsGradReference(dy, w.values, keptIndices, S, H, I)],
        };
      },
    },
    {
      name: 'linear-kept-rows',
      kernels: ['SpftLinearKeptRows', 'SpftLinearKeptRowsGrad'],
      make() {
        const [x, w, selection] = [matrix(S, H), weight(I, H), keep()];
        return {
          inputs: [x.tensor],
          run: first((x) => ops.linearKeptRows(x, w.tensor, selection)),
          reference: () => linearKeptRowsReference(x.values, w.values, keptIndices, null, S, H),
          gradients: (dy) => [linearKeptRowsGradReference(dy, w.values, keptIndices, S, H)],
        };
      },
    },
    {
      name: 'linear',
      kernels: ['SpftLinear', 'SpftLinearGrad'],
      make() {
        const [x, w] = [matrix(T, H), weight(I, H)];
        return {
          inputs: [x.tensor],
          run: first((x) => ops.linear(x, w.tensor)),
          reference: () => linearReference(x.values, w.values, null, T, H, I),
          // All rows kept is the whole of it.
          gradients: (dy) => [
            linearKeptRowsGradReference(
              dy,
              w.values,
              Array.from({ length: I }, (_, i) => i),
              T,
              H,
            ),
          ],
        };
      },
    },
    {
      name: 'lora-linear',
      kernels: ['SpftLoraLinear', 'SpftLoraLinearGrad'],
      make() {
        const [x, base, A, B] = [matrix(T, H), matrix(T, H), weight(r, H), weight(H, r)];
        const shapes = { T, In: H, Out: H, r };
        return {
          inputs: [x, base, A, B].map(({ tensor }) => tensor),
          run: (...inputs) => ops.loraLinear(...(inputs as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D, tf.Tensor2D]), s),
          reference: () => loraLinearReference(x.values, base.values, A.values, B.values, s, shapes),
          gradients: (dy) => loraLinearGradReference(x.values, A.values, B.values, dy, s, shapes),
        };
      },
    },
    {
      name: 'mask-columns',
      kernels: ['SpftMaskColumns'],
      make() {
        const [x, selection] = [matrix(T, I), keep()];
        return {
          inputs: [x.tensor],
          run: first((x) => ops.maskColumns(x, selection, D)),
          reference: () => maskColumnsReference(x.values, keptIndices, D, T, I),
          gradients: (dy) => [maskColumnsReference(dy, keptIndices, D, T, I)],
        };
      },
    },
    {
      name: 'optimizer-update',
      kernels: ['SpftAdamw'],
      make() {
        const [parameter, gradient] = [matrix(H, I), matrix(H, I)];
        const options = { learningRate: 0.01, weightDecay: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        return {
          inputs: [parameter.tensor, gradient.tensor],
          run(initial, gradient) {
            const p = tf.variable(initial);
            const moments = [ops.zeroMoments([p]), ops.zeroMoments([p])] as const;
            const state = { firstMoments: moments[0], secondMoments: moments[1] };
            ops.adamwUpdate([p], [gradient], state, { ...options, step: 1 });
            const updated = tf.clone(p);
            tf.dispose([p, ...moments[0], ...moments[1]]);
            return updated;
          },
          reference: () => adamwReference(parameter.values, [gradient.values], { ...options, scale: 1 }).p,
          differentiable: false,
        };
      },
    },
    {
      name: 'packed-attention',
      kernels: ['SpftPackedAttention', 'SpftPackedAttentionGrad'],
      make() {
        const [q, k, v] = [matrix(T, N * d), matrix(T, K * d), matrix(T, K * d)];
        return {
          inputs: [q, k, v].map(({ tensor }) => tensor),
          run: (...inputs) =>
            ops.packedAttention(...(inputs as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D]), layout, heads),
          reference: () => packedAttentionReference(q.values, k.values, v.values, layout, heads),
          gradients(dy) {
            const { dq, dk, dv } = packedAttentionGradReference(q.values, k.values, v.values, dy, layout, heads);
            return [dq, dk, dv];
          },
        };
      },
    },
    {
      name: 'rms-norm',
      kernels: ['SpftRmsNorm', 'SpftRmsNormGrad'],
      make() {
        const [x, w] = [matrix(T, H), vector(H, 1)];
        return {
          inputs: [x.tensor],
          run: first((x) => ops.rmsNorm(x, w.tensor, 1e-5)),
          reference: () => rmsNormReference(x.values, w.values, 1e-5, T, H),
          gradients: (dy) => [rmsNormGradReference(x.values, w.values, dy, 1e-5, T, H)],
        };
      },
    },
    {
      name: 'rope',
      kernels: ['SpftRope'],
      make() {
        const [x, angles] = [matrix(T, N * d), uniform((T * d) / 2, 31)];
        const [cos, sin] = [angles.map(Math.cos), angles.map(Math.sin)];
        const tables = [cos, sin].map((values) => tf.tensor2d(values, [T, d / 2])) as [tf.Tensor2D, tf.Tensor2D];
        return {
          inputs: [x.tensor],
          run: first((x) => ops.rope(x, ...tables, d)),
          reference: () => ropeReference(x.values, cos, sin, T, N, d),
          // A rotation's gradient is the rotation back.
          gradients: (dy) => [
            ropeReference(
              dy,
              cos,
              sin.map((x) => -x),
              T,
              N,
              d,
            ),
          ],
        };
      },
    },
    {
      name: 'scatter-columns',
      kernels: ['SpftScatterColumns', 'SpftGatherColumns'],
      make() {
        const [x, selection] = [matrix(S, kept), keep()];
        return {
          inputs: [x.tensor],
          run: first((x) => ops.scatterColumns(x, selection)),
          reference: () => scatterColumnsReference(x.values, keptIndices, S, I),
          gradients: (dy) => [gatherColumnsReference(dy, keptIndices, S, I)],
        };
      },
    },
    {
      name: 'sequence-means',
      kernels: ['SpftSequenceMeans'],
      make() {
        const x = matrix(T, H);
        return {
          inputs: [x.tensor],
          run: first((x) => ops.sequenceMeans(x, layout)),
          reference: () => sequenceMeansReference(x.values, layout, H),
        };
      },
    },
    {
      name: 'swiglu',
      kernels: ['SpftSwiglu', 'SpftSwigluGrad'],
      make() {
        const [gate, up] = [matrix(T, I), matrix(T, I)];
        return {
          inputs: [gate.tensor, up.tensor],
          run: (gate, up) => ops.swiglu(gate as tf.Tensor2D, up as tf.Tensor2D),
          reference: () => swigluReference(gate.values, up.values),
          gradients(dy) {
            const { dGate, dUp } = swigluGradReference(gate.values, up.values, dy);
            return [dGate, dUp];
          },
        };
      },
    },
    {
      name: 'top-k-selection',
      kernels: ['SpftTopKSelection'],
      make() {
        const scores = vector(I);
        return {
          inputs: [scores.tensor],
          run: (scores) => ops.topKSelection(scores as tf.Tensor1D, kept).indices,
          reference: () => topKReference(scores.values, kept),
          differentiable: false,
        };
      },
    },
    ...blockCases(shape),
    ...modelCases(shape),
  ];
}
