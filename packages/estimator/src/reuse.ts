/**
 * @file A kept set used again for some steps (`selection_interval`): an estimator around another that chooses in the first step of every
 * window of so many, and hands out the same choice in the others. Saves the estimator's time; adapters see the same channels for longer.
 */
import type { ChannelSelection } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import type { AttentionSelection, SparsityEstimator } from './types.js';

type Selections = Readonly<Record<string, ChannelSelection | null>>;

/**
 * @param inner taken over.
 * @param interval steps that a choice is used for, ≥ 1.
 * @param step number of the current optimizer step.
 */
export function reusingEstimator(inner: SparsityEstimator, interval: number, step: () => number): SparsityEstimator {
  const chosen = new Map<string, { readonly window: number; readonly selections: Selections }>();
  const free = (selections: Selections) => {
    for (const selection of Object.values(selections)) selection?.indices.dispose();
  };
  const copies = <S extends Selections>(selections: S, copy: (indices: tf.Tensor1D) => tf.Tensor1D): S =>
    Object.fromEntries(
      Object.entries(selections).map(([part, s]) => [part, s && { ...s, indices: copy(s.indices) }]),
    ) as S;

  const reuse = <S extends Selections>(key: string, choose: () => S): S => {
    const window = Math.floor(step() / interval);
    const known = chosen.get(key);
    if (known?.window === window) return copies(known.selections as S, (indices) => tf.clone(indices));
    if (known) free(known.selections);
    chosen.delete(key);
    const fresh = choose();
    chosen.set(key, { window, selections: copies(fresh, (indices) => tf.keep(tf.clone(indices))) });
    return fresh;
  };
  return {
    mode: inner.mode,
    needs: inner.needs,
    applies: inner.applies,
    remembers: true,
    sharesScores: inner.sharesScores ?? false,
    // The sparsity is part of the key: a plan may be changed between steps.
    selectMlp: (context) =>
      reuse(`${context.layer} mlp ${context.sparsity}`, () => ({ mlp: inner.selectMlp(context) })).mlp,
    selectAttention: (context) =>
      reuse(
        `${context.layer} attention ${context.sparsity}`,
        () => inner.selectAttention(context) as AttentionSelection & Selections,
      ),
    dispose() {
      for (const { selections } of chosen.values()) free(selections);
      chosen.clear();
      inner.dispose();
    },
  };
}
