/** @file Blocks of matrices, whose rows lie further apart than they are long: what a thread does with its part of a product while it is in its cache. */
import { addRow } from './elementwise';
import { swiglu, swigluGrad } from './rows';
import { constant, exp2Lanes } from './vector';

/** Rows [from, to) of y = x + bias, of n numbers; x and y have rows `strideX` and `strideY` numbers apart. x, bias or both may be 0. x may be y. */
export function startBlock(
  from: i32,
  to: i32,
  x: usize,
  strideX: i32,
  bias: usize,
  y: usize,
  strideY: i32,
  n: i32,
): void {
  const bytes = <usize>n << 2;
  for (let r = from; r < to; r++) {
    const q = y + <usize>r * (<usize>strideY << 2);
    const p = x + <usize>r * (<usize>strideX << 2);
    if (x && bias) addRow(0, 1, p, bias, q, n, 1);
    else if (x) memory.copy(q, p, bytes);
    else if (bias) memory.copy(q, bias, bytes);
    else memory.fill(q, 0, bytes);
  }
}

/** Rows [from, to) of y get those of x [rows, n], each number in the column that `indices` names, of which none is named twice. */
export function addColumnsAt(
  from: i32,
  to: i32,
  x: usize,
  strideX: i32,
  indices: usize,
  n: i32,
  y: usize,
  strideY: i32,
): void {
  const end = indices + (<usize>n << 2);
  for (let r = from; r < to; r++) {
    let p = x + <usize>r * (<usize>strideX << 2);
    const q = y + <usize>r * (<usize>strideY << 2);
    let i = indices;
    for (; i + 16 <= end; i += 16) {
      const a = q + (<usize>load<i32>(i) << 2);
      const b = q + (<usize>load<i32>(i, 4) << 2);
      const c = q + (<usize>load<i32>(i, 8) << 2);
      const d = q + (<usize>load<i32>(i, 12) << 2);
      const sumA = load<f32>(a) + load<f32>(p);
      const sumB = load<f32>(b) + load<f32>(p, 4);
      const sumC = load<f32>(c) + load<f32>(p, 8);
      const sumD = load<f32>(d) + load<f32>(p, 12);
      store<f32>(a, sumA);
      store<f32>(b, sumB);
      store<f32>(c, sumC);
      store<f32>(d, sumD);
      p += 16;
    }
    for (; i < end; i += 4) {
      const at = q + (<usize>load<i32>(i) << 2);
      store<f32>(at, load<f32>(at) + load<f32>(p));
      p += 4;
    }
  }
}

/** Rows [from, to) of swiglu(): n numbers of each, in matrices of rows `stride` numbers apart. */
export function swigluBlock(from: i32, to: i32, gate: usize, up: usize, y: usize, stride: i32, n: i32): void {
  for (let r = from; r < to; r++) {
    const row = <usize>r * (<usize>stride << 2);
    swiglu(0, n, gate + row, up + row, y + row);
  }
}

/** Rows [from, to) of swigluGrad(), as in swigluBlock(). dy may be dGate or dUp. */
export function swigluGradBlock(
  from: i32,
  to: i32,
  gate: usize,
  up: usize,
  dy: usize,
  dGate: usize,
  dUp: usize,
  stride: i32,
  n: i32,
): void {
  for (let r = from; r < to; r++) {
    const row = <usize>r * (<usize>stride << 2);
    swigluGrad(0, n, gate + row, up + row, dy + row, dGate + row, dUp + row);
  }
}

/**
 * sums[j] += Σ (silu(g)·up)² / ln² 2 over `rows` rows of `n` numbers, `stride` apart, one after the other, where `gate` holds −g·log₂ e. So scaled, silu is a
 * quotient of what is there, −gate / (1 + 2^gate) but for the factor, and its exponential is the short one of base 2.
 */
export function addGatedSquares(rows: i32, n: i32, gate: usize, up: usize, stride: i32, sums: usize): void {
  const round = constant(1);
  const one = constant(11);
  const high = constant(12);
  const low = constant(13);
  const c5 = constant(14);
  const c4 = constant(15);
  const c3 = constant(16);
  const c2 = constant(17);
  const c1 = constant(18);
  const bytes = <usize>n << 2;
  for (let r = 0; r < rows; r++) {
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) {
      const h = gated(v128.load(gate + i), v128.load(up + i), high, low, round, c5, c4, c3, c2, c1, one);
      v128.store(sums + i, f32x4.add(v128.load(sums + i), f32x4.mul(h, h)));
    }
    for (; i < bytes; i += 4) {
      const lanes = gated(v128.load32_splat(gate + i), v128.load32_splat(up + i), high, low, round, c5, c4, c3, c2, c1, one);
      const h = f32x4.extract_lane(lanes, 0);
      store<f32>(sums + i, load<f32>(sums + i) + h * h);
    }
    gate += <usize>stride << 2;
    up += <usize>stride << 2;
  }
}

/** −silu(g)·up / ln 2, where z is −g·log₂ e. */
@inline
function gated(
  z: v128,
  up: v128,
  high: v128,
  low: v128,
  round: v128,
  c5: v128,
  c4: v128,
  c3: v128,
  c2: v128,
  c1: v128,
  one: v128,
): v128 {
  const e = exp2Lanes(f32x4.pmin(z, high), low, round, c5, c4, c3, c2, c1, one);
  return f32x4.div(f32x4.mul(z, up), f32x4.add(e, one));
}
