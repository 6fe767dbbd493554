/** @file Norms, rotary positions, SwiGLU, attention over packed sequences, and the loss. */
import { packedAttention } from '../../attention/packed-attention.js';
import { packedAttentionGradReference, packedAttentionReference } from '../../attention/packed-attention.reference.js';
import { rope } from '../../attention/rope.js';
import { ropeReference } from '../../attention/rope.reference.js';
import { ropeAttention } from '../../attention/rope-attention.js';
import type { HeadLayout } from '../../contract/types.js';
import { linearCrossEntropy } from '../../loss/linear-cross-entropy.js';
import { linearCrossEntropyReference } from '../../loss/linear-cross-entropy.reference.js';
import { swiglu } from '../../mlp/swiglu.js';
import { swigluGradReference, swigluReference } from '../../mlp/swiglu.reference.js';
import { rmsNorm } from '../../norm/rms-norm.js';
import { rmsNormGradReference, rmsNormReference } from '../../norm/rms-norm.reference.js';
import { rmsNormResidual } from '../../norm/rms-norm-residual.js';
import { packTokens } from '../../tokens/token-partition.js';
import { type ConformanceCase, float, given, int32, matrix, vector } from '../case.js';

const EPS = 1e-5;

const SHAPES = [
  [7, 5],
  [1, 1],
  [0, 4],
  [33, 17],
  [40, 64],
] as const;

const ofShapes = SHAPES.flatMap(([T, n]): ConformanceCase[] => [
  {
    name: `rmsNorm() of [${T}, ${n}]`,
    kernels: ['SpftRmsNorm', 'SpftRmsNormGrad'],
    inputs: { x: float(T, n), weight: float(n) },
    run: ({ x, weight }) => [rmsNorm(matrix(x), vector(weight), EPS)],
    expected: ({ x, weight }) => [rmsNormReference(x!, weight!, EPS, T, n)],
    gradients: ({ x, weight }, [dy]) => ({ x: rmsNormGradReference(x!, weight!, dy!, EPS, T, n) }),
  },
  {
    name: `rmsNormResidual() of [${T}, ${n}]`,
    kernels: ['SpftRmsNormResidualGrad', 'SpftRmsNorm'],
    inputs: { x: float(T, n), weight: float(n) },
    run: ({ x, weight }) => rmsNormResidual(matrix(x), vector(weight), EPS),
    expected: ({ x, weight }) => [rmsNormReference(x!, weight!, EPS, T, n), x!],
    gradients: ({ x, weight }, [dy, dresidual]) => ({
      x: rmsNormGradReference(x!, weight!, dy!, EPS, T, n).map((g, i) => g + dresidual![i]!),
    }),
  },
  {
    name: `swiglu() of [${T}, ${n}]`,
    kernels: ['SpftSwiglu', 'SpftSwigluGrad'],
    inputs: { gate: float(T, n), up: float(T, n) },
    run: ({ gate, up }) => [swiglu(matrix(gate), matrix(up))],
    expected: ({ gate, up }) => [swigluReference(gate!, up!)],
    gradients: ({ gate, up }, [dy]) => {
      const { dGate, dUp } = swigluGradReference(gate!, up!, dy!);
      return { gate: dGate, up: dUp };
    },
  },
]);

const ofRope = (
  [
    [7, 3, 6],
    [1, 1, 2],
    [0, 2, 4],
    [40, 4, 16],
  ] as const
).map(([T, heads, d]): ConformanceCase => {
  const angles = Array.from({ length: (T * d) / 2 }, (_, i) => Math.sin(i) * 3);
  const [cos, sin] = [angles.map(Math.cos), angles.map(Math.sin)];
  const turned = (x: Float32Array, way: 1 | -1) =>
    ropeReference(
      x,
      Float32Array.from(cos),
      Float32Array.from(sin, (s) => way * s),
      T,
      heads,
      d,
    );
  return {
    name: `rope() of ${T} rows, ${heads} heads of ${d}`,
    kernels: ['SpftRope'],
    inputs: { x: float(T, heads * d), cos: given([T, d / 2], cos), sin: given([T, d / 2], sin) },
    run: ({ x, cos, sin }) => [rope(matrix(x), matrix(cos), matrix(sin), d)],
    expected: ({ x }) => [turned(x!, 1)],
    gradients: (_, [dy]) => ({ x: turned(dy!, -1) }),
  };
});

const HEADS: readonly (readonly [lengths: number[], heads: HeadLayout])[] = [
  [[], { heads: 2, kvHeads: 1, headDim: 4 }],
  [[1], { heads: 1, kvHeads: 1, headDim: 2 }],
  [[5, 1, 7], { heads: 6, kvHeads: 2, headDim: 5 }],
  [[4, 9], { heads: 3, kvHeads: 3, headDim: 8 }],
  [[70, 3], { heads: 2, kvHeads: 1, headDim: 16 }],
];

