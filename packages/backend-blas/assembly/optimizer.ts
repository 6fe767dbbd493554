/** @file Steps of an optimizer on numbers [from, to) of a tensor: new values into new places. */
import * as ops from '../../sparse-ops/assembly/rows';

/** Of sparse-ops' adamw(). The gradient is multiplied by `scale` first; `rest1` is 1 − β₁, `rest2` 1 − β₂, `decay` 1 − rate·weight decay. */
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
  const begin = <usize>from << 2;
  ops.adamw(
    p + begin,
    g + begin,
    m + begin,
    v + begin,
    newP + begin,
    newM + begin,
    newV + begin,
    to - from,
    scale,
    beta1,
    rest1,
    beta2,
    rest2,
    decay,
    stepSize,
    rootCorrection,
    epsilon,
  );
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
