/** @file Scores of channels by low-rank predictors, and the channels that they choose. */
import { product } from '../../project/lora-linear.reference.js';
import { gatedScores } from '../../select/gated-scores.js';
import { gatedScoresReference } from '../../select/gated-scores.reference.js';
import { gatedSelection } from '../../select/gated-selection.js';
import { gatedSelectionReference } from '../../select/gated-selection.reference.js';
import { gramScores } from '../../select/gram-scores.js';
import { gramScoresReference } from '../../select/gram-scores.reference.js';
import { gramScoresOfAll } from '../../select/gram-scores-of-all.js';
import { combineQueryKeyScores, queryChannels } from '../../select/query-channels.js';
import { combineQueryKeyScoresReference, queryChannelsReference } from '../../select/query-channels.reference.js';
import { topKSelection } from '../../select/top-k-selection.js';
import { topKReference } from '../../select/top-k-selection.reference.js';
import { packTokens } from '../../tokens/token-partition.js';
import { type ConformanceCase, float, given, int32, matrix, selection, someOf, vector } from '../case.js';
import { normals } from '../numbers.js';

const ofPredictors = (
  [
    [7, 5, 2, 9],
    [1, 3, 1, 1],
    [0, 4, 2, 6],
    [40, 64, 8, 48],
  ] as const
).flatMap(([T, In, r, n]): ConformanceCase[] => {
  const about = `[${T}, ${In}], rank ${r}, ${n} channels`;
  return [
    {
      name: `gramScores() of ${about}`,
      kernels: ['SpftGramScores', 'SpftGramScoresGrad'],
      inputs: { x: float(T, In), a: float(In, r), b: float(r, n) },
      run: ({ x, a, b }) => [gramScores(matrix(x), matrix(a), matrix(b))],
      expected: ({ x, a, b }) => [gramScoresReference(x!, a!, b!, { T, In, r, n })],
      gradients: ({ x, a, b }, [dy]) => {
        // d‖yⱼ‖ is yⱼ / ‖yⱼ‖, and y is x·(a·b).
        const whole = product(a!, b!, In, r, n);
        const y = product(x!, whole, T, In, n);
        const scores = gramScoresReference(x!, a!, b!, { T, In, r, n });
        const g = y.map((value, i) => (scores[i % n] === 0 ? 0 : (value * dy![i % n]!) / scores[i % n]!));
        const dx = new Float64Array(T * In);
        for (let t = 0; t < T; t++) {
          for (let i = 0; i < In; i++) {
            for (let j = 0; j < n; j++) dx[t * In + i]! += g[t * n + j]! * whole[i * n + j]!;
          }
        }
        return { x: dx };
      },
    },
    {
      name: `gramScoresOfAll() of ${about} and others`,
      kernels: ['SpftGramScoresOfAll'],
      inputs: {
        ...{ x: float(T, In), a0: float(In, r), b0: float(r, n), a1: float(In, r), b1: float(r, n + 2) },
        ...{ a2: float(In, r + 1), b2: float(r + 1, 3) },
      },
      run: ({ x, a0, b0, a1, b1, a2, b2 }) =>
        gramScoresOfAll(matrix(x), [
          { a: matrix(a0), b: matrix(b0) },
          { a: matrix(a1), b: matrix(b1) },
          { a: matrix(a2), b: matrix(b2) },
        ]),
      expected: ({ x, a0, b0, a1, b1, a2, b2 }) => [
        gramScoresReference(x!, a0!, b0!, { T, In, r, n }),
        gramScoresReference(x!, a1!, b1!, { T, In, r, n: n + 2 }),
        gramScoresReference(x!, a2!, b2!, { T, In, r: r + 1, n: 3 }),
      ],
    },
    {
      name: `gatedScores() of ${about}`,
      kernels: ['SpftGatedScores'],
      inputs: {
        ...{ x: float(T, In), gateA: float(In, r), gateB: float(r, n), upA: float(In, r), upB: float(r, n) },
      },
      run: ({ x, gateA, gateB, upA, upB }) => [
        gatedScores(matrix(x), { a: matrix(gateA), b: matrix(gateB) }, { a: matrix(upA), b: matrix(upB) }),
      ],
      expected: ({ x, gateA, gateB, upA, upB }) => [
        gatedScoresReference(x!, { a: gateA!, b: gateB!, r }, { a: upA!, b: upB!, r }, { B: T, In, n }),
      ],
    },
  ];
});

