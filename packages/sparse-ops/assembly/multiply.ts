/**
 * @file Matrix product with packing: what linear layers are made of. Both operands are brought into the order in which tiles of 4×8 read them, so
 * that transposed operands and kept rows and columns, of which lists say where they lie, cost no more than plain ones and are never copied whole.
 *
 * An element of the result is summed in an order that depends on k alone: the same bits whichever part of the result a call makes, so whatever the number of
 * threads. `packages/sparse-ops/src/kernels/simd/products.ts` chooses the parts.
 */
import { madd, sumLanes } from './vector';

/** Numbers along k that are packed at a time: what a tile reads of b stays in the first cache. */
const DEPTH: i32 = 256;
/** Rows of a that are packed at a time, which stay in the second cache; a multiple of 4. */
const ROWS: i32 = 192;

/** Bytes of scratch of `multiply`. */
export function multiplyScratch(): usize {
  return (<usize>(ROWS + 8) * <usize>DEPTH + 32) << 2;
}

/** Where stored row `n` begins, of the rows that the list names, or of all. */
@inline
function rowAt(from: usize, row: usize, list: usize, n: i32): usize {
  return from + <usize>(list ? load<i32>(list + (<usize>n << 2)) : n) * row;
}

/**
 * Four stored rows side by side: number l of each, for l in [k, k + depth), goes to `to` + l·step. Of fewer than four the last is there again.
 * @param columns a list of the columns that count as 0, 1, …, or 0.
 */
function packRows(
  from: usize,
  row: usize,
  rows: usize,
  columns: usize,
  first: i32,
  count: i32,
  k: i32,
  depth: i32,
  to: usize,
  step: usize,
): void {
  const last = first + count - 1;
  let p0 = rowAt(from, row, rows, first);
  let p1 = rowAt(from, row, rows, min(first + 1, last));
  let p2 = rowAt(from, row, rows, min(first + 2, last));
  let p3 = rowAt(from, row, rows, min(first + 3, last));
  let l = 0;
  if (columns) {
    columns += <usize>k << 2;
    for (; l < depth; l++) {
      const at = <usize>load<i32>(columns) << 2;
      store<f32>(to, load<f32>(p0 + at));
      store<f32>(to, load<f32>(p1 + at), 4);
      store<f32>(to, load<f32>(p2 + at), 8);
      store<f32>(to, load<f32>(p3 + at), 12);
      columns += 4;
      to += step;
    }
    return;
  }
  const skipped = <usize>k << 2;
  p0 += skipped;
  p1 += skipped;
  p2 += skipped;
  p3 += skipped;
  for (; l + 4 <= depth; l += 4) {
    const a0 = v128.load(p0);
    const a1 = v128.load(p1);
    const a2 = v128.load(p2);
    const a3 = v128.load(p3);
    const b0 = v128.shuffle<f32>(a0, a1, 0, 4, 1, 5);
    const b1 = v128.shuffle<f32>(a0, a1, 2, 6, 3, 7);
    const b2 = v128.shuffle<f32>(a2, a3, 0, 4, 1, 5);
    const b3 = v128.shuffle<f32>(a2, a3, 2, 6, 3, 7);
    v128.store(to, v128.shuffle<f32>(b0, b2, 0, 1, 4, 5));
    v128.store(to + step, v128.shuffle<f32>(b0, b2, 2, 3, 6, 7));
    v128.store(to + 2 * step, v128.shuffle<f32>(b1, b3, 0, 1, 4, 5));
    v128.store(to + 3 * step, v128.shuffle<f32>(b1, b3, 2, 3, 6, 7));
    p0 += 16;
    p1 += 16;
    p2 += 16;
    p3 += 16;
    to += 4 * step;
  }
  for (; l < depth; l++) {
    store<f32>(to, load<f32>(p0));
    store<f32>(to, load<f32>(p1), 4);
    store<f32>(to, load<f32>(p2), 8);
    store<f32>(to, load<f32>(p3), 12);
    p0 += 4;
    p1 += 4;
    p2 += 4;
    p3 += 4;
    to += step;
  }
}

