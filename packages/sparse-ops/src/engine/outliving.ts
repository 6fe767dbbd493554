/**
 * @file What a gradient reads that it is no gradient of, and was not given: frozen weights, and adapters in ops that take several layers at once. They are the
 * caller's and mostly live as long as the model, so that nothing is to be done. One that was computed on the way, a scaled adapter or a weight made for this
 * call, ends with the forward's scope and has to be saved like anything else.
 */
import type * as tf from '@tensorflow/tfjs';
import { endsWithScope } from './tfjs-internals.js';

/** For a tensor, one with its values that lives when a gradient is taken. */
export type Living = <T extends tf.Tensor | null>(tensor: T) => T;

export interface Outliving {
  /** What is to be saved: those of the tensors that end before a gradient is taken. */
  readonly saves: tf.Tensor[];
  /**
   * @param saved what has become of `saves`.
   * @returns for each of the tensors one with its values that lives.
   */
  from(saved: readonly tf.Tensor[]): Living;
}

/** Where all of them live. */
const all: Outliving = { saves: [], from: () => (tensor) => tensor };

/** @param tensors null for none. */
export function outliving(tensors: readonly (tf.Tensor | null | undefined)[]): Outliving {
  const saves: tf.Tensor[] = [];
  for (const tensor of tensors) if (tensor && endsWithScope(tensor) && !saves.includes(tensor)) saves.push(tensor);
  if (saves.length === 0) return all;
  return {
    saves,
    from:
      (saved) =>
      <T extends tf.Tensor | null>(tensor: T): T => {
        const at = tensor === null ? -1 : saves.indexOf(tensor);
        return at < 0 ? tensor : (saved[at] as T);
      },
  };
}
