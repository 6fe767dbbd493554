/** @file Which numbers linear layers compute with, in words: an adapter, a measurement or a predictor made on some is none of others'. */
import { formOf, packedKind } from '@spft/sparse-ops/internals';
import type * as tf from '@tensorflow/tfjs';

export interface FrozenNumbers {
  /** Of the layers in a form, each once: `fp8`, `nf4`, `nf4 double quantised`. */
  readonly forms: readonly string[];
  /** Layers that are plain beside those, as short as they say the same: `k_proj` for every module of that name, else the whole name. */
  readonly plain: readonly string[];
}

/** Null where all layers are plain. */
export function frozenNumbers(linears: ReadonlyMap<string, { readonly weight: tf.Tensor2D }>): FrozenNumbers | null {
  const forms = new Set<string>();
  const plain: string[] = [];
  for (const [name, { weight }] of linears) {
    const form = formOf(weight);
    if (form === null) plain.push(name);
    else forms.add((packedKind(weight)?.attributes.nestedBlockSize ?? 0) > 0 ? `${form} double quantised` : form);
  }
  return forms.size === 0 ? null : { forms: [...forms], plain: shortNames(plain, [...linears.keys()]) };
}

function shortNames(some: readonly string[], all: readonly string[]): string[] {
  const lastPart = (name: string) => name.slice(name.lastIndexOf('.') + 1);
  const others = new Set(all.filter((name) => !some.includes(name)).map(lastPart));
  return [...new Set(some.map((name) => (others.has(lastPart(name)) ? name : lastPart(name))))];
}
