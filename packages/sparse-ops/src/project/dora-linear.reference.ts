/** @file Plain loops that say the same as dora-linear.ts, with the product B·A that the op avoids. */
import { type LoraShapes, loraLinearReference, product } from './lora-linear.reference.js';

/** ‖W + s·B·A‖ of each row; W [Out, In], A [r, In], B [Out, r] row-major. */
export function doraNormsReference(
  W: Float32Array,
  A: Float32Array,
  B: Float32Array,
  s: number,
  { In, Out, r }: Omit<LoraShapes, 'T'>,
): Float32Array {
  const delta = product(B, A, Out, r, In);
  return Float32Array.from({ length: Out }, (_, o) => {
    let squares = 0;
    for (let i = o * In; i < (o + 1) * In; i++) squares += (W[i]! + s * delta[i]!) ** 2;
    return Math.sqrt(squares);
  });
}

/** PEFT's words: base + (c − 1)·(base − b) + c·s·lora, with c = m / norms. */
export function doraLinearReference(
  x: Float32Array,
  base: Float32Array,
  A: Float32Array,
  B: Float32Array,
  m: Float32Array,
  norms: Float32Array,
  b: Float32Array | null,
  s: number,
  shapes: LoraShapes,
): Float32Array {
  const lora = loraLinearReference(x, new Float32Array(base.length), A, B, s, shapes);
  return base.map((v, i) => {
    const o = i % shapes.Out;
    const c = m[o]! / norms[o]!;
    return v + (c - 1) * (v - (b ? b[o]! : 0)) + c * lora[i]!;
  });
}
