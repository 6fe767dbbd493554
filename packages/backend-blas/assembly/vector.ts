/** @file Elementary functions of four numbers at a time, and of rows of any length. */

import { lanes, maxLanes, sumLanes } from '../../sparse-ops/assembly/vector';

export { lanes, maxLanes, sumLanes };

/**
 * Where the constants of `expLanes` are, four times each, in the order of src/threads/constants.ts. A kernel loads them before its loop, as V8
 * keeps what was loaded in registers or on the stack but makes a constant anew wherever it is used, which takes half of the time.
 */
const CONSTANTS: usize = 64;

@inline
export function constant(n: usize): v128 {
  return v128.load(CONSTANTS + (n << 4));
}

/**
 * eˣ to 2 units in the last place: x = n·ln 2 + r with |r| ≤ ln 2 / 2, a polynomial in r (Cephes' expf), and n added to the exponent. For x below
 * −86 as for −86, where nothing is left of a sum; x must not exceed 88. NaN of NaN.
 */
@inline
export function expLanes(
  x: v128,
  low: v128,
  round: v128,
  log2e: v128,
  ln2: v128,
  rest: v128,
  p0: v128,
  p1: v128,
  p2: v128,
  p3: v128,
  p4: v128,
  p5: v128,
  one: v128,
): v128 {
  // pmax is one instruction, max seven; with x first it lets NaN through.
  const t = f32x4.pmax(x, low);
  // Added to 1.5·2²³ a number loses its fraction, and its whole part stands in the lowest bits.
  const shifted = f32x4.add(f32x4.mul(t, log2e), round);
  const n = f32x4.sub(shifted, round);
  const r = f32x4.add(f32x4.sub(t, f32x4.mul(n, ln2)), f32x4.mul(n, rest));
  let p = f32x4.add(f32x4.mul(p0, r), p1);
  p = f32x4.add(f32x4.mul(p, r), p2);
  p = f32x4.add(f32x4.mul(p, r), p3);
  p = f32x4.add(f32x4.mul(p, r), p4);
  p = f32x4.add(f32x4.mul(p, r), p5);
  p = f32x4.add(f32x4.mul(f32x4.mul(p, r), r), f32x4.add(r, one));
  return i32x4.add(p, i32x4.shl(shifted, 23));
}

/**
 * 2ˣ to 4 units in the last place, 1 of 0: x = n + r with |r| ≤ ½, a polynomial in r, and n added to the exponent. For x below −125 as for −125;
 * x must not exceed 127. NaN of NaN. Two thirds of the work of `expLanes`.
 */
@inline
export function exp2Lanes(
  x: v128,
  low: v128,
  round: v128,
  c5: v128,
  c4: v128,
  c3: v128,
  c2: v128,
  c1: v128,
  one: v128,
): v128 {
  const t = f32x4.pmax(x, low);
  const shifted = f32x4.add(t, round);
  const r = f32x4.sub(t, f32x4.sub(shifted, round));
  let p = f32x4.add(f32x4.mul(c5, r), c4);
  p = f32x4.add(f32x4.mul(p, r), c3);
  p = f32x4.add(f32x4.mul(p, r), c2);
  p = f32x4.add(f32x4.mul(p, r), c1);
  p = f32x4.add(f32x4.mul(p, r), one);
  return i32x4.add(p, i32x4.shl(shifted, 23));
}

/** 1 / (1 + e⁻ˣ), with `high` 86. */
@inline
export function sigmoidLanes(
  x: v128,
  high: v128,
  low: v128,
  round: v128,
  log2e: v128,
  ln2: v128,
  rest: v128,
  p0: v128,
  p1: v128,
  p2: v128,
  p3: v128,
  p4: v128,
  p5: v128,
  one: v128,
): v128 {
  const e = expLanes(f32x4.pmin(f32x4.neg(x), high), low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one);
  return f32x4.div(one, f32x4.add(one, e));
}

/** The row at q, which may be p, becomes factor times the row at p; both take `bytes` bytes. */
@inline
export function scaleRow(p: usize, q: usize, bytes: usize, factor: f32): void {
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) v128.store(q + i, f32x4.mul(v128.load(p + i), lanes(factor)));
  for (; i < bytes; i += 4) store<f32>(q + i, load<f32>(p + i) * factor);
}

/** Largest of the numbers in `bytes` bytes. */
@inline
export function highest(row: usize, bytes: usize): f32 {
  // Four at a time, as each maximum waits for the one before it.
  let t0 = lanes(-Infinity);
  let t1 = t0;
  let t2 = t0;
  let t3 = t0;
  let i: usize = 0;
  for (; i + 64 <= bytes; i += 64) {
    t0 = f32x4.pmax(t0, v128.load(row + i));
    t1 = f32x4.pmax(t1, v128.load(row + i, 16));
    t2 = f32x4.pmax(t2, v128.load(row + i, 32));
    t3 = f32x4.pmax(t3, v128.load(row + i, 48));
  }
  for (; i + 16 <= bytes; i += 16) t0 = f32x4.pmax(t0, v128.load(row + i));
  let top = maxLanes(f32x4.pmax(f32x4.pmax(t0, t1), f32x4.pmax(t2, t3)));
  for (; i < bytes; i += 4) top = max<f32>(top, load<f32>(row + i));
  return top;
}

/** The row at q, which may be p, becomes the softmax of the row at p; both take `bytes` bytes. Inline, as a call takes 7 % of a row of 64. */
@inline
export function softmaxRow(p: usize, q: usize, bytes: usize): void {
  const top = highest(p, bytes);
  // After the maximum, or they would take registers while it is looked for, which costs short rows 8 %.
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
  let sums = lanes(0);
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) {
    const e = expLanes(f32x4.sub(v128.load(p + i), lanes(top)), low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one);
    sums = f32x4.add(sums, e);
    v128.store(q + i, e);
  }
  let sum = sumLanes(sums);
  for (; i < bytes; i += 4) {
    const e = f32x4.extract_lane(expLanes(f32x4.sub(v128.load32_splat(p + i), lanes(top)), low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one), 0);
    sum += e;
    store<f32>(q + i, e);
  }
  scaleRow(q, q, bytes, 1 / sum);
}
