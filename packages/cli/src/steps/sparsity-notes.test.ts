import { SpftConfig } from '@spft/config';
import { expect, it } from 'vitest';
import { sparsityNotes } from './sparsity-notes.js';

const notesOn = (keys: Record<string, unknown>) =>
  sparsityNotes(SpftConfig.fromObject({ mode: 'svd_8', sparsity: { 'layers.0.mlp': 0.5 }, ...keys }));

it('says which keys of a sparsity file do nothing beside the others', () => {
  expect(notesOn({})).toEqual([]);
  expect(notesOn({ sparse_output_tokens: 0.5 })).toEqual([
    'sparse_output_tokens has no effect: without skip_output_tokens every labelled token is sparse',
  ]);
  expect(notesOn({ sparse_output_tokens: 0.5, skip_output_tokens: true })).toEqual([]);
  expect(notesOn({ mode: 'static', score_tokens: 8 })).toEqual([
    'score_tokens has no effect: modes svd_<rank> and calibrated_<rank> score tokens',
  ]);
  expect(notesOn({ mode: 'oracle_norm_ffn', score_context_tokens: true })).toHaveLength(1);
  expect(notesOn({ mode: 'my_own', score_tokens: 8 })).toEqual([]);
  expect(notesOn({ mlp_seq_avg: false })).toEqual([]);
  expect(notesOn({ mlp_seq_avg: false, score_tokens: 8 })).toEqual([
    'mlp_seq_avg has no effect: score_tokens says which tokens give the scores',
  ]);
  expect(notesOn({ mode: 'calibrated_8', qkvo_seq_avg: true })).toHaveLength(1);
  expect(notesOn({ mode: 'calibrated_8', score_tokens: 0 })).toEqual([]);
});
