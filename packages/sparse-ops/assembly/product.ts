/**
 * @file Matrix product in tiles of 4×8 without packing: for operands so small or thin that XNNPACK's packing (6 ns an element of the right
 * operand), its operator for each product, and explicit transposes cost as much as the arithmetic.
 */
import { madd } from './vector';

/**
 * c = d + scale·a·b, with c [m, n], a [m, k], b [k, n]; d is c, or another matrix, or absent (0). Elements of a are `down` apart along m
 * and `across` along k, which reads it transposed for free; rows of b, c and d are contiguous. Strides in bytes.
 */
export function product(
  a: usize,
  down: usize,
  across: usize,
  b: usize,
  rowB: usize,
  c: usize,
  rowC: usize,
  d: usize,
  m: i32,
  k: i32,
  n: i32,
  scale: f32,
): void {
  const factor = f32x4.splat(scale);
  let i = 0;
  for (; i + 4 <= m; i += 4) {
    const a0 = a + <usize>i * down;
    let j = 0;
    for (; j + 8 <= n; j += 8) {
      let s00 = f32x4.splat(0);
      let s01 = s00;
      let s10 = s00;
      let s11 = s00;
      let s20 = s00;
      let s21 = s00;
      let s30 = s00;
      let s31 = s00;
      let p0 = a0;
      let p1 = a0 + down;
      let p2 = p1 + down;
      let p3 = p2 + down;
      let q = b + (<usize>j << 2);
      for (let l = 0; l < k; l++) {
        const b0 = v128.load(q);
        const b1 = v128.load(q, 16);
        let x = v128.load32_splat(p0);
        s00 = madd(x, b0, s00);
        s01 = madd(x, b1, s01);
        x = v128.load32_splat(p1);
        s10 = madd(x, b0, s10);
        s11 = madd(x, b1, s11);
        x = v128.load32_splat(p2);
        s20 = madd(x, b0, s20);
        s21 = madd(x, b1, s21);
        x = v128.load32_splat(p3);
        s30 = madd(x, b0, s30);
        s31 = madd(x, b1, s31);
        p0 += across;
        p1 += across;
        p2 += across;
        p3 += across;
        q += rowB;
      }
      let at = <usize>i * rowC + (<usize>j << 2);
      store8(c, d, at, f32x4.mul(s00, factor), f32x4.mul(s01, factor));
      at += rowC;
      store8(c, d, at, f32x4.mul(s10, factor), f32x4.mul(s11, factor));
      at += rowC;
      store8(c, d, at, f32x4.mul(s20, factor), f32x4.mul(s21, factor));
      at += rowC;
      store8(c, d, at, f32x4.mul(s30, factor), f32x4.mul(s31, factor));
    }
    if (j < n) edge(a, down, across, b, rowB, c, rowC, d, i, i + 4, k, j, n, scale);
  }
  if (i < m) edge(a, down, across, b, rowB, c, rowC, d, i, m, k, 0, n, scale);
}

@inline
function store8(c: usize, d: usize, at: usize, left: v128, right: v128): void {
  if (d) {
    left = f32x4.add(left, v128.load(d + at));
    right = f32x4.add(right, v128.load(d + at, 16));
  }
  v128.store(c + at, left);
  v128.store(c + at, right, 16);
}

