/**
 * @file What attention needs beside products: rows of heads out of an activation matrix and back, and the causal softmax both ways.
 */
import { constant, exp2Lanes, highest, lanes, scaleRow, sumLanes } from './vector';

/**
 * Tokens [from, to) of `heads` heads that lie beside each other in x, as rows of d, head below head: y[h, s − from] = scale · scales[h, s − from] · x[row of
 * token s, h].
 * @param x first number of the first head in row 0; `stride` numbers to the next row.
 * @param rowOf int32, row of each token.
 * @param scales one for each row of y; 0 where there are none.
 */
export function gatherHeads(
  from: i32,
  to: i32,
  heads: i32,
  x: usize,
  stride: i32,
  rowOf: usize,
  d: i32,
  y: usize,
  scale: f32,
  scales: usize,
): void {
  const bytes = <usize>d << 2;
  const row = <usize>stride << 2;
  const head = <usize>(to - from) * bytes;
  const count = <usize>(to - from) << 2;
  for (let s = from; s < to; s++) {
    let p = x + <usize>load<i32>(rowOf + (<usize>s << 2)) * row;
    let q = y;
    let f = scales;
    for (let h = 0; h < heads; h++) {
      scaleRow(p, q, bytes, scales ? scale * load<f32>(f) : scale);
      p += bytes;
      q += head;
      f += count;
    }
    y += bytes;
    if (scales) scales += 4;
  }
}

/** The way back: x[row of token s, h] = scale · scales[h, s − from] · y[h, s − from]. */
export function scatterHeads(
  from: i32,
  to: i32,
  heads: i32,
  x: usize,
  stride: i32,
  rowOf: usize,
  d: i32,
  y: usize,
  scale: f32,
  scales: usize,
): void {
  const bytes = <usize>d << 2;
  const row = <usize>stride << 2;
  const head = <usize>(to - from) * bytes;
  const count = <usize>(to - from) << 2;
  for (let s = from; s < to; s++) {
    let p = x + <usize>load<i32>(rowOf + (<usize>s << 2)) * row;
    let q = y;
    let f = scales;
    for (let h = 0; h < heads; h++) {
      scaleRow(q, p, bytes, scales ? scale * load<f32>(f) : scale);
      p += bytes;
      q += head;
      f += count;
    }
    y += bytes;
    if (scales) scales += 4;
  }
}

/** Zeros from `at` up to `end`, and up to three numbers more; memory.fill is a call, which costs a short row more than its zeros. */
@inline
function clear(at: usize, end: usize): void {
  for (; at < end && at & 15; at += 4) store<f32>(at, 0);
  for (; at < end; at += 16) v128.store(at, lanes(0));
}

/**
 * Rows of scores in base 2, `stride` numbers apart, become 2^(score − the row's largest) in their first `keys` places: heads of `count` rows each below
 * each other, of which row s sees the keys 0 … first + s. The keys after them get 0, and so may up to three numbers after a row. inverses [heads · count] get 1 / Σ of
 * each row, by which a row is its probabilities: what is narrower than a row is multiplied by that instead.
 */
export function causalExp2(
  scores: usize,
  inverses: usize,
  heads: i32,
  count: i32,
  first: i32,
  keys: i32,
  stride: i32,
): void {
  const low = constant(13);
  const round = constant(1);
  const c5 = constant(14);
  const c4 = constant(15);
  const c3 = constant(16);
  const c2 = constant(17);
  const c1 = constant(18);
  const one = constant(11);
  const row = <usize>stride << 2;
  const end = <usize>keys << 2;
  for (let h = 0; h < heads; h++) {
    for (let s = 0; s < count; s++) {
      const bytes = <usize>(first + s + 1) << 2;
      const top = highest(scores, bytes);
      const tops = lanes(top);
      let sums = lanes(0);
      let i: usize = 0;
      for (; i + 16 <= bytes; i += 16) {
        const e = exp2Lanes(f32x4.sub(v128.load(scores + i), tops), low, round, c5, c4, c3, c2, c1, one);
        sums = f32x4.add(sums, e);
        v128.store(scores + i, e);
      }
      let sum = sumLanes(sums);
      for (; i < bytes; i += 4) {
        const x = f32x4.sub(v128.load32_splat(scores + i), tops);
        const e = f32x4.extract_lane(exp2Lanes(x, low, round, c5, c4, c3, c2, c1, one), 0);
        sum += e;
        store<f32>(scores + i, e);
      }
      clear(scores + bytes, scores + end);
      store<f32>(inverses, 1 / sum);
      scores += row;
      inverses += 4;
    }
  }
}

/**
 * dp becomes ds = p ⊙ (dp − Σ p·dp), on rows as `causalExp2` has them: e is p without its factor, the inverse, which dp has instead.
 */
export function causalExp2Grad(
  e: usize,
  dp: usize,
  inverses: usize,
  heads: i32,
  count: i32,
  first: i32,
  keys: i32,
  stride: i32,
): void {
  const row = <usize>stride << 2;
  const end = <usize>keys << 2;
  for (let h = 0; h < heads; h++) {
    for (let s = 0; s < count; s++) {
      const bytes = <usize>(first + s + 1) << 2;
      // Four sums, as each addition waits for the one before it.
      let d0 = lanes(0);
      let d1 = d0;
      let d2 = d0;
      let d3 = d0;
      let i: usize = 0;
      for (; i + 64 <= bytes; i += 64) {
        d0 = f32x4.add(d0, f32x4.mul(v128.load(e + i), v128.load(dp + i)));
        d1 = f32x4.add(d1, f32x4.mul(v128.load(e + i, 16), v128.load(dp + i, 16)));
        d2 = f32x4.add(d2, f32x4.mul(v128.load(e + i, 32), v128.load(dp + i, 32)));
        d3 = f32x4.add(d3, f32x4.mul(v128.load(e + i, 48), v128.load(dp + i, 48)));
      }
      for (; i + 16 <= bytes; i += 16) d0 = f32x4.add(d0, f32x4.mul(v128.load(e + i), v128.load(dp + i)));
      let sum = sumLanes(f32x4.add(f32x4.add(d0, d1), f32x4.add(d2, d3)));
      for (; i < bytes; i += 4) sum += load<f32>(e + i) * load<f32>(dp + i);
      const mean = sum * load<f32>(inverses);
      const means = lanes(mean);
      for (i = 0; i + 16 <= bytes; i += 16) {
        v128.store(dp + i, f32x4.mul(v128.load(e + i), f32x4.sub(v128.load(dp + i), means)));
      }
      for (; i < bytes; i += 4) store<f32>(dp + i, load<f32>(e + i) * (load<f32>(dp + i) - mean));
      clear(dp + bytes, dp + end);
      e += row;
      dp += row;
      inverses += 4;
    }
  }
}
