/** @file Rows and columns gathered, scattered, masked, split, joined, summed and averaged; transposes and batched products. */
import { batchedMatMul } from '../../engine/batched-matmul.js';
import { batchedMatMulReference } from '../../engine/batched-matmul.reference.js';
import { columnDots } from '../../engine/column-dots.js';
import { takeColumnsTransposed } from '../../engine/columns.js';
import { transpose2d } from '../../engine/transpose.js';
import { transposed } from '../../project/lora-linear.reference.js';
import { columnNorms } from '../../select/column-norms.js';
import { columnNormsReference } from '../../select/column-norms.reference.js';
import { gatherColumns } from '../../select/gather-columns.js';
import { gatherColumnsReference } from '../../select/gather-columns.reference.js';
import { maskColumns } from '../../select/mask-columns.js';
import { maskColumnsReference } from '../../select/mask-columns.reference.js';
import { scatterColumns } from '../../select/scatter-columns.js';
import { scatterColumnsReference } from '../../select/scatter-columns.reference.js';
import { gatherRows } from '../../tokens/gather-rows.js';
import { gatherRowsGradReference, gatherRowsReference } from '../../tokens/gather-rows.reference.js';
import { sequenceMeans } from '../../tokens/sequence-means.js';
import { sequenceMeansReference } from '../../tokens/sequence-means.reference.js';
import { joinRows, splitRows } from '../../tokens/split-rows.js';
import { packTokens } from '../../tokens/token-partition.js';
import { type ConformanceCase, float, int32, matrix, selection, someOf, vector } from '../case.js';

const SHAPES = [
  [7, 5],
  [1, 1],
  [0, 4],
  [33, 17],
  [40, 64],
] as const;

const join = (...parts: Float32Array[]) => Float32Array.from(parts.flatMap((part) => [...part]));

const ofShapes = SHAPES.flatMap(([T, n]): ConformanceCase[] => {
  const kept = someOf(n);
  const indices = int32(kept);
  const about = `[${T}, ${n}]`;
  const cuts = [...new Set([0, Math.floor(T / 3), T])];
  return [
    {
      name: `gatherColumns() of ${about}`,
      kernels: ['SpftGatherColumns', 'SpftScatterColumns'],
      inputs: { x: float(T, n), indices },
      run: ({ x, indices }) => [gatherColumns(matrix(x), selection(indices, n))],
      expected: ({ x }) => [gatherColumnsReference(x!, kept, T, n)],
      gradients: (_, [dy]) => ({ x: scatterColumnsReference(dy!, kept, T, n) }),
    },
    {
      name: `scatterColumns() to ${about}`,
      kernels: ['SpftScatterColumns', 'SpftGatherColumns'],
      inputs: { x: float(T, kept.length), indices },
      run: ({ x, indices }) => [scatterColumns(matrix(x), selection(indices, n))],
      expected: ({ x }) => [scatterColumnsReference(x!, kept, T, n)],
      gradients: (_, [dy]) => ({ x: gatherColumnsReference(dy!, kept, T, n) }),
    },
    {
      name: `kept columns of ${about}, transposed`,
      kernels: ['SpftGatherColumnsTransposed'],
      inputs: { x: float(T, n), indices },
      run: ({ x, indices }) => [takeColumnsTransposed(matrix(x), vector(indices))],
      expected: ({ x }) => [transposed(gatherColumnsReference(x!, kept, T, n), T, kept.length)],
    },
    ...cuts.map(
      (fromRow): ConformanceCase => ({
        name: `maskColumns() of ${about} from row ${fromRow} on`,
        kernels: ['SpftMaskColumns'],
        inputs: { x: float(T, n), indices },
        run: ({ x, indices }) => [maskColumns(matrix(x), selection(indices, n), fromRow)],
        expected: ({ x }) => [maskColumnsReference(x!, kept, fromRow, T, n)],
        gradients: (_, [dy]) => ({ x: maskColumnsReference(dy!, kept, fromRow, T, n) }),
      }),
    ),
    ...cuts.map(
      (at): ConformanceCase => ({
        name: `splitRows() of ${about} at ${at}`,
        kernels: ['SpftSplitRows', 'SpftJoinRows'],
        inputs: { x: float(T, n) },
        run: ({ x }) => splitRows(matrix(x), at),
        expected: ({ x }) => [x!.slice(0, at * n), x!.slice(at * n)],
        gradients: (_, dys) => ({ x: join(...dys) }),
      }),
    ),
    ...cuts.map(
      (at): ConformanceCase => ({
        name: `joinRows() to ${about} at ${at}`,
        kernels: ['SpftJoinRows', 'SpftSplitRows'],
        inputs: { first: float(at, n), second: float(T - at, n) },
        run: ({ first, second }) => [joinRows(matrix(first), matrix(second))],
        expected: ({ first, second }) => [join(first!, second!)],
        gradients: (_, [dy]) => ({ first: dy!.slice(0, at * n), second: dy!.slice(at * n) }),
      }),
    ),
    {
      name: `sums of products down the columns of ${about}`,
      kernels: ['SpftColumnDots'],
      inputs: { a: float(T, n), b: float(T, n) },
      run: ({ a, b }) => [columnDots(matrix(a), matrix(b))],
      expected: ({ a, b }) => {
        const dots = new Float64Array(n);
        for (let i = 0; i < T * n; i++) dots[i % n]! += a![i]! * b![i]!;
        return [dots];
      },
    },
    {
      name: `columnNorms() of ${about}`,
      kernels: ['SpftColumnNorms'],
      inputs: { x: float(T, n) },
      run: ({ x }) => [columnNorms(matrix(x))],
      expected: ({ x }) => [columnNormsReference(x!, T, n)],
      gradients: ({ x }, [dy]) => {
        const norms = columnNormsReference(x!, T, n);
        return { x: x!.map((value, i) => (norms[i % n] === 0 ? 0 : (value * dy![i % n]!) / norms[i % n]!)) };
      },
    },
    {
      name: `transpose of ${about}`,
      kernels: ['SpftTranspose2d'],
      inputs: { x: float(T, n) },
      run: ({ x }) => [transpose2d(matrix(x))],
      expected: ({ x }) => [transposed(x!, T, n)],
    },
  ];
});

