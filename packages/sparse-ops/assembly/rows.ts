/** @file Passes over activations and parameters: SwiGLU, RMSNorm, RoPE, AdamW. */
import { lanes, sigmoidLanes, sumLanes } from './vector';

/** y = silu(gate) ⊙ up; n numbers. */
export function swiglu(gate: usize, up: usize, y: usize, n: i32): void {
  const end = (<usize>n & ~3) << 2;
  for (let i: usize = 0; i < end; i += 16) {
    const g = v128.load(gate + i);
    v128.store(y + i, f32x4.mul(f32x4.mul(g, sigmoidLanes(g)), v128.load(up + i)));
  }
  for (let i = end; i < <usize>n << 2; i += 4) {
    const g = v128.load32_splat(gate + i);
    const value = f32x4.mul(f32x4.mul(g, sigmoidLanes(g)), v128.load32_splat(up + i));
    store<f32>(y + i, f32x4.extract_lane(value, 0));
  }
}

// silu' = σ·(1 + z − silu)
@inline
export function slope(g: v128, sigmoid: v128, silu: v128): v128 {
  return f32x4.mul(sigmoid, f32x4.sub(f32x4.add(lanes(1), g), silu));
}

export function swigluGrad(gate: usize, up: usize, dy: usize, dGate: usize, dUp: usize, n: i32): void {
  const end = (<usize>n & ~3) << 2;
  for (let i: usize = 0; i < end; i += 16) {
    const g = v128.load(gate + i);
    const d = v128.load(dy + i);
    const sigmoid = sigmoidLanes(g);
    const silu = f32x4.mul(g, sigmoid);
    v128.store(dGate + i, f32x4.mul(f32x4.mul(d, v128.load(up + i)), slope(g, sigmoid, silu)));
    v128.store(dUp + i, f32x4.mul(d, silu));
  }
  for (let i = end; i < <usize>n << 2; i += 4) {
    const g = v128.load32_splat(gate + i);
    const d = v128.load32_splat(dy + i);
    const sigmoid = sigmoidLanes(g);
    const silu = f32x4.mul(g, sigmoid);
    const first = f32x4.mul(f32x4.mul(d, v128.load32_splat(up + i)), slope(g, sigmoid, silu));
    store<f32>(dGate + i, f32x4.extract_lane(first, 0));
    store<f32>(dUp + i, f32x4.extract_lane(f32x4.mul(d, silu), 0));
  }
}

/** Σ a²; n numbers. */
export function squares(a: usize, n: i32): f32 {
  let sum = lanes(0);
  let more = lanes(0);
  const bytes = <usize>n << 2;
  let i: usize = 0;
  for (; i + 32 <= bytes; i += 32) {
    const x = v128.load(a + i);
    const y = v128.load(a + i, 16);
    sum = f32x4.add(sum, f32x4.mul(x, x));
    more = f32x4.add(more, f32x4.mul(y, y));
  }
  let total = sumLanes(f32x4.add(sum, more));
  for (; i < bytes; i += 4) total += load<f32>(a + i) * load<f32>(a + i);
  return total;
}

/** y = w ⊙ x / √(mean(x²) + ε) for each of T rows of H. */
export function rmsNorm(x: usize, weight: usize, y: usize, T: i32, H: i32, eps: f32): void {
  const bytes = <usize>H << 2;
  for (let t = 0; t < T; t++) {
    const scale: f32 = 1 / sqrt<f32>(squares(x, H) / <f32>H + eps);
    const factor = lanes(scale);
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) {
      v128.store(y + i, f32x4.mul(f32x4.mul(v128.load(x + i), factor), v128.load(weight + i)));
    }
    for (; i < bytes; i += 4) store<f32>(y + i, load<f32>(x + i) * scale * load<f32>(weight + i));
    x += bytes;
    y += bytes;
  }
}

