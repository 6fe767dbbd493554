/** @file Plain loops that say the same as swiglu.ts. */

const sigmoid = (z: number): number => 1 / (1 + Math.exp(-z));

/** y = silu(gate)·up, elementwise. */
export function swigluReference(gate: Float32Array, up: Float32Array): Float32Array {
  return gate.map((z, i) => z * sigmoid(z) * up[i]!);
}

/** dgate = dy·up·(σ + z·σ·(1 − σ)), dup = dy·z·σ. */
export function swigluGradReference(
  gate: Float32Array,
  up: Float32Array,
  dy: Float32Array,
): { dGate: Float32Array; dUp: Float32Array } {
  return {
    dGate: gate.map((z, i) => dy[i]! * up[i]! * sigmoid(z) * (1 + z * (1 - sigmoid(z)))),
    dUp: gate.map((z, i) => dy[i]! * z * sigmoid(z)),
  };
}
