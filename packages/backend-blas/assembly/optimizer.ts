/** @file Steps of an optimizer on numbers [from, to) of a tensor: new values into new places. */
import { lanes } from './vector';

// One element of AdamW, in lanes: the remainder of a tensor goes through the same code.
@inline
function moved(p: v128, m: v128, v: v128, decay: f32, stepSize: f32, rootCorrection: f32, epsilon: f32): v128 {
  const denominator = f32x4.add(f32x4.div(f32x4.sqrt(v), lanes(rootCorrection)), lanes(epsilon));
  return f32x4.sub(f32x4.mul(p, lanes(decay)), f32x4.div(f32x4.mul(m, lanes(stepSize)), denominator));
}

/** The gradient is multiplied by `scale` first; `rest1` is 1 − β₁, `rest2` 1 − β₂, `decay` 1 − rate·weight decay. */
export function adamw(
  from: i32,
  to: i32,
  p: usize,
  g: usize,
  m: usize,
  v: usize,
  newP: usize,
  newM: usize,
  newV: usize,
  scale: f32,
  beta1: f32,
  rest1: f32,
  beta2: f32,
  rest2: f32,
  decay: f32,
  stepSize: f32,
  rootCorrection: f32,
  epsilon: f32,
): void {
  const end = <usize>to << 2;
  let i = <usize>from << 2;
  for (; i + 16 <= end; i += 16) {
    const gradient = f32x4.mul(v128.load(g + i), lanes(scale));
    const mean = f32x4.add(f32x4.mul(v128.load(m + i), lanes(beta1)), f32x4.mul(gradient, lanes(rest1)));
    const square = f32x4.add(
      f32x4.mul(v128.load(v + i), lanes(beta2)),
      f32x4.mul(f32x4.mul(gradient, gradient), lanes(rest2)),
    );
    v128.store(newM + i, mean);
    v128.store(newV + i, square);
    v128.store(newP + i, moved(v128.load(p + i), mean, square, decay, stepSize, rootCorrection, epsilon));
  }
  for (; i < end; i += 4) {
    const gradient = load<f32>(g + i) * scale;
    const mean = load<f32>(m + i) * beta1 + gradient * rest1;
    const square = load<f32>(v + i) * beta2 + gradient * gradient * rest2;
    store<f32>(newM + i, mean);
    store<f32>(newV + i, square);
    const next = moved(lanes(load<f32>(p + i)), lanes(mean), lanes(square), decay, stepSize, rootCorrection, epsilon);
    store<f32>(newP + i, f32x4.extract_lane(next, 0));
  }
}

/** newM = momentum·m + scale·g + decay·p and newP = p − rate·newM; without momentum m is 0 and newM not kept. */
export function sgd(
  from: i32,
  to: i32,
  p: usize,
  g: usize,
  m: usize,
  newP: usize,
  newM: usize,
  scale: f32,
  momentum: f32,
  decay: f32,
  rate: f32,
): void {
  const end = <usize>to << 2;
  for (let i = <usize>from << 2; i < end; i += 4) {
    const value = load<f32>(p + i);
    let step = load<f32>(g + i) * scale + decay * value;
    if (m) {
      step += momentum * load<f32>(m + i);
      store<f32>(newM + i, step);
    }
    store<f32>(newP + i, value - rate * step);
  }
}