/** dx = d + r·(w·dy) − x·r³·(x·(w·dy))/H with r = 1/√(mean(x²) + ε); d [T, H], or 0 where nothing is added. */
export function rmsNormGrad(x: usize, weight: usize, dy: usize, dx: usize, d: usize, T: i32, H: i32, eps: f32): void {
  const bytes = <usize>H << 2;
  for (let t = 0; t < T; t++) {
    let dots = lanes(0);
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) {
      dots = f32x4.add(dots, f32x4.mul(v128.load(x + i), f32x4.mul(v128.load(dy + i), v128.load(weight + i))));
    }
    let dot = sumLanes(dots);
    for (; i < bytes; i += 4) dot += load<f32>(x + i) * load<f32>(dy + i) * load<f32>(weight + i);
    const scale: f32 = 1 / sqrt<f32>(squares(x, H) / <f32>H + eps);
    const along: f32 = (scale * scale * scale * dot) / <f32>H;
    const factor = lanes(scale);
    const back = lanes(along);
    for (i = 0; i + 16 <= bytes; i += 16) {
      const forth = f32x4.mul(f32x4.mul(v128.load(dy + i), v128.load(weight + i)), factor);
      const own = f32x4.sub(forth, f32x4.mul(v128.load(x + i), back));
      v128.store(dx + i, d ? f32x4.add(own, v128.load(d + i)) : own);
    }
    for (; i < bytes; i += 4) {
      const own = load<f32>(dy + i) * load<f32>(weight + i) * scale - load<f32>(x + i) * along;
      store<f32>(dx + i, d ? own + load<f32>(d + i) : own);
    }
    x += bytes;
    dy += bytes;
    dx += bytes;
    if (d) d += bytes;
  }
}

/** Turns dimension i of each head of each row with dimension i + half; `sign` −1 turns back. */
export function rope(x: usize, cos: usize, sin: usize, y: usize, T: i32, heads: i32, half: i32, sign: f32): void {
  const bytes = <usize>half << 2;
  for (let t = 0; t < T; t++) {
    for (let h = 0; h < heads; h++) {
      let i: usize = 0;
      for (; i + 16 <= bytes; i += 16) {
        const c = v128.load(cos + i);
        const s = f32x4.mul(v128.load(sin + i), lanes(sign));
        const first = v128.load(x + i);
        const second = v128.load(x + i + bytes);
        v128.store(y + i, f32x4.sub(f32x4.mul(first, c), f32x4.mul(second, s)));
        v128.store(y + i + bytes, f32x4.add(f32x4.mul(second, c), f32x4.mul(first, s)));
      }
      for (; i < bytes; i += 4) {
        const c = load<f32>(cos + i);
        const s = load<f32>(sin + i) * sign;
        const first = load<f32>(x + i);
        const second = load<f32>(x + i + bytes);
        store<f32>(y + i, first * c - second * s);
        store<f32>(y + i + bytes, second * c + first * s);
      }
      x += 2 * bytes;
      y += 2 * bytes;
    }
    cos += bytes;
    sin += bytes;
  }
}

// One element of AdamW, in lanes: the remainder of a tensor goes through the same code.
@inline
function moved(p: v128, m: v128, v: v128, decay: f32, stepSize: f32, rootCorrection: f32, epsilon: f32): v128 {
  const denominator = f32x4.add(f32x4.div(f32x4.sqrt(v), lanes(rootCorrection)), lanes(epsilon));
  return f32x4.sub(f32x4.mul(p, lanes(decay)), f32x4.div(f32x4.mul(m, lanes(stepSize)), denominator));
}

/** New parameters and moments of n numbers into new places; the gradient is multiplied by `scale` first. */
export function adamw(
  p: usize,
  g: usize,
  m: usize,
  v: usize,
  newP: usize,
  newM: usize,
  newV: usize,
  n: i32,
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
  const end = <usize>n << 2;
  let i: usize = 0;
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
