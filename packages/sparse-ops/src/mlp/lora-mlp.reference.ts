/** @file Plain loops that say the same as lora-mlp.ts, by those of its layers. */
import { type LayerReference, layerGradReference, layerReference } from '../project/project-rows.reference.js';
import { swigluGradReference, swigluReference } from './swiglu.reference.js';

/** Layers of an MLP, which select the same channels. */
export type LoraMlpReference = Readonly<Record<'gate' | 'up' | 'down', LayerReference>>;

const floats = (values: ArrayLike<number>) => Float32Array.from(values);

function gateAndUp(x: ArrayLike<number>, T: number, { gate, up }: LoraMlpReference, D: number) {
  const [g, u] = [gate, up].map((layer) => floats(layerReference(x, T, layer, D, 'outputs'))) as [
    Float32Array,
    Float32Array,
  ];
  return { g, u, h: swigluReference(g, u) };
}

/** residual + down(silu(gate(x)) ⊙ up(x)) [T, H]. @param D rows before it compute every channel. */
export function loraMlpReference(
  x: ArrayLike<number>,
  residual: ArrayLike<number>,
  T: number,
  layers: LoraMlpReference,
  D: number,
): Float64Array {
  const { h } = gateAndUp(x, T, layers, D);
  return layerReference(h, T, layers.down, D, 'inputs').map((value, i) => value + residual[i]!);
}

/** The gradients of x, and of each layer's branch. */
export function loraMlpGradReference(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  T: number,
  layers: LoraMlpReference,
  D: number,
) {
  const { g, u, h } = gateAndUp(x, T, layers, D);
  const down = layerGradReference(h, dy, T, layers.down, D, 'inputs');
  const { dGate, dUp } = swigluGradReference(g, u, floats(down.dx));
  const gate = layerGradReference(x, dGate, T, layers.gate, D, 'outputs');
  const up = layerGradReference(x, dUp, T, layers.up, D, 'outputs');
  return { dx: gate.dx.map((value, i) => value + up.dx[i]!), gate, up, down };
}
