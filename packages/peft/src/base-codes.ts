/** @file In which codes of 4 bits frozen weights are held: an adapter says so where it is saved, as it was trained on what these stand for. */
import type { FourBitType } from '@spft/sparse-ops';
import { packedKind } from '@spft/sparse-ops/internals';
import type * as tf from '@tensorflow/tfjs';

export interface BaseCodes {
  readonly type: FourBitType;
  readonly doubleQuantisation: boolean;
  /** Full names of linear layers whose weights are plain numbers all the same. */
  readonly modulesToNotConvert: readonly string[];
  /** Whether embedding and head are in codes too. */
  readonly quantiseEmbeddings: boolean;
}

/**
 * As the first weight in codes is; null where none is.
 * @param weights of linear layers, by name. @param head the head's, where the host shows it.
 */
export function codesOfWeights(weights: ReadonlyMap<string, tf.Tensor2D>, head?: tf.Tensor2D): BaseCodes | null {
  const kinds = [...weights].map(([name, weight]) => [name, packedKind(weight)] as const);
  const first = kinds.find(([, kind]) => kind !== null)?.[1];
  if (!first) return null;
  return {
    type: first.type,
    doubleQuantisation: first.attributes.nestedBlockSize > 0,
    modulesToNotConvert: kinds.flatMap(([name, kind]) => (kind === null ? [name] : [])),
    quantiseEmbeddings: head !== undefined && packedKind(head) !== null,
  };
}