const ofRows = (
  [
    [5, 3, [4, 0, 4, 2]],
    [6, 40, [5, 5, 5]],
    [1, 1, [0]],
    [4, 3, []],
  ] as const
).map(
  ([M, n, rows]): ConformanceCase => ({
    name: `gatherRows() ${rows.join(', ') || 'none'} of [${M}, ${n}]`,
    kernels: ['SpftGatherRows', 'SpftGatherRowsGrad'],
    inputs: { x: float(M, n), rows: int32(rows) },
    run: ({ x, rows }) => [gatherRows(matrix(x), vector(rows))],
    expected: ({ x }) => [gatherRowsReference(x!, rows, n)],
    gradients: (_, [dy]) => ({ x: gatherRowsGradReference(dy!, rows, M, n) }),
  }),
);

const ofSequences = (
  [
    [[5, 1, 7], 6],
    [[1], 1],
    [[3, 30], 40],
  ] as const
).map(([lengths, n]): ConformanceCase => {
  const layout = packTokens({ lengths, dense: (token) => token % 3 === 1 });
  const { tokens: T, sequenceStarts: starts, rowOfToken } = layout;
  return {
    name: `sequenceMeans() of sequences of ${lengths.join(', ')}, ${n} columns`,
    kernels: ['SpftSequenceMeans'],
    inputs: { x: float(T, n) },
    run: ({ x }) => [sequenceMeans(matrix(x), layout)],
    expected: ({ x }) => [sequenceMeansReference(x!, layout, n)],
    gradients: (_, [dy]) => {
      const dx = new Float32Array(T * n);
      lengths.forEach((length, b) => {
        for (let token = starts[b]!; token < starts[b + 1]!; token++) {
          for (let c = 0; c < n; c++) dx[rowOfToken[token]! * n + c] = dy![b * n + c]! / length;
        }
      });
      return { x: dx };
    },
  };
});

const ofBatches = [
  [3, 2, 5, 4],
  [1, 1, 1, 1],
  [0, 3, 2, 4],
  [2, 16, 8, 24],
].flatMap(([batch, m, k, p]) =>
  [false, true].flatMap((transposeA) =>
    [false, true].map((transposeB): ConformanceCase => {
      const [B, M, K, P] = [batch!, m!, k!, p!];
      const multiply = (
        a: Float32Array,
        b: Float32Array,
        sizes: readonly [number, number, number],
        ...[tA, tB]: readonly [boolean, boolean]
      ) => batchedMatMulReference(a, b, [B, ...sizes], tA, tB);
      return {
        name: `batchedMatMul() of ${B} products ${M}×${K}×${P}${transposeA ? ', a transposed' : ''}${transposeB ? ', b transposed' : ''}`,
        kernels: ['SpftBatchedMatMul'],
        inputs: {
          a: transposeA ? float(B, K, M) : float(B, M, K),
          b: transposeB ? float(B, P, K) : float(B, K, P),
        },
        run: ({ a, b }) => [batchedMatMul(a as never, b as never, transposeA, transposeB)],
        expected: ({ a, b }) => [multiply(a!, b!, [M, K, P], transposeA, transposeB)],
        gradients: ({ a, b }, [dy]) => ({
          a: transposeA
            ? multiply(b!, dy!, [K, P, M], transposeB, true)
            : multiply(dy!, b!, [M, P, K], false, !transposeB),
          b: transposeB
            ? multiply(dy!, a!, [P, M, K], true, transposeA)
            : multiply(a!, dy!, [K, M, P], !transposeA, false),
        }),
      };
    }),
  ),
);

export const rowAndColumnCases: readonly ConformanceCase[] = [...ofShapes, ...ofRows, ...ofSequences, ...ofBatches];