const ofAttention = HEADS.map(([lengths, heads]): ConformanceCase => {
  const layout = packTokens({ lengths, dense: (token) => token % 3 === 1 });
  const { tokens: T } = layout;
  const [wide, narrow] = [heads.heads * heads.headDim, heads.kvHeads * heads.headDim];
  return {
    name: `packedAttention() of sequences of ${lengths.join(', ') || 'nothing'}; ${heads.heads} heads on ${heads.kvHeads} of ${heads.headDim}`,
    kernels: ['SpftPackedAttention', 'SpftPackedAttentionGrad'],
    inputs: { q: float(T, wide), k: float(T, narrow), v: float(T, narrow) },
    run: ({ q, k, v }) => [packedAttention(matrix(q), matrix(k), matrix(v), layout, heads)],
    expected: ({ q, k, v }) => [packedAttentionReference(q!, k!, v!, layout, heads)],
    gradients: ({ q, k, v }, [dy]) => {
      const { dq, dk, dv } = packedAttentionGradReference(q!, k!, v!, dy!, layout, heads);
      return { q: dq, k: dk, v: dv };
    },
  };
});

const ofRopeAttention = HEADS.filter(([, { headDim }]) => headDim % 2 === 0).map(
  ([lengths, heads]): ConformanceCase => {
    const layout = packTokens({ lengths, dense: (token) => token % 3 === 1 });
    const { tokens: T } = layout;
    const { heads: N, kvHeads: K, headDim: d } = heads;
    const angles = Array.from({ length: (T * d) / 2 }, (_, i) => Math.sin(i) * 3);
    const [cos, sin] = [angles.map(Math.cos), angles.map(Math.sin)];
    const turned = (x: Float32Array, heads: number, way: 1 | -1) =>
      ropeReference(
        x,
        Float32Array.from(cos),
        Float32Array.from(sin, (s) => way * s),
        T,
        heads,
        d,
      );
    const tables = { cos: given([T, d / 2], cos), sin: given([T, d / 2], sin) };
    return {
      name: `ropeAttention() of sequences of ${lengths.join(', ') || 'nothing'}; ${N} heads on ${K} of ${d}`,
      kernels: ['SpftRopeAttention', 'SpftRopeAttentionGrad'],
      inputs: { q: float(T, N * d), k: float(T, K * d), v: float(T, K * d), ...tables },
      run: ({ q, k, v, cos, sin }) => [
        ropeAttention(matrix(q), matrix(k), matrix(v), { cos: matrix(cos), sin: matrix(sin) }, layout, heads),
      ],
      expected: ({ q, k, v }) => [packedAttentionReference(turned(q!, N, 1), turned(k!, K, 1), v!, layout, heads)],
      gradients: ({ q, k, v }, [dy]) => {
        const { dq, dk, dv } = packedAttentionGradReference(turned(q!, N, 1), turned(k!, K, 1), v!, dy!, layout, heads);
        return { q: turned(dq, N, -1), k: turned(dk, K, -1), v: dv };
      },
    };
  },
);

const ofLoss = (
  [
    [7, 5, 11, undefined],
    [5, 4, 9, 2],
    [1, 8, 3, undefined],
    [0, 4, 6, undefined],
    [24, 32, 64, 16],
  ] as const
).map(([R, H, V, chunkRows]): ConformanceCase => {
  const labels = Array.from({ length: R }, (_, r) => (r * 5 + 2) % V);
  return {
    name: `linearCrossEntropy() of [${R}, ${H}] and ${V} tokens${chunkRows ? `, ${chunkRows} rows at a time` : ''}`,
    kernels: ['SpftLinearCrossEntropy'],
    inputs: { x: float(R, H), weight: float(V, H), labels: int32(labels) },
    run: ({ x, weight, labels }) => [linearCrossEntropy(matrix(x), matrix(weight), vector(labels), { chunkRows })],
    expected: ({ x, weight }) => [[linearCrossEntropyReference(x!, weight!, labels, H, V).loss]],
    gradients: ({ x, weight }, [dy]) => ({
      x: linearCrossEntropyReference(x!, weight!, labels, H, V).dx.map((g) => g * dy![0]!),
    }),
  };
});

export const tokenWiseCases: readonly ConformanceCase[] = [
  ...ofShapes,
  ...ofRope,
  ...ofAttention,
  ...ofRopeAttention,
  ...ofLoss,
];