/** Four stored columns side by side: those of stored row l, for l in [k, k + depth), go to `to` + l·step. Of fewer than four the others are 0. */
function packColumns(
  from: usize,
  row: usize,
  rows: usize,
  columns: usize,
  first: i32,
  count: i32,
  k: i32,
  depth: i32,
  to: usize,
  step: usize,
): void {
  if (!columns && count == 4) {
    const skipped = <usize>first << 2;
    for (let l = k; l < k + depth; l++) {
      v128.store(to, v128.load(rowAt(from, row, rows, l) + skipped));
      to += step;
    }
    return;
  }
  if (count == 4) {
    columns += <usize>first << 2;
    const at0 = <usize>load<i32>(columns) << 2;
    const at1 = <usize>load<i32>(columns, 4) << 2;
    const at2 = <usize>load<i32>(columns, 8) << 2;
    const at3 = <usize>load<i32>(columns, 12) << 2;
    for (let l = k; l < k + depth; l++) {
      const p = rowAt(from, row, rows, l);
      store<f32>(to, load<f32>(p + at0));
      store<f32>(to, load<f32>(p + at1), 4);
      store<f32>(to, load<f32>(p + at2), 8);
      store<f32>(to, load<f32>(p + at3), 12);
      to += step;
    }
    return;
  }
  for (let l = k; l < k + depth; l++) {
    const p = rowAt(from, row, rows, l);
    v128.store(to, f32x4.splat(0));
    for (let lane = 0; lane < count; lane++) {
      const column = columns ? load<i32>(columns + (<usize>(first + lane) << 2)) : first + lane;
      store<f32>(to + (<usize>lane << 2), load<f32>(p + (<usize>column << 2)));
    }
    to += step;
  }
}

/**
 * c = d + scale·a·b in rows [i0, i1) and columns [j0, j1). a is [m, k] and b [k, n], or stored as [k, m] and [n, k] where `transposed`; lists of
 * int32, or 0, say which stored rows and columns of b count. Rows of d are `rowD` apart: 0 where all have the same, which a bias is; d is 0
 * where nothing is added. Strides in bytes. d may be c.
 */
export function multiply(
  a: usize,
  rowA: usize,
  transposedA: bool,
  b: usize,
  rowB: usize,
  transposedB: bool,
  rowsB: usize,
  columnsB: usize,
  c: usize,
  rowC: usize,
  d: usize,
  rowD: usize,
  k: i32,
  scale: f32,
  i0: i32,
  i1: i32,
  j0: i32,
  j1: i32,
  scratch: usize,
): void {
  const packedB = scratch + ((<usize>ROWS * <usize>DEPTH) << 2);
  const corner = packedB + ((<usize>8 * <usize>DEPTH) << 2);
  for (let l = 0; l < k || l == 0; l += DEPTH) {
    const depth = min(DEPTH, k - l);
    const added = l ? c : d;
    const rowAdded = l ? rowC : rowD;
    for (let top = i0; top < i1; top += ROWS) {
      const bottom = min(top + ROWS, i1);
      let to = scratch;
      for (let i = top; i < bottom; i += 4) {
        const count = min(4, bottom - i);
        if (transposedA) packColumns(a, rowA, 0, 0, i, count, l, depth, to, 16);
        else packRows(a, rowA, 0, 0, i, count, l, depth, to, 16);
        to += <usize>depth << 4;
      }
      for (let j = j0; j < j1; j += 8) {
        const width = min(8, j1 - j);
        for (let half = 0; half < width; half += 4) {
          const count = min(4, width - half);
          const place = packedB + (<usize>half << 2);
          if (transposedB) packRows(b, rowB, rowsB, columnsB, j + half, count, l, depth, place, 32);
          else packColumns(b, rowB, rowsB, columnsB, j + half, count, l, depth, place, 32);
        }
        let packed = scratch;
        for (let i = top; i < bottom; i += 4) {
          const at = <usize>i * rowC + (<usize>j << 2);
          const addedAt = added ? added + <usize>i * rowAdded + (<usize>j << 2) : 0;
          const height = min(4, bottom - i);
          if (height == 4 && width == 8) tile(packed, packedB, depth, c + at, rowC, addedAt, rowAdded, scale);
          else {
            tile(packed, packedB, depth, corner, 32, 0, 0, scale);
            addCorner(corner, c + at, rowC, addedAt, rowAdded, height, width);
          }
          packed += <usize>depth << 4;
        }
      }
    }
  }
}

