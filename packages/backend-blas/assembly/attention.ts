/**
 * @file What attention needs beside products: rows of heads out of an activation matrix and back, and the causal softmax both ways.
 */
import { constant, expLanes, lanes, maxLanes, sumLanes } from './vector';

/**
 * Tokens [from, to) of one head into rows of d: to[s − from] = scale · x[row of token s].
 * @param x first number of the head in row 0; `stride` numbers to the next row.
 * @param rowOf int32, row of each token.
 */
export function gatherHead(
  from: i32,
  to: i32,
  x: usize,
  stride: i32,
  rowOf: usize,
  d: i32,
  y: usize,
  scale: f32,
): void {
  const bytes = <usize>d << 2;
  const row = <usize>stride << 2;
  for (let s = from; s < to; s++) {
    const p = x + <usize>load<i32>(rowOf + (<usize>s << 2)) * row;
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) v128.store(y + i, f32x4.mul(v128.load(p + i), lanes(scale)));
    for (; i < bytes; i += 4) store<f32>(y + i, load<f32>(p + i) * scale);
    y += bytes;
  }
}

/** The way back: x[row of token s] = scale · y[s − from]. */
export function scatterHead(
  from: i32,
  to: i32,
  x: usize,
  stride: i32,
  rowOf: usize,
  d: i32,
  y: usize,
  scale: f32,
): void {
  const bytes = <usize>d << 2;
  const row = <usize>stride << 2;
  for (let s = from; s < to; s++) {
    const p = x + <usize>load<i32>(rowOf + (<usize>s << 2)) * row;
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) v128.store(p + i, f32x4.mul(v128.load(y + i), lanes(scale)));
    for (; i < bytes; i += 4) store<f32>(p + i, load<f32>(y + i) * scale);
    y += bytes;
  }
}

/**
 * Rows of scores, `stride` numbers apart, become probabilities in their first `keys` places: heads of `count` rows each below each other,
 * of which row s sees the keys 0 … first + s. The keys after them get 0.
 */
export function causalSoftmax(scores: usize, heads: i32, count: i32, first: i32, keys: i32, stride: i32): void {
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
  const row = <usize>stride << 2;
  const end = <usize>keys << 2;
  for (let h = 0; h < heads; h++) {
    for (let s = 0; s < count; s++) {
      const bytes = <usize>(first + s + 1) << 2;
      let highest = lanes(-Infinity);
      let i: usize = 0;
      for (; i + 16 <= bytes; i += 16) highest = f32x4.pmax(highest, v128.load(scores + i));
      let top = maxLanes(highest);
      for (; i < bytes; i += 4) top = max<f32>(top, load<f32>(scores + i));
      let sums = lanes(0);
      for (i = 0; i + 16 <= bytes; i += 16) {
        const e = expLanes(f32x4.sub(v128.load(scores + i), lanes(top)), low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one);
        sums = f32x4.add(sums, e);
        v128.store(scores + i, e);
      }
      let sum = sumLanes(sums);
      for (; i < bytes; i += 4) {
        const e = f32x4.extract_lane(expLanes(f32x4.sub(v128.load32_splat(scores + i), lanes(top)), low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one), 0);
        sum += e;
        store<f32>(scores + i, e);
      }
      const inverse: f32 = 1 / sum;
      for (i = 0; i + 16 <= bytes; i += 16) v128.store(scores + i, f32x4.mul(v128.load(scores + i), lanes(inverse)));
      for (; i < bytes; i += 4) store<f32>(scores + i, load<f32>(scores + i) * inverse);
      memory.fill(scores + bytes, 0, end - bytes);
      scores += row;
    }
  }
}

/** dp becomes ds = p ⊙ (dp − Σ p·dp), on rows as `causalSoftmax` has them. */
export function causalSoftmaxGrad(
  p: usize,
  dp: usize,
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
      let dots = lanes(0);
      let i: usize = 0;
      for (; i + 16 <= bytes; i += 16) dots = f32x4.add(dots, f32x4.mul(v128.load(p + i), v128.load(dp + i)));
      let mean = sumLanes(dots);
      for (; i < bytes; i += 4) mean += load<f32>(p + i) * load<f32>(dp + i);
      for (i = 0; i + 16 <= bytes; i += 16) {
        v128.store(dp + i, f32x4.mul(v128.load(p + i), f32x4.sub(v128.load(dp + i), lanes(mean))));
      }
      for (; i < bytes; i += 4) store<f32>(dp + i, load<f32>(p + i) * (load<f32>(dp + i) - mean));
      memory.fill(dp + bytes, 0, end - bytes);
      p += row;
      dp += row;
    }
  }
}
