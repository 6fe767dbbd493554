/**
 * @file Passes over numbers [from, to) of tensors. `x op y` of two tensors of one shape, of a tensor and a number, and of a matrix and a row
 * or a column; all that broadcasting in a training step needs.
 */
import { constant, lanes, scaleRow, sigmoidLanes } from './vector';

export function add(from: i32, to: i32, x: usize, y: usize, z: usize): void {
  let i = <usize>from << 2;
  const end = <usize>to << 2;
  for (; i + 16 <= end; i += 16) v128.store(z + i, f32x4.add(v128.load(x + i), v128.load(y + i)));
  for (; i < end; i += 4) store<f32>(z + i, load<f32>(x + i) + load<f32>(y + i));
}

export function sub(from: i32, to: i32, x: usize, y: usize, z: usize): void {
  let i = <usize>from << 2;
  const end = <usize>to << 2;
  for (; i + 16 <= end; i += 16) v128.store(z + i, f32x4.sub(v128.load(x + i), v128.load(y + i)));
  for (; i < end; i += 4) store<f32>(z + i, load<f32>(x + i) - load<f32>(y + i));
}

export function mul(from: i32, to: i32, x: usize, y: usize, z: usize): void {
  let i = <usize>from << 2;
  const end = <usize>to << 2;
  for (; i + 16 <= end; i += 16) v128.store(z + i, f32x4.mul(v128.load(x + i), v128.load(y + i)));
  for (; i < end; i += 4) store<f32>(z + i, load<f32>(x + i) * load<f32>(y + i));
}

export function div(from: i32, to: i32, x: usize, y: usize, z: usize): void {
  let i = <usize>from << 2;
  const end = <usize>to << 2;
  for (; i + 16 <= end; i += 16) v128.store(z + i, f32x4.div(v128.load(x + i), v128.load(y + i)));
  for (; i < end; i += 4) store<f32>(z + i, load<f32>(x + i) / load<f32>(y + i));
}

/** z = factor·x + summand. */
export function affine(from: i32, to: i32, x: usize, factor: f32, summand: f32, z: usize): void {
  let i = <usize>from << 2;
  const end = <usize>to << 2;
  for (; i + 16 <= end; i += 16) {
    v128.store(z + i, f32x4.add(f32x4.mul(v128.load(x + i), lanes(factor)), lanes(summand)));
  }
  for (; i < end; i += 4) store<f32>(z + i, load<f32>(x + i) * factor + summand);
}

/** z = x / divisor. */
export function divideBy(from: i32, to: i32, x: usize, divisor: f32, z: usize): void {
  let i = <usize>from << 2;
  const end = <usize>to << 2;
  for (; i + 16 <= end; i += 16) v128.store(z + i, f32x4.div(v128.load(x + i), lanes(divisor)));
  for (; i < end; i += 4) store<f32>(z + i, load<f32>(x + i) / divisor);
}

/** Rows [from, to): z = x + sign·y for a row y of n numbers. */
export function addRow(from: i32, to: i32, x: usize, y: usize, z: usize, n: i32, sign: f32): void {
  const bytes = <usize>n << 2;
  for (let r = from; r < to; r++) {
    const p = x + <usize>r * bytes;
    const q = z + <usize>r * bytes;
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) {
      v128.store(q + i, f32x4.add(v128.load(p + i), f32x4.mul(v128.load(y + i), lanes(sign))));
    }
    for (; i < bytes; i += 4) store<f32>(q + i, load<f32>(p + i) + sign * load<f32>(y + i));
  }
}

/** Rows [from, to): z = x ⊙ y for a row y of n numbers. */
export function mulRow(from: i32, to: i32, x: usize, y: usize, z: usize, n: i32): void {
  const bytes = <usize>n << 2;
  for (let r = from; r < to; r++) {
    const p = x + <usize>r * bytes;
    const q = z + <usize>r * bytes;
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) v128.store(q + i, f32x4.mul(v128.load(p + i), v128.load(y + i)));
    for (; i < bytes; i += 4) store<f32>(q + i, load<f32>(p + i) * load<f32>(y + i));
  }
}

/** Rows [from, to) of n numbers: z = x·y with one y for each row. */
export function mulColumn(from: i32, to: i32, x: usize, y: usize, z: usize, n: i32): void {
  const bytes = <usize>n << 2;
  for (let r = from; r < to; r++) scaleRow(x + <usize>r * bytes, z + <usize>r * bytes, bytes, load<f32>(y + (<usize>r << 2)));
}

export function relu(from: i32, to: i32, x: usize, z: usize): void {
  let i = <usize>from << 2;
  const end = <usize>to << 2;
  // pmax keeps x where it is NaN.
  for (; i + 16 <= end; i += 16) v128.store(z + i, f32x4.pmax(v128.load(x + i), lanes(0)));
  for (; i < end; i += 4) store<f32>(z + i, f32x4.extract_lane(f32x4.pmax(v128.load32_splat(x + i), lanes(0)), 0));
}

export function sigmoid(from: i32, to: i32, x: usize, z: usize): void {
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
  for (; i + 16 <= end; i += 16) v128.store(z + i, sigmoidLanes(v128.load(x + i), high, low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one));
  for (; i < end; i += 4) store<f32>(z + i, f32x4.extract_lane(sigmoidLanes(v128.load32_splat(x + i), high, low, round, log2e, ln2, rest, p0, p1, p2, p3, p4, p5, one), 0));
}

/** Bytes [from, to) × 64. */
export function copy(from: usize, to: usize, bytes: usize): void {
  memory.copy(to, from, bytes);
}

export function zero(at: usize, bytes: usize): void {
  memory.fill(at, 0, bytes);
}

/** lowbias32 of a counter with a key in two halves (Wellons 2018), for four counters at a time; as sparse-ops has it. */
@inline
function hash(counter: v128, before: i32, within: i32): v128 {
  let h = v128.xor(counter, i32x4.splat(before));
  h = i32x4.add(i32x4.mul(v128.xor(h, i32x4.shr_u(h, 16)), i32x4.splat(0x7feb352d)), i32x4.splat(within));
  h = i32x4.mul(v128.xor(h, i32x4.shr_u(h, 15)), i32x4.splat(<i32>0x846ca68b));
  return v128.xor(h, i32x4.shr_u(h, 16));
}

/** Numbers [from, to) of z = x·factor, or 0 where the number's hash is below a bound. */
export function dropout(
  from: i32,
  to: i32,
  x: usize,
  z: usize,
  before: i32,
  within: i32,
  dropBelow: i32,
  factor: f32,
): void {
  let n = from;
  const steps = i32x4(0, 1, 2, 3);
  const bound = i32x4.splat(dropBelow);
  for (; n + 4 <= to; n += 4) {
    const dropped = i32x4.lt_s(hash(i32x4.add(i32x4.splat(n), steps), before, within), bound);
    const i = <usize>n << 2;
    v128.store(z + i, v128.andnot(f32x4.mul(v128.load(x + i), lanes(factor)), dropped));
  }
  for (; n < to; n++) {
    const dropped = i32x4.extract_lane(hash(i32x4.splat(n), before, within), 0) < dropBelow;
    const i = <usize>n << 2;
    store<f32>(z + i, dropped ? 0 : load<f32>(x + i) * factor);
  }
}