/** Rows [i0, i1) and columns [j0, j1) of `product`, which are no whole tile. */
function edge(
  a: usize,
  down: usize,
  across: usize,
  b: usize,
  rowB: usize,
  c: usize,
  rowC: usize,
  d: usize,
  i0: i32,
  i1: i32,
  k: i32,
  j0: i32,
  j1: i32,
  scale: f32,
): void {
  for (let i = i0; i < i1; i++) {
    let j = j0;
    for (; j + 4 <= j1; j += 4) {
      let sum = f32x4.splat(0);
      let p = a + <usize>i * down;
      let q = b + (<usize>j << 2);
      for (let l = 0; l < k; l++) {
        sum = madd(v128.load32_splat(p), v128.load(q), sum);
        p += across;
        q += rowB;
      }
      const at = <usize>i * rowC + (<usize>j << 2);
      sum = f32x4.mul(sum, f32x4.splat(scale));
      if (d) sum = f32x4.add(sum, v128.load(d + at));
      v128.store(c + at, sum);
    }
    for (; j < j1; j++) {
      let sum: f32 = 0;
      let p = a + <usize>i * down;
      let q = b + (<usize>j << 2);
      for (let l = 0; l < k; l++) {
        sum += load<f32>(p) * load<f32>(q);
        p += across;
        q += rowB;
      }
      const at = <usize>i * rowC + (<usize>j << 2);
      sum *= scale;
      store<f32>(c + at, d ? sum + load<f32>(d + at) : sum);
    }
  }
}

/** Rows of k that `deepProduct` multiplies at a time, so that what it reads of b stays in the cache. */
const DEPTH: i32 = 128;

/**
 * c = scale·aᵀ·b for a [T, m] and b [T, n] of many rows: the gradient of a thin matrix. Strides in bytes, so that parts of c can be made: columns from a
 * multiple of 8 on, which changes no bits.
 */
export function deepProduct(
  a: usize,
  rowA: usize,
  b: usize,
  rowB: usize,
  c: usize,
  rowC: usize,
  T: i32,
  m: i32,
  n: i32,
  scale: f32,
): void {
  if (T == 0) for (let i = 0; i < m; i++) memory.fill(c + <usize>i * rowC, 0, <usize>n << 2);
  for (let t = 0; t < T; t += DEPTH) {
    const first = <usize>t;
    product(a + first * rowA, 4, rowA, b + first * rowB, rowB, c, rowC, t ? c : 0, m, min(DEPTH, T - t), n, scale);
  }
}

/** to [columns, rows] = scale times from [rows, columns] transposed. */
export function transpose(from: usize, to: usize, rows: i32, columns: i32, scale: f32): void {
  const factor = f32x4.splat(scale);
  const rowFrom = <usize>columns << 2;
  const rowTo = <usize>rows << 2;
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    let p = from + <usize>r * rowFrom;
    let q = to + (<usize>r << 2);
    let c = 0;
    for (; c + 4 <= columns; c += 4) {
      const a0 = v128.load(p);
      const a1 = v128.load(p + rowFrom);
      const a2 = v128.load(p + 2 * rowFrom);
      const a3 = v128.load(p + 3 * rowFrom);
      const b0 = v128.shuffle<f32>(a0, a1, 0, 4, 1, 5);
      const b1 = v128.shuffle<f32>(a0, a1, 2, 6, 3, 7);
      const b2 = v128.shuffle<f32>(a2, a3, 0, 4, 1, 5);
      const b3 = v128.shuffle<f32>(a2, a3, 2, 6, 3, 7);
      v128.store(q, f32x4.mul(v128.shuffle<f32>(b0, b2, 0, 1, 4, 5), factor));
      v128.store(q + rowTo, f32x4.mul(v128.shuffle<f32>(b0, b2, 2, 3, 6, 7), factor));
      v128.store(q + 2 * rowTo, f32x4.mul(v128.shuffle<f32>(b1, b3, 0, 1, 4, 5), factor));
      v128.store(q + 3 * rowTo, f32x4.mul(v128.shuffle<f32>(b1, b3, 2, 3, 6, 7), factor));
      p += 16;
      q += 4 * rowTo;
    }
    for (; c < columns; c++) {
      for (let i: usize = 0; i < 4; i++) store<f32>(q + (i << 2), load<f32>(p + i * rowFrom) * scale);
      p += 4;
      q += rowTo;
    }
  }
  for (; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const value = load<f32>(from + <usize>r * rowFrom + (<usize>c << 2));
      store<f32>(to + <usize>c * rowTo + (<usize>r << 2), value * scale);
    }
  }
}
