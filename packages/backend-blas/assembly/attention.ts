/**
 * @file What attention needs beside products: rows of heads out of an activation matrix and back, and the causal softmax both ways.
 */
import { lanes, scaleRow, softmaxRow, sumLanes } from './vector';

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
    scaleRow(p, y, bytes, scale);
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
    scaleRow(y, p, bytes, scale);
    y += bytes;
  }
}

/**
 * Rows of scores, `stride` numbers apart, become probabilities in their first `keys` places: heads of `count` rows each below each other,
 * of which row s sees the keys 0 … first + s. The keys after them get 0.
 */
export function causalSoftmax(scores: usize, heads: i32, count: i32, first: i32, keys: i32, stride: i32): void {
  const row = <usize>stride << 2;
  const end = <usize>keys << 2;
  for (let h = 0; h < heads; h++) {
    for (let s = 0; s < count; s++) {
      const bytes = <usize>(first + s + 1) << 2;
      softmaxRow(scores, scores, bytes);
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
