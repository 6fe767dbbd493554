/** @file Elementary functions of four numbers at a time. */

@inline
export function lanes(x: f32): v128 {
  return f32x4.splat(x);
}

/** Sum of the four lanes. */
@inline
export function sumLanes(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

/** Largest of the four lanes. */
@inline
export function maxLanes(v: v128): f32 {
  return max<f32>(
    max<f32>(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)),
    max<f32>(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)),
  );
}

/**
 * Where the constants of `exp2Lanes` are, four times each, in the order of src/threads/constants.ts. A kernel loads them before its loop, as V8
 * keeps what was loaded in registers but makes a constant anew wherever it is used: 0.9 ns a number instead of 2.8.
 */
const CONSTANTS: usize = 64;

@inline
export function constant(n: usize): v128 {
  return v128.load(CONSTANTS + (n << 4));
}

/**
 * 2ˣ to 3 units in the last place: x = n + f with |f| ≤ ½, a polynomial in f, and n added to the exponent. For x below −125 as for −125, where
 * nothing is left of a sum; x must not exceed 127. NaN of NaN.
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
  // pmax is one instruction, max seven; with x first it lets NaN through.
  const t = f32x4.pmax(x, low);
  // Added to 1.5·2²³ a number loses its fraction, and its whole part stands in the lowest bits.
  const shifted = f32x4.add(t, round);
  const f = f32x4.sub(t, f32x4.sub(shifted, round));
  let p = f32x4.add(f32x4.mul(c5, f), c4);
  p = f32x4.add(f32x4.mul(p, f), c3);
  p = f32x4.add(f32x4.mul(p, f), c2);
  p = f32x4.add(f32x4.mul(p, f), c1);
  p = f32x4.add(f32x4.mul(p, f), one);
  return i32x4.add(p, i32x4.shl(shifted, 23));
}

/** 1 / (1 + e⁻ˣ), with `slope` −log₂ e and `high` 126. */
@inline
export function sigmoidLanes(
  x: v128,
  slope: v128,
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
  const t = f32x4.pmin(f32x4.mul(x, slope), high);
  return f32x4.div(one, f32x4.add(one, exp2Lanes(t, low, round, c5, c4, c3, c2, c1, one)));
}
