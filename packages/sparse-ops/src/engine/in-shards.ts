/** @file Which frozen matrices this process holds a part of alone (`holdShards`): what is derived from one is not to be kept, as that would be a whole one. */
import type * as tf from '@tensorflow/tfjs';

/** By dataId, which clones share. */
const held = new WeakSet<tf.DataId>();

export function markInShards(x: tf.Tensor): void {
  held.add(x.dataId);
}

export const isInShards = (x: tf.Tensor): boolean => held.has(x.dataId);