/** Of a tile that reaches over the edge, what is within. */
function addCorner(from: usize, c: usize, rowC: usize, d: usize, rowD: usize, height: i32, width: i32): void {
  for (let i: usize = 0; i < <usize>height; i++) {
    for (let j: usize = 0; j < <usize>width << 2; j += 4) {
      const value = load<f32>(from + (i << 5) + j);
      store<f32>(c + i * rowC + j, d ? value + load<f32>(d + i * rowD + j) : value);
    }
  }
}

/** c [4, 8] = d + scale·a·b of packed a [depth, 4] and b [depth, 8]. */
function tile(p: usize, q: usize, depth: i32, c: usize, rowC: usize, d: usize, rowD: usize, scale: f32): void {
  let s00 = f32x4.splat(0);
  let s01 = s00;
  let s10 = s00;
  let s11 = s00;
  let s20 = s00;
  let s21 = s00;
  let s30 = s00;
  let s31 = s00;
  for (let l = 0; l < depth; l++) {
    const b0 = v128.load(q);
    const b1 = v128.load(q, 16);
    let x = v128.load32_splat(p);
    s00 = madd(x, b0, s00);
    s01 = madd(x, b1, s01);
    x = v128.load32_splat(p, 4);
    s10 = madd(x, b0, s10);
    s11 = madd(x, b1, s11);
    x = v128.load32_splat(p, 8);
    s20 = madd(x, b0, s20);
    s21 = madd(x, b1, s21);
    x = v128.load32_splat(p, 12);
    s30 = madd(x, b0, s30);
    s31 = madd(x, b1, s31);
    p += 16;
    q += 32;
  }
  const factor = f32x4.splat(scale);
  storeRow(c, d, f32x4.mul(s00, factor), f32x4.mul(s01, factor));
  c += rowC;
  if (d) d += rowD;
  storeRow(c, d, f32x4.mul(s10, factor), f32x4.mul(s11, factor));
  c += rowC;
  if (d) d += rowD;
  storeRow(c, d, f32x4.mul(s20, factor), f32x4.mul(s21, factor));
  c += rowC;
  if (d) d += rowD;
  storeRow(c, d, f32x4.mul(s30, factor), f32x4.mul(s31, factor));
}

@inline
function storeRow(c: usize, d: usize, left: v128, right: v128): void {
  if (d) {
    left = f32x4.add(left, v128.load(d));
    right = f32x4.add(right, v128.load(d, 16));
  }
  v128.store(c, left);
  v128.store(c, right, 16);
}

/**
 * `multiply` of few rows of a and a transposed b, without a list of columns: each row of b is read once, and nothing is packed. What generation
 * is made of.
 */
export function multiplyFew(
  a: usize,
  rowA: usize,
  b: usize,
  rowB: usize,
  rowsB: usize,
  c: usize,
  rowC: usize,
  d: usize,
  rowD: usize,
  k: i32,
  scale: f32,
  m: i32,
  j0: i32,
  j1: i32,
): void {
  const bytes = <usize>k << 2;
  for (let j = j0; j < j1; j++) {
    const q = rowAt(b, rowB, rowsB, j);
    for (let i = 0; i < m; i++) {
      const p = a + <usize>i * rowA;
      let s0 = f32x4.splat(0);
      let s1 = s0;
      let s2 = s0;
      let s3 = s0;
      let l: usize = 0;
      for (; l + 64 <= bytes; l += 64) {
        s0 = madd(v128.load(p + l), v128.load(q + l), s0);
        s1 = madd(v128.load(p + l, 16), v128.load(q + l, 16), s1);
        s2 = madd(v128.load(p + l, 32), v128.load(q + l, 32), s2);
        s3 = madd(v128.load(p + l, 48), v128.load(q + l, 48), s3);
      }
      for (; l + 16 <= bytes; l += 16) s0 = madd(v128.load(p + l), v128.load(q + l), s0);
      let sum = sumLanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
      for (; l < bytes; l += 4) sum += load<f32>(p + l) * load<f32>(q + l);
      sum *= scale;
      const at = <usize>j << 2;
      store<f32>(c + <usize>i * rowC + at, d ? sum + load<f32>(d + <usize>i * rowD + at) : sum);
    }
  }
}
