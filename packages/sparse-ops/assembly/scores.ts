/** @file Scores of channels by low-rank predictors, without a matrix of tokens by channels. */
import { madd, sigmoidLanes } from './vector';

/**
 * y[j] = √Σₜ (silu(g)·u)², where g and u are row t of pGate [T, r] and pUp [T, r] times column j of gateB and upB [r, n]; for j in [from, to). A column is
 * summed over rows in their order, whichever part it is in; `from` is a multiple of 4.
 */
export function gatedScores(
  from: i32,
  to: i32,
  pGate: usize,
  pUp: usize,
  r: i32,
  gateB: usize,
  upB: usize,
  T: i32,
  n: i32,
  y: usize,
): void {
  let j = from;
  for (; j + 4 <= to; j += 4) {
    const at = <usize>j << 2;
    v128.store(y + at, f32x4.sqrt(squares(pGate, pUp, r, gateB + at, upB + at, T, n, false)));
  }
  for (; j < to; j++) {
    const at = <usize>j << 2;
    const sum = squares(pGate, pUp, r, gateB + at, upB + at, T, n, true);
    store<f32>(y + at, f32x4.extract_lane(f32x4.sqrt(sum), 0));
  }
}

/** Of four columns, or of one in every lane. */
function squares(pGate: usize, pUp: usize, r: i32, gateB: usize, upB: usize, T: i32, n: i32, one: bool): v128 {
  const rowP = <usize>r << 2;
  const rowB = <usize>n << 2;
  let sum = f32x4.splat(0);
  let t = 0;
  for (; t + 4 <= T; t += 4) {
    let g0 = f32x4.splat(0);
    let g1 = g0;
    let g2 = g0;
    let g3 = g0;
    let u0 = g0;
    let u1 = g0;
    let u2 = g0;
    let u3 = g0;
    let b: usize = 0;
    for (let k: usize = 0; k < rowP; k += 4) {
      const gate = one ? v128.load32_splat(gateB + b) : v128.load(gateB + b);
      const up = one ? v128.load32_splat(upB + b) : v128.load(upB + b);
      let p = pGate + k;
      let q = pUp + k;
      g0 = madd(v128.load32_splat(p), gate, g0);
      u0 = madd(v128.load32_splat(q), up, u0);
      p += rowP;
      q += rowP;
      g1 = madd(v128.load32_splat(p), gate, g1);
      u1 = madd(v128.load32_splat(q), up, u1);
      p += rowP;
      q += rowP;
      g2 = madd(v128.load32_splat(p), gate, g2);
      u2 = madd(v128.load32_splat(q), up, u2);
      p += rowP;
      q += rowP;
      g3 = madd(v128.load32_splat(p), gate, g3);
      u3 = madd(v128.load32_splat(q), up, u3);
      b += rowB;
    }
    sum = f32x4.add(sum, square(g0, u0));
    sum = f32x4.add(sum, square(g1, u1));
    sum = f32x4.add(sum, square(g2, u2));
    sum = f32x4.add(sum, square(g3, u3));
    pGate += 4 * rowP;
    pUp += 4 * rowP;
  }
  for (; t < T; t++) {
    let g = f32x4.splat(0);
    let u = g;
    let b: usize = 0;
    for (let k: usize = 0; k < rowP; k += 4) {
      g = madd(v128.load32_splat(pGate + k), one ? v128.load32_splat(gateB + b) : v128.load(gateB + b), g);
      u = madd(v128.load32_splat(pUp + k), one ? v128.load32_splat(upB + b) : v128.load(upB + b), u);
      b += rowB;
    }
    sum = f32x4.add(sum, square(g, u));
    pGate += rowP;
    pUp += rowP;
  }
  return sum;
}

@inline
function square(g: v128, u: v128): v128 {
  const activation = f32x4.mul(f32x4.mul(g, sigmoidLanes(g)), u);
  return f32x4.mul(activation, activation);
}
