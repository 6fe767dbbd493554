/** @file Blocks of matrices, whose rows lie further apart than they are long: what a thread does with its part of a product while it is in its cache. */
import { addRow } from './elementwise';
import { swiglu, swigluGrad } from './rows';
import { constant, sigmoidLanes } from './vector';

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

/** sums[j] += Σ (silu(gate)·up)² over `rows` rows of `n` numbers, `stride` apart, one after the other. */
export function addGatedSquares(rows: i32, n: i32, gate: usize, up: usize, stride: i32, sums: usize): void {
  const low = constant(0);
  const round = constant(1);
  const log2e = constant(2);
  const ln2 = constant(3);
  const rest = constant(4);
  const p0 = constant(5);
  const p1 = constant(6);
  const p2 = constant(7);
  const p3 = constant(8);
  const p4 = constant(9);
  const p5 = constant(10);
  const one = constant(11);
  const high = constant(12);
  const bytes = <usize>n << 2;
  for (let r = 0; r < rows; r++) {
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) {
      const g = v128.load(gate + i);
      const silu = f32x4.mul(g, sigmoidLanes(g, high, low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one));
      const h = f32x4.mul(silu, v128.load(up + i));
      v128.store(sums + i, f32x4.add(v128.load(sums + i), f32x4.mul(h, h)));
    }
    for (; i < bytes; i += 4) {
      const g = v128.load32_splat(gate + i);
      const silu = f32x4.mul(g, sigmoidLanes(g, high, low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one));
      const h = f32x4.extract_lane(silu, 0) * load<f32>(up + i);
      store<f32>(sums + i, load<f32>(sums + i) + h * h);
    }
    gate += <usize>stride << 2;
    up += <usize>stride << 2;
  }
}