const ofTopK = (
  [
    [1, 1],
    [9, 4],
    [64, 64],
    [1500, 77],
  ] as const
).map(([n, kept]): ConformanceCase => {
  // Whole numbers, of which many are equal: of those the lower channels are kept.
  const scores = [...normals(n, 5)].map((x) => Math.round(3 * x));
  return {
    name: `topKSelection() of ${kept} in ${n}, many equal`,
    kernels: ['SpftTopKSelection'],
    inputs: { scores: given([n], scores) },
    run: ({ scores }) => [topKSelection(vector(scores), kept).indices],
    expected: ({ scores }) => [topKReference(scores!, kept)],
  };
});

const ofMeans = (
  [
    [[5], 7, 3, 9, 4],
    [[3, 1, 6], 33, 2, 40, 8],
    [[9, 30, 17], 72, 8, 1100, 96],
    [[4, 2], 5, 11, 6, 2],
    [Array.from({ length: 70 }, (_, n) => 1 + (n % 3)), 9, 2, 12, 5],
  ] as const
).map(([lengths, In, r, n, kept]): ConformanceCase => {
  const layout = packTokens({ lengths: [...lengths], dense: (token) => token % 3 === 1 });
  const { tokens: T } = layout;
  return {
    name: `gatedSelection() of ${kept} in ${n} channels by rank ${r} of ${lengths.length} sequences, [${T}, ${In}]`,
    kernels: ['SpftGatedSelection'],
    inputs: {
      ...{ x: float(T, In), gateA: float(In, r), gateB: float(r, n), upA: float(In, r), upB: float(r, n) },
    },
    run: ({ x, gateA, gateB, upA, upB }) => {
      const pairs = [
        { a: matrix(gateA), b: matrix(gateB) },
        { a: matrix(upA), b: matrix(upB) },
      ] as const;
      return [gatedSelection(matrix(x), layout, ...pairs, kept).indices];
    },
    expected: ({ x, gateA, gateB, upA, upB }) => {
      const [gate, up] = [
        { a: gateA!, b: gateB!, r },
        { a: upA!, b: upB!, r },
      ];
      return [gatedSelectionReference(x!, layout, gate, up, { In, n, kept })];
    },
  };
});

const ofHeads = [
  { heads: 6, kvHeads: 2, headDim: 5 },
  { heads: 4, kvHeads: 1, headDim: 3 },
  { heads: 8, kvHeads: 4, headDim: 16 },
].flatMap((layout): ConformanceCase[] => {
  const [q, kv] = [layout.heads * layout.headDim, layout.kvHeads * layout.headDim];
  const kept = someOf(kv);
  const about = `${layout.heads} heads on ${layout.kvHeads} of ${layout.headDim}`;
  return [
    {
      name: `combineQueryKeyScores() of ${about}`,
      kernels: ['SpftCombineQueryKeyScores'],
      inputs: { scoreQ: float(q), scoreK: float(kv) },
      run: ({ scoreQ, scoreK }) => [combineQueryKeyScores(vector(scoreQ), vector(scoreK), layout)],
      expected: ({ scoreQ, scoreK }) => [combineQueryKeyScoresReference(scoreQ!, scoreK!, layout)],
    },
    {
      name: `queryChannels() of ${about}`,
      kernels: ['SpftQueryChannels'],
      inputs: { indices: int32(kept) },
      run: ({ indices }) => [queryChannels(selection(indices, kv), layout).indices],
      expected: () => [queryChannelsReference(kept, layout)],
    },
  ];
});

export const scoreCases: readonly ConformanceCase[] = [...ofPredictors, ...ofTopK, ...ofMeans, ...ofHeads];
