/** @file Ops on columns: gathered, scattered, masked, transposed, summed over rows; and which of them have the highest scores. */
import type * as tf from '@tensorflow/tfjs-core';
import type { BlasKernel, Call } from '../../shared/call.js';
import { multiply } from '../../shared/product.js';

export const gatherColumns: BlasKernel<'SpftGatherColumns'> = (call, { x, indices }) => {
  const [rows, n] = x!.shape as [number, number];
  const kept = indices!.shape[0]!;
  const y = call.output([rows, kept]);
  call.share('gatherColumns', rows, kept, call.at(x!), n, call.at(indices!), kept, call.at(y));
  return y;
};

export const gatherColumnsTransposed: BlasKernel<'SpftGatherColumnsTransposed'> = (call, { x, indices }) => {
  const [rows, n] = x!.shape as [number, number];
  const kept = indices!.shape[0]!;
  const y = call.output([kept, rows]);
  const gathered = call.scratch(rows * kept);
  call.share('gatherColumns', rows, kept, call.at(x!), n, call.at(indices!), kept, gathered);
  call.share('transpose', kept, rows, gathered, rows, kept, call.at(y));
  return y;
};

export const scatterColumns: BlasKernel<'SpftScatterColumns'> = (call, { x, indices }, { total }) => {
  const [rows, kept] = x!.shape as [number, number];
  const y = call.output([rows, total]);
  call.share('scatterColumns', rows, total, call.at(x!), kept, call.at(indices!), total, call.at(y));
  return y;
};

export const maskColumns: BlasKernel<'SpftMaskColumns'> = (call, { x, indices }, { fromRow }) => {
  const [rows, n] = x!.shape as [number, number];
  const y = call.output(x!.shape);
  const [from, to] = [call.values(x!), call.values(y)];
  to.set(from.subarray(0, fromRow * n));
  const skipped = 4 * fromRow * n;
  const kept = indices!.shape[0]!;
  call.share('maskColumns', rows - fromRow, n, call.at(x!) + skipped, n, call.at(indices!), kept, call.at(y) + skipped);
  return y;
};

export const transpose2d: BlasKernel<'SpftTranspose2d'> = (call, { x }) => {
  const [rows, columns] = x!.shape as [number, number];
  const y = call.output([columns, rows]);
  call.share('transpose', columns, rows, call.at(x!), rows, columns, call.at(y));
  return y;
};

export const columnDots: BlasKernel<'SpftColumnDots'> = (call, { a, b }) => {
  const [rows, n] = a!.shape as [number, number];
  const y = call.output([n]);
  call.share('columnDots', n, rows, call.at(a!), call.at(b!), rows, n, call.at(y));
  return y;
};

export const columnNorms: BlasKernel<'SpftColumnNorms'> = (call, { x }) => {
  const y = columnDots(call, { a: x!, b: x! }, {}) as tf.TensorInfo;
  const values = call.values(y);
  for (let c = 0; c < values.length; c++) values[c] = Math.sqrt(values[c]!);
  return y;
};

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

/** √(bⱼᵀ(PᵀP)bⱼ) for each column of b. */
export const gramScores: BlasKernel<'SpftGramScores'> = (call, { x, a, b }) => {
  const { pool } = call;
  const [r, n] = b!.shape as [number, number];
  const scores = call.output([n]);
  const values = call.values(scores);
  if (x!.shape[0] === 0 || x!.shape[1] === 0 || r === 0) {
    values.fill(0);
    return scores;
  }
  const { gram: square } = gram(call, x!, a!);
  const product = call.scratch(r * n);
  multiply(pool, { m: r, n, k: r, a: [square, r], b: [call.native(b!), n], c: [pool.native(product), n] });
  call.share('columnDots', n, r, call.at(b!), product, r, n, call.at(scores));
  // Rounding may leave a zero norm slightly below zero.
  for (let c = 0; c < n; c++) values[c] = Math.sqrt(Math.max(0, values[c]!));
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

/** Mean of the rows of each sequence. */
export const sequenceMeans: BlasKernel<'SpftSequenceMeans'> = (call, { x }, { sequenceOfRow, shares }) => {
  const [rows, n] = x!.shape as [number, number];
  const y = call.output([shares.length, n]);
  call.values(y).fill(0);
  const scale = call.scratch(shares.length);
  call.backend.heap.f32(scale, shares.length).set(shares);
  if (n > 0) call.pool.kernels.addRowsAt(call.at(x!), call.copy(sequenceOfRow), rows, n, scale, call.at(y));
  return y;
};

/** The `kept` highest scores, of equal ones the first; by the score that the last of them has. */
export const topKSelection: BlasKernel<'SpftTopKSelection'> = (call, { scores }, { kept }) => {
  const values = call.values(scores!);
  const indices = call.output([kept], 'int32');
  const chosen = call.values(indices);
  const threshold = values.slice().sort()[values.length - kept]!;
  let above = 0;
  for (const value of values) if (value > threshold) above++;
  let equal = kept - above;
  let next = 0;
  for (let i = 0; i < values.length && next < kept; i++) {
    if (values[i]! > threshold || (values[i] === threshold && equal-- > 0)) chosen[next++] = i;
  }
  // Of scores that are no numbers some are chosen all the same, as the count is promised.
  for (let i = 0; next < kept; i++) chosen[next++] = i;
  return indices;
};
