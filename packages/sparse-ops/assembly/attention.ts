/**
 * @file Causal grouped-query attention over packed sequences. A tile is 16 queries of one head and the keys that any of them sees, so that
 * little of the square above the diagonal is computed; the probabilities of a tile are all that exists of them at a time.
 *
 * Rows of a sequence are gathered from the layout's row order into scratch, padded with zeros to multiples of 8 in both directions, as
 * `product` likes them; padding adds zeros everywhere.
 */
import { product } from './product';
import { expLanes, lanes, maxLanes, sumLanes } from './vector';

/** Queries of a tile. */
const TILE: i32 = 16;

@inline
function padded(n: i32): i32 {
  return (n + 7) & ~7;
}

/** Bytes of scratch of the forward and the backward, for sequences of at most `longest` tokens. */
export function attentionScratch(longest: i32, d: i32): usize {
  const keys = <usize>max(padded(longest), TILE);
  const dim = <usize>padded(d);
  return (6 * keys * dim + 3 * <usize>TILE * dim + 2 * <usize>TILE * keys) << 2;
}

/** to [rows padded, d padded] = scale times one head's rows of x, zero in the padding. */
function gather(x: usize, stride: usize, rowOf: usize, count: i32, rows: i32, d: i32, to: usize, scale: f32): void {
  const dim = <usize>padded(d) << 2;
  const bytes = <usize>d << 2;
  for (let s = 0; s < count; s++) {
    const from = x + <usize>load<i32>(rowOf + (<usize>s << 2)) * stride;
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) v128.store(to + i, f32x4.mul(v128.load(from + i), lanes(scale)));
    for (; i < bytes; i += 4) store<f32>(to + i, load<f32>(from + i) * scale);
    for (; i < dim; i += 4) store<f32>(to + i, 0);
    to += dim;
  }
  memory.fill(to, 0, <usize>(rows - count) * dim);
}

/** to [d padded, rows padded]: the same transposed. */
function gatherTransposed(x: usize, stride: usize, rowOf: usize, count: i32, rows: i32, d: i32, to: usize): void {
  const row = <usize>rows << 2;
  memory.fill(to, 0, <usize>padded(d) * row);
  for (let s = 0; s < count; s++) {
    const from = x + <usize>load<i32>(rowOf + (<usize>s << 2)) * stride;
    let q = to + (<usize>s << 2);
    for (let i = 0; i < d; i++) {
      store<f32>(q, load<f32>(from + (<usize>i << 2)));
      q += row;
    }
  }
}

/** One head's rows of x = scale times from. */
function scatter(from: usize, x: usize, stride: usize, rowOf: usize, count: i32, d: i32, scale: f32): void {
  const dim = <usize>padded(d) << 2;
  const bytes = <usize>d << 2;
  for (let s = 0; s < count; s++) {
    const to = x + <usize>load<i32>(rowOf + (<usize>s << 2)) * stride;
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) v128.store(to + i, f32x4.mul(v128.load(from + i), lanes(scale)));
    for (; i < bytes; i += 4) store<f32>(to + i, load<f32>(from + i) * scale);
    from += dim;
  }
}

/** Scores [TILE, keys] become probabilities; row s sees first + s + 1 of the keys. */
function softmax(scores: usize, first: i32, keys: i32): void {
  const bytes = <usize>keys << 2;
  for (let s = 0; s < TILE; s++) {
    for (let j = <usize>(first + s + 1) << 2; j < bytes; j += 4) store<f32>(scores + j, -1e30);
    let highest = lanes(-1e30);
    for (let j: usize = 0; j < bytes; j += 16) highest = f32x4.pmax(highest, v128.load(scores + j));
    const top = lanes(maxLanes(highest));
    let sum = lanes(0);
    for (let j: usize = 0; j < bytes; j += 16) {
      const e = expLanes(f32x4.sub(v128.load(scores + j), top));
      sum = f32x4.add(sum, e);
      v128.store(scores + j, e);
    }
    const inverse = lanes(1 / sumLanes(sum));
    for (let j: usize = 0; j < bytes; j += 16) v128.store(scores + j, f32x4.mul(v128.load(scores + j), inverse));
    scores += bytes;
  }
}

/** dp becomes ds = p ⊙ (dp − Σ p·dp), [TILE, keys] both. */
function softmaxGrad(p: usize, dp: usize, keys: i32): void {
  const bytes = <usize>keys << 2;
  for (let s = 0; s < TILE; s++) {
    let dots = lanes(0);
    for (let j: usize = 0; j < bytes; j += 16) {
      dots = f32x4.add(dots, f32x4.mul(v128.load(p + j), v128.load(dp + j)));
    }
    const mean = lanes(sumLanes(dots));
    for (let j: usize = 0; j < bytes; j += 16) {
      v128.store(dp + j, f32x4.mul(v128.load(p + j), f32x4.sub(v128.load(dp + j), mean)));
    }
    p += bytes;
    dp += bytes;
  }
}

/**
 * y = softmax(q·kᵀ/√d)·v. q and y [T, N·d], k and v [T, K·d].
 * Of sequences [b0, b1) and of key heads [h0, h1) with the heads that read them: no two parts write the same, or read what another writes.
 * @param rowOfToken int32 [T]: where packed token t lies; `starts` int32 [B + 1].
 */
