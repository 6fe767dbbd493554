/** @file Scores of channels by a low-rank predictor, without the product that they are norms of; and their gradient. */
import type * as tf from '@tensorflow/tfjs-core';
import type { BlasKernel, Call } from '../../shared/call.js';
import { multiply } from '../../shared/product.js';

/** Pᵀ·P with P = x·a, [r, r] in scratch, and P itself. */
function gram(call: Call, x: tf.TensorInfo, a: tf.TensorInfo): { p: number; gram: number } {
  const { pool } = call;
  const [T, inputs] = x.shape as [number, number];
  const r = a.shape[1]!;
  const [p, square] = [pool.native(call.scratch(T * r)), pool.native(call.scratch(r * r))];
  multiply(pool, { m: T, n: r, k: inputs, a: [call.native(x), inputs], b: [call.native(a), r], c: [p, r] });
  multiply(pool, { m: r, n: r, k: T, a: [p, r], b: [p, r], c: [square, r], transposeA: true });
  return { p, gram: square };
}

/** Makes √(bⱼᵀ·G·bⱼ) for each column of b [r, n] at `scores`, where G [r, r] has `stride` numbers from one row to the next. */
function scoreByGram(call: Call, square: number, stride: number, b: tf.TensorInfo, scores: tf.TensorInfo): void {
  const { pool } = call;
  const [r, n] = b.shape as [number, number];
  const product = call.scratch(r * n);
  multiply(pool, { m: r, n, k: r, a: [square, stride], b: [call.native(b), n], c: [pool.native(product), n] });
  call.share('columnDots', n, r, call.at(b), product, r, n, call.at(scores));
  const values = call.values(scores);
  // Rounding may leave a zero norm slightly below zero.
  for (let c = 0; c < n; c++) values[c] = Math.sqrt(Math.max(0, values[c]!));
}

export const gramScores: BlasKernel<'SpftGramScores'> = (call, { x, a, b }) => {
  const [r, n] = b!.shape as [number, number];
  const scores = call.output([n]);
  if (x!.shape[0] === 0 || x!.shape[1] === 0 || r === 0) call.values(scores).fill(0);
  else scoreByGram(call, gram(call, x!, a!).gram, r, b!, scores);
  return scores;
};

/** The same for several predictors of one x: thin as each is, together they read x once. */
export const gramScoresOfAll: BlasKernel<'SpftGramScoresOfAll'> = (call, { x, ...predictors }, { count }) => {
  const { pool } = call;
  const [T, inputs] = x!.shape as [number, number];
  const all = Array.from({ length: count }, (_, n) => ({ a: predictors[`a${n}`]!, b: predictors[`b${n}`]! }));
  const scores = all.map(({ b }) => call.output([b.shape[1]!]));
  const width = all.reduce((sum, { b }) => sum + b.shape[0]!, 0);
  if (T === 0 || inputs === 0 || width === 0) {
    for (const tensor of scores) call.values(tensor).fill(0);
    return scores;
  }
  const side = call.scratch(inputs * width);
  const to = call.backend.heap.f32(side, inputs * width);
  let column = 0;
  const columns = all.map(({ a }) => {
    const first = column;
    const [from, r] = [call.values(a), a.shape[1]!];
    for (let i = 0, p = 0; i < inputs; i++) {
      for (let j = 0, q = i * width + first; j < r; j++) to[q++] = from[p++]!;
    }
    column += r;
    return first;
  });
  const [p, square] = [pool.native(call.scratch(T * width)), pool.native(call.scratch(width * width))];
  const [left, right] = [[call.native(x!), inputs] as const, [pool.native(side), width] as const];
  multiply(pool, { m: T, n: width, k: inputs, a: left, b: right, c: [p, width] });
  multiply(pool, { m: width, n: width, k: T, a: [p, width], b: [p, width], c: [square, width], transposeA: true });
  all.forEach(({ b }, n) => {
    if (b.shape[0] === 0) call.values(scores[n]!).fill(0);
    else scoreByGram(call, square + 4 * columns[n]! * (width + 1), width, b, scores[n]!);
  });
  return scores;
};

/** dx = P·(b·diag(dy/scores)·bᵀ)·aᵀ. */
export const gramScoresGrad: BlasKernel<'SpftGramScoresGrad'> = (call, { x, a, b, scores, dy }) => {
  const { pool } = call;
  const [T, inputs] = x!.shape as [number, number];
  const [r, n] = b!.shape as [number, number];
  const dx = call.output(x!.shape);
  if (T === 0 || inputs === 0 || r === 0 || n === 0) {
    call.values(dx).fill(0);
    return dx;
  }
  const { p } = gram(call, x!, a!);
  const weighted = call.scratch(r * n);
  const [to, from, s, g] = [
    call.backend.heap.f32(weighted, r * n),
    call.values(b!),
    call.values(scores!),
    call.values(dy!),
  ];
  for (let i = 0, c = 0; i < r * n; i++, c = c + 1 === n ? 0 : c + 1)
    to[i] = s[c] === 0 ? 0 : (from[i]! * g[c]!) / s[c]!;
  const [inner, dp] = [pool.native(call.scratch(r * r)), pool.native(call.scratch(T * r))];
  const w = [pool.native(weighted), n] as const;
  multiply(pool, { m: r, n: r, k: n, a: w, b: [call.native(b!), n], c: [inner, r], transposeB: true });
  multiply(pool, { m: T, n: r, k: r, a: [p, r], b: [inner, r], c: [dp, r] });
  const [left, right, c] = [[dp, r] as const, [call.native(a!), r] as const, [call.native(dx), inputs] as const];
  multiply(pool, { m: T, n: inputs, k: r, a: left, b: right, c, transposeB: true });
  return dx;
};
