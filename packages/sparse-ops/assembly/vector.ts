/** @file Elementary functions of four numbers at a time. */

@inline
export function lanes(x: f32): v128 {
  return f32x4.splat(x);
}

/** x·y + sum: rounded once, where the module is made with relaxed SIMD and the processor can; else after each. */
@inline
export function madd(x: v128, y: v128, sum: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? f32x4.relaxed_madd(x, y, sum) : f32x4.add(sum, f32x4.mul(x, y));
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
 * eˣ to 2 units in the last place: x = n·ln 2 + r with |r| ≤ ln 2 / 2, a polynomial in r (Cephes' expf), and n into the exponent.
 * 0 below −87.3, where the result would be subnormal; stays at e^88 above 88; NaN of NaN.
 */
@inline
export function expLanes(x: v128): v128 {
  // pmin and pmax are one instruction each, min and max seven; with x first they let NaN through.
  const clamped = f32x4.pmax(f32x4.pmin(x, lanes(88)), lanes(-87.3));
  // Added to 1.5·2²³ a number loses its fraction, and its whole part stands in the lowest bits.
  const shifted = f32x4.add(f32x4.mul(clamped, lanes(1.44269504088896341)), lanes(12582912));
  const n = f32x4.sub(shifted, lanes(12582912));
  let r = f32x4.sub(clamped, f32x4.mul(n, lanes(0.693359375)));
  r = f32x4.add(r, f32x4.mul(n, lanes(2.12194440e-4)));
  let p = lanes(1.9875691500e-4);
  p = f32x4.add(f32x4.mul(p, r), lanes(1.3981999507e-3));
  p = f32x4.add(f32x4.mul(p, r), lanes(8.3334519073e-3));
  p = f32x4.add(f32x4.mul(p, r), lanes(4.1665795894e-2));
  p = f32x4.add(f32x4.mul(p, r), lanes(1.6666665459e-1));
  p = f32x4.add(f32x4.mul(p, r), lanes(0.5));
  p = f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(p, r), r), r), lanes(1));
  const power = i32x4.add(i32x4.shl(shifted, 23), i32x4.splat(0x3f800000));
  return v128.andnot(f32x4.mul(p, power), f32x4.lt(x, lanes(-87.3)));
}

/** 1 / (1 + e⁻ˣ). */
@inline
export function sigmoidLanes(x: v128): v128 {
  return f32x4.div(lanes(1), f32x4.add(lanes(1), expLanes(f32x4.neg(x))));
}