export function attention(
  q: usize,
  k: usize,
  v: usize,
  y: usize,
  rowOfToken: usize,
  starts: usize,
  N: i32,
  K: i32,
  d: i32,
  scratch: usize,
  b0: i32,
  b1: i32,
  h0: i32,
  h1: i32,
): void {
  const dim = padded(d);
  const row = <usize>dim << 2;
  const head = <usize>d << 2;
  const wide = <usize>N * head;
  const narrow = <usize>K * head;
  const scale: f32 = 1 / sqrt<f32>(<f32>d);
  for (let b = b0; b < b1; b++) {
    const first = load<i32>(starts + (<usize>b << 2));
    const length = load<i32>(starts + (<usize>b << 2), 4) - first;
    const rowOf = rowOfToken + (<usize>first << 2);
    const keys = padded(length);
    const kT = scratch;
    const values = kT + <usize>keys * row;
    const queries = values + <usize>keys * row;
    const out = queries + <usize>TILE * row;
    const scores = out + <usize>TILE * row;
    for (let h = h0; h < h1; h++) {
      gatherTransposed(k + <usize>h * head, narrow, rowOf, length, keys, d, kT);
      gather(v + <usize>h * head, narrow, rowOf, length, keys, d, values, 1);
      for (let n = h * (N / K); n < (h + 1) * (N / K); n++) {
        for (let i = 0; i < length; i += TILE) {
          const count = min(TILE, length - i);
          const seen = min(keys, i + TILE);
          const rows = rowOf + (<usize>i << 2);
          gather(q + <usize>n * head, wide, rows, count, TILE, d, queries, scale);
          const across = <usize>seen << 2;
          product(queries, row, 4, kT, <usize>keys << 2, scores, across, 0, TILE, dim, seen, 1);
          softmax(scores, i, seen);
          product(scores, across, 4, values, row, out, row, 0, TILE, seen, dim, 1);
          scatter(out, y + <usize>n * head, wide, rows, count, d, 1);
        }
      }
    }
  }
}

/** Gradients of `attention`; the probabilities are computed again. */
export function attentionGrad(
  q: usize,
  k: usize,
  v: usize,
  dy: usize,
  dq: usize,
  dk: usize,
  dv: usize,
  rowOfToken: usize,
  starts: usize,
  N: i32,
  K: i32,
  d: i32,
  scratch: usize,
  b0: i32,
  b1: i32,
  h0: i32,
  h1: i32,
): void {
  const dim = padded(d);
  const row = <usize>dim << 2;
  const head = <usize>d << 2;
  const wide = <usize>N * head;
  const narrow = <usize>K * head;
  const scale: f32 = 1 / sqrt<f32>(<f32>d);
  for (let b = b0; b < b1; b++) {
    const first = load<i32>(starts + (<usize>b << 2));
    const length = load<i32>(starts + (<usize>b << 2), 4) - first;
    const rowOf = rowOfToken + (<usize>first << 2);
    const keys = padded(length);
    const matrix = <usize>keys * row;
    const kT = scratch;
    const kRows = kT + matrix;
    const vT = kRows + matrix;
    const dkRows = vT + matrix;
    const dvRows = dkRows + matrix;
    const queries = dvRows + matrix;
    const dOut = queries + <usize>TILE * row;
    const dQueries = dOut + <usize>TILE * row;
    const p = dQueries + <usize>TILE * row;
    const ds = p + (<usize>TILE * <usize>keys << 2);
    for (let h = h0; h < h1; h++) {
      gatherTransposed(k + <usize>h * head, narrow, rowOf, length, keys, d, kT);
      gather(k + <usize>h * head, narrow, rowOf, length, keys, d, kRows, 1);
      gatherTransposed(v + <usize>h * head, narrow, rowOf, length, keys, d, vT);
      memory.fill(dkRows, 0, 2 * matrix);
      for (let n = h * (N / K); n < (h + 1) * (N / K); n++) {
        for (let i = 0; i < length; i += TILE) {
          const count = min(TILE, length - i);
          const seen = min(keys, i + TILE);
          const rows = rowOf + (<usize>i << 2);
          const across = <usize>seen << 2;
          gather(q + <usize>n * head, wide, rows, count, TILE, d, queries, scale);
          gather(dy + <usize>n * head, wide, rows, count, TILE, d, dOut, 1);
          product(queries, row, 4, kT, <usize>keys << 2, p, across, 0, TILE, dim, seen, 1);
          softmax(p, i, seen);
          product(dOut, row, 4, vT, <usize>keys << 2, ds, across, 0, TILE, dim, seen, 1);
          softmaxGrad(p, ds, seen);
          product(p, 4, across, dOut, row, dvRows, row, dvRows, seen, TILE, dim, 1);
          product(ds, 4, across, queries, row, dkRows, row, dkRows, seen, TILE, dim, 1);
          product(ds, across, 4, kRows, row, dQueries, row, 0, TILE, seen, dim, 1);
          scatter(dQueries, dq + <usize>n * head, wide, rows, count, d, scale);
        }
      }
      scatter(dkRows, dk + <usize>h * head, narrow, rowOf, length, d, 1);
      scatter(dvRows, dv + <usize>h * head, narrow, rowOf, length, d, 1);
    }
  }
}
