/** @file Moves of rows and columns, scores and selections on bf16 tensors against the cpu backend. */
import {
  columnNorms,
  combineQueryKeyScores,
  gatedScores,
  gatedSelection,
  gatherColumns,
  gatherRows,
  gramScores,
  joinRows,
  maskColumns,
  packTokens,
  queryChannels,
  scatterColumns,
  sequenceMeans,
  splitRows,
  topKSelection,
} from '@spft/sparse-ops';
import { gramScoresOfAll } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { random, SEED } from '../../../test/compare.js';
import { cuda, describeCuda } from '../../../test/cuda.js';
import { bf16, expectOp, f32, i32 } from '../../../test/ops.js';

type M = tf.Tensor2D;
type V = tf.Tensor1D;
const exact = { tolerance: 0 } as const;

function topKReference(scores: Float32Array, kept: number): number[] {
  const order = Array.from(scores, (_, i) => i).sort((a, b) =>
    scores[a] === scores[b] ? a - b : scores[b]! - scores[a]!,
  );
  return order.slice(0, kept).sort((a, b) => a - b);
}

describeCuda('selections on bf16 tensors', () => {
  it.each([
    [5, 7, [2, 2, 0, 4, 2]],
    [4, 16, [3, 1]],
    [3, 2100, [1, 1]],
    [3, 8, []],
  ])('gatherRows() of [%i, %i], rows %j, and its gradient', (M, n, rows) => {
    const both = (x: M, r: V, dy: M) => [gatherRows(x, r), tf.grad((x) => gatherRows(x as M, r))(x, dy)];
    const inputs = [bf16(M, n), i32(...rows), bf16(rows.length, n)];
    return expectOp('gatherRows', inputs, both, { physical: ['bf16', 'bf16'], tolerance: 5e-3 });
  });

  it.each([
    [19, 13, [0, 3, 4, 12]],
    [33, 64, [1, 2, 3, 40, 63]],
    [70, 24, [5]],
    [3, 24, []],
  ])('columns of [%i, %i], %j kept: gathered, scattered, masked', async (T, n, indices) => {
    const keep = (i: V) => ({ indices: i, kept: indices.length, total: n });
    const kept = indices.length;
    const all = (x: M, y: M, i: V) => [
      gatherColumns(x, keep(i)),
      scatterColumns(y, keep(i)),
      maskColumns(x, keep(i), 2),
      maskColumns(x, keep(i), 0),
    ];
    for (const kind of [bf16, f32]) {
      await expectOp('columns', [kind(T, n), kind(T, kept), i32(...indices)], all, exact);
    }
  });

  it('splits without a copy, and joins without one what lies so already', () => {
    const x = tf.randomNormal([6, 5]) as M;
    const before = cuda().memoryPool.bytes;
    const parts = splitRows(x, 2);
    const joined = joinRows(...parts);
    expect(cuda().memoryPool.bytes).toBe(before);
    expect([...joined.dataSync()]).toEqual([...x.dataSync()]);
    tf.dispose([x, parts]);
    // The memory lives as long as one of its users.
    expect(joined.shape).toEqual([6, 5]);
    joined.dispose();
    expect(cuda().memoryPool.bytes).toBeLessThan(before);
  });

  it('joins rows that lie apart', () =>
    expectOp('joinRows', [bf16(3, 7), bf16(2, 7)], (a: M, b: M) => joinRows(a, b), { physical: ['bf16'], ...exact }));

  it.each([
    [0, 9],
    [5, 3],
    [300, 72],
    [700, 65],
  ])('columnNorms() of [%i, %i]', (T, n) =>
    expectOp('columnNorms', [bf16(T, n)], (x: M) => columnNorms(x), { physical: ['f32'], tolerance: 1e-4 }),
  );

  it('sequenceMeans() of sequences whose rows are mixed', () => {
    const layout = packTokens({ lengths: [70, 1, 130], dense: (t) => t % 3 === 0 });
    const means = (x: M) => sequenceMeans(x, layout);
    return expectOp('sequenceMeans', [bf16(201, 75)], means, { physical: ['f32'], tolerance: 1e-4 });
  });

  it.each([
    [65, 64, 8, 30, 'f32'],
    [33, 1024, 5, 9, 'bf16'],
    [7, 33, 11, 21, 'f32'],
    [0, 32, 2, 4, 'f32'],
  ] as const)('gramScores() of %i rows of %i, rank %i, %i channels, a and b in %s', (T, In, r, n, kind) => {
    const a = { shape: [In, r], kind };
    const both = (x: M, a: M, b: M, dy: V) => [gramScores(x, a, b), tf.grad((x) => gramScores(x as M, a, b))(x, dy)];
    const inputs = [bf16(T, In), a, { shape: [r, n], kind }, f32(n)];
    return expectOp('gramScores', inputs, both, { physical: ['f32', 'bf16'], tolerance: 4e-3 });
  });

  it('gramScoresOfAll() reads x once for three predictors, and again for those unlike them', () => {
    const shapes = [
      [8, 300],
      [3, 20],
      [8, 20],
      [1, 5],
      [9, 7],
    ] as const;
    const low = shapes.flatMap(([r, n]) => [f32(64, r), f32(r, n)]);
    const all = (x: M, ...ab: M[]) =>
      gramScoresOfAll(
        x,
        shapes.map((_, n) => ({ a: ab[2 * n]!, b: ab[2 * n + 1]! })),
      );
    return expectOp('gramScoresOfAll', [bf16(100, 64), ...low], all, { tolerance: 1e-4 });
  });

  it.each([
    [2, 33, 8, 19],
    [3, 300, 3, 140],
    [1, 16, 20, 5],
    [70, 33, 8, 19],
    [65, 40, 11, 6],
  ])('gatedScores() of %i rows of %i, rank %i, %i channels', async (B, In, r, n) => {
    const scores = (x: M, a: M, b: M, c: M, d: M) => gatedScores(x, { a, b }, { a: c, b: d });
    const low = [f32(In, r), f32(r, n), f32(In, r), f32(r, n)];
    await expectOp('gatedScores', [f32(B, In), ...low], scores, { physical: ['f32'], tolerance: 1e-4 });
    await expectOp('gatedScores', [bf16(B, In), ...low], scores, { physical: ['f32'], tolerance: 1e-4 });
  });

  it.each([
    // A block a sequence; many a sequence, of which only some see all columns; more columns than threads have octets, and scores than few threads hold; a long
    // sequence beside a short one.
    ['bf16', Array.from({ length: 17 }, (_, n) => 1 + (n % 7)), 72, 8, 300, 75],
    ['f32', [70, 1, 2, 130], 200, 8, 3100, 700],
    ['bf16', [3, 2], 4200, 5, 40, 9],
    ['bf16', [120, 9], 2000, 3, 520, 519],
    ['f32', [600, 40], 72, 8, 1700, 400],
    ['f32', Array.from({ length: 18 }, (_, n) => 3 + (n % 5)), 64, 8, 1540, 1000],
  ] as const)(
    'gatedSelection() in %s of sequences of %j tokens, %i inputs, rank %i, %i channels of which %i',
    (kind, lengths, In, r, n, kept) => {
      const layout = packTokens({ lengths: [...lengths], dense: (t) => t % 3 === 0 });
      const choose = (x: M, a: M, b: M, c: M, d: M) => {
        const of = () => gatedSelection(x, layout, { a, b }, { a: c, b: d }, kept).indices;
        // Once more: nothing of the first one is in the way.
        return [of(), of()];
      };
      const low = [
        { shape: [In, r], kind },
        { shape: [r, n], kind },
      ];
      return expectOp('gatedSelection', [bf16(layout.tokens, In), ...low, ...low], choose, exact);
    },
  );

  it.each([
    [1, 1],
    [5000, 1216],
    [14336, 1440],
    [40000, 20011],
  ])('topKSelection() of %i scores keeps the right %i, with many equal ones', (n, kept) => {
    const next = random(SEED);
    // Coarse scores: the threshold has equals on both sides of every limit of a thread, a warp and a step.
    const scores = Float32Array.from({ length: n }, () => Math.round(40 * (next() - 0.3)) / 8);
    const { indices } = topKSelection(tf.tensor1d(scores), kept);
    expect([...indices.dataSync()], `seed ${SEED}`).toEqual(topKReference(scores, kept));
  });

  const bits = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer)[0]!;
  it.each<[string, (i: number, n: number) => number]>([
    ['are all the same', () => 1.5],
    ['differ in their last bits alone', (i, n) => bits(0x3f800000 + ((37 * i) % n))],
    ['have all exponents, and both signs', (i) => (i % 3 === 0 ? -1 : 1) * 2 ** ((i % 250) - 125)],
    ['are zeros of both signs, and few others', (i) => (i % 50 === 0 ? i - 700 : i % 2 === 0 ? 0 : -0)],
    ['are infinite in both directions, or not', (i) => [Number.POSITIVE_INFINITY, i, Number.NEGATIVE_INFINITY][i % 3]!],
  ])('topKSelection() of scores that %s', (_, scoreOf) => {
    // Held by threads, and more than they hold.
    for (const n of [1500, 40_001]) {
      const scores = Float32Array.from({ length: n }, (_, i) => scoreOf(i, n));
      for (const kept of [1, Math.floor(n / 4), n - 1, n]) {
        const { indices } = topKSelection(tf.tensor1d(scores), kept);
        expect([...indices.dataSync()], `${kept} of ${n}`).toEqual(topKReference(scores, kept));
      }
    }
  });

  it('head channels stay on the device', () => {
    const layout = { heads: 6, kvHeads: 2, headDim: 5 };
    const both = (q: V, k: V, i: V) => [
      combineQueryKeyScores(q, k, layout),
      queryChannels({ indices: i, kept: 4, total: 10 }, layout).indices,
    ];
    return expectOp('head channels', [f32(30), f32(10), i32(0, 3, 4, 7)], both, { tolerance: 1e-6 });
  });
});
