/** @file Plain loops that say the same as gated-mlp.ts, by the references of its layers and of SwiGLU. */
import { type LayerReference, layerGradReference, layerReference } from '../project/project-rows.reference.js';
import { swigluGradReference, swigluReference } from './swiglu.reference.js';

export interface MlpReference {
  readonly gate: LayerReference;
  readonly up: LayerReference;
  readonly down: LayerReference;
}

/** residual + down(silu(gate(x)) ⊙ up(x)) [T, H]. */
export function gatedMlpReference(
  x: ArrayLike<number>,
  residual: ArrayLike<number>,
  T: number,
  mlp: MlpReference,
  denseRows: number,
): Float64Array {
  const h = swigluReference(...activations(x, T, mlp, denseRows));
  const y = layerReference(h, T, mlp.down, denseRows, 'inputs');
  return y.map((v, i) => v + residual[i]!);
}

/** The gradient of x for dy [T, H]. */
export function gatedMlpGradReference(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  T: number,
  mlp: MlpReference,
  denseRows: number,
): Float64Array {
  const [gate, up] = activations(x, T, mlp, denseRows);
  const h = swigluReference(gate, up);
  const { dx: dh } = layerGradReference(h, dy, T, mlp.down, denseRows, 'inputs');
  const { dGate, dUp } = swigluGradReference(gate, up, Float32Array.from(dh));
  const ofGate = layerGradReference(x, dGate, T, mlp.gate, denseRows, 'outputs').dx;
  const ofUp = layerGradReference(x, dUp, T, mlp.up, denseRows, 'outputs').dx;
  return ofGate.map((g, i) => g + ofUp[i]!);
}

function activations(x: ArrayLike<number>, T: number, { gate, up }: MlpReference, D: number) {
  return [gate, up].map((layer) => Float32Array.from(layerReference(x, T, layer, D, 'outputs'))) as [
    Float32Array,
    Float32Array,
  ];
}
