/** @file Passes over rows [from, to) of activations: SwiGLU, RMSNorm, RoPE, softmax, the loss. */
import * as ops from '../../sparse-ops/assembly/rows';
import { slope, squares } from '../../sparse-ops/assembly/rows';
import { constant, expLanes, highest, lanes, scaleRow, sigmoidLanes, softmaxRow, sumLanes } from './vector';

/** Numbers [from, to) of y = silu(gate) ⊙ up. */
export function swiglu(from: i32, to: i32, gate: usize, up: usize, y: usize): void {
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
  let i = <usize>from << 2;
  const end = <usize>to << 2;
  for (; i + 16 <= end; i += 16) {
    const g = v128.load(gate + i);
    v128.store(y + i, f32x4.mul(f32x4.mul(g, sigmoidLanes(g, high, low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one)), v128.load(up + i)));
  }
  for (; i < end; i += 4) {
    const g = v128.load32_splat(gate + i);
    store<f32>(y + i, f32x4.extract_lane(f32x4.mul(f32x4.mul(g, sigmoidLanes(g, high, low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one)), v128.load32_splat(up + i)), 0));
  }
}

export function swigluGrad(from: i32, to: i32, gate: usize, up: usize, dy: usize, dGate: usize, dUp: usize): void {
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
  let i = <usize>from << 2;
  const end = <usize>to << 2;
  for (; i + 16 <= end; i += 16) {
    const g = v128.load(gate + i);
    const d = v128.load(dy + i);
    const sigmoid = sigmoidLanes(g, high, low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one);
    const silu = f32x4.mul(g, sigmoid);
    v128.store(dGate + i, f32x4.mul(f32x4.mul(d, v128.load(up + i)), slope(g, sigmoid, silu)));
    v128.store(dUp + i, f32x4.mul(d, silu));
  }
  for (; i < end; i += 4) {
    const g = v128.load32_splat(gate + i);
    const d = v128.load32_splat(dy + i);
    const sigmoid = sigmoidLanes(g, high, low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one);
    const silu = f32x4.mul(g, sigmoid);
    const first = f32x4.mul(f32x4.mul(d, v128.load32_splat(up + i)), slope(g, sigmoid, silu));
    store<f32>(dGate + i, f32x4.extract_lane(first, 0));
    store<f32>(dUp + i, f32x4.extract_lane(f32x4.mul(d, silu), 0));
  }
}

export { squares };

/** Rows [from, to) of sparse-ops' rmsNorm(). */
export function rmsNorm(from: i32, to: i32, x: usize, weight: usize, y: usize, H: i32, eps: f32): void {
  const begin = <usize>from * (<usize>H << 2);
  ops.rmsNorm(x + begin, weight, y + begin, to - from, H, eps);
}

/** @param d what is added to the gradient, or 0. */
export function rmsNormGrad(
  from: i32,
  to: i32,
  x: usize,
  weight: usize,
  dy: usize,
  dx: usize,
  d: usize,
  H: i32,
  eps: f32,
): void {
  const begin = <usize>from * (<usize>H << 2);
  ops.rmsNormGrad(x + begin, weight, dy + begin, dx + begin, d ? d + begin : 0, to - from, H, eps);
}

/** Rows [from, to) of sparse-ops' rope(). */
export function rope(
  from: i32,
  to: i32,
  x: usize,
  cos: usize,
  sin: usize,
  y: usize,
  heads: i32,
  half: i32,
  sign: f32,
): void {
  const angles = <usize>from * (<usize>half << 2);
  const begin = 2 * <usize>heads * angles;
  ops.rope(x + begin, cos + angles, sin + angles, y + begin, to - from, heads, half, sign);
}

/**
 * Rows [from, to) of logits [rows, V]: sums[r] is the pair (Σ e^(z − max), max − z[label]) of doubles, so that −log softmax(z)[label] is the
 * logarithm of the first plus the second; with `gradient` the row becomes softmax(z) less 1 at the label. A label outside [0, V) has no
 * place in the row: its logit counts as 0. The logarithm is the caller's, as AssemblyScript's has tables, which have no place in the memory.
 */
export function crossEntropy(
  from: i32,
  to: i32,
  logits: usize,
  labels: usize,
  sums: usize,
  V: i32,
  gradient: i32,
): void {
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
  const bytes = <usize>V << 2;
  for (let r = from; r < to; r++) {
    const row = logits + <usize>r * bytes;
    const top = highest(row, bytes);
    const label = load<i32>(labels + (<usize>r << 2));
    const inside = label >= 0 && label < V;
    const at = row + (<usize>label << 2);
    const chosen: f32 = inside ? load<f32>(at) : 0;
    // Of 49152 terms: lanes of f32 would lose digits that matter to a loss, blocks of a thousand do not.
    let total: f64 = 0;
    let i: usize = 0;
    while (i + 16 <= bytes) {
      const stop = min(bytes, i + 4096);
      let sum = lanes(0);
      for (; i + 16 <= stop; i += 16) {
        const e = expLanes(f32x4.sub(v128.load(row + i), lanes(top)), low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one);
        sum = f32x4.add(sum, e);
        if (gradient) v128.store(row + i, e);
      }
      total += <f64>sumLanes(sum);
    }
    for (; i < bytes; i += 4) {
      const e = f32x4.extract_lane(expLanes(f32x4.sub(v128.load32_splat(row + i), lanes(top)), low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one), 0);
      total += <f64>e;
      if (gradient) store<f32>(row + i, e);
    }
    store<f64>(sums + (<usize>r << 4), total);
    store<f64>(sums + (<usize>r << 4), <f64>top - <f64>chosen, 8);
    if (!gradient) continue;
    scaleRow(row, row, bytes, <f32>(1 / total));
    if (inside) store<f32>(at, load<f32>(at) - 1);
  }
}

/** Rows [from, to) of y [rows, n]: the softmax of the rows of x. */
export function softmax(from: i32, to: i32, x: usize, y: usize, n: i32): void {
  const bytes = <usize>n << 2;
  for (let r = from; r < to; r++) softmaxRow(x + <usize>r * bytes, y + <usize>r * bytes, bytes);
}
