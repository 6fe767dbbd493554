/** @file Layers of the ops that span several products, as tensors and as plain numbers. */
import type { FrozenLayer } from '../src/project/frozen-layer.js';
import type { LayerReference } from '../src/project/project-rows.reference.js';
import { indicesOf, random1d, random2d, someOf, valuesOf } from './selections.js';

export interface LayerOptions {
  readonly out: number;
  readonly inputs: number;
  /** Rank of a branch; 0 for none. */
  readonly rank: number;
  readonly bias: boolean;
  /** DoRA's magnitude on the branch. */
  readonly magnitude?: boolean;
  /** Channels to select from, outputs or inputs; 0 for no selection. */
  readonly select: number;
}

export function layerOf({ out, inputs, rank, bias, select, magnitude = false }: LayerOptions, seed: number) {
  const lengths = magnitude ? random1d(out, seed + 4) : null;
  const layer: FrozenLayer = {
    weight: random2d(out, inputs, seed),
    bias: bias ? random1d(out, seed + 1) : null,
    keep: select > 0 ? someOf(select) : null,
    lora:
      rank > 0
        ? { a: random2d(rank, inputs, seed + 2), b: random2d(out, rank, seed + 3), scaling: 0.5, magnitude: lengths }
        : null,
  };
  const plain: LayerReference = {
    weight: valuesOf(layer.weight),
    bias: layer.bias && valuesOf(layer.bias),
    keep: layer.keep && new Set(indicesOf(layer.keep)),
    lora: layer.lora && {
      a: valuesOf(layer.lora.a),
      b: valuesOf(layer.lora.b),
      r: rank,
      scaling: 0.5,
      magnitude: lengths && valuesOf(lengths),
    },
    out,
    inputs,
  };
  return { layer, plain };
}
