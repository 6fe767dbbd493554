import { parseTrainConfig, SpftConfig } from '@spft/config';
import { describe, expect, it } from 'vitest';
import { runNotes } from './run-notes.js';

const module = (kept: number) => ({ kept, total: 8, density: kept / 8, sparsity: 1 - kept / 8 });
const sparseModel = (keys: Record<string, unknown>, kept = 4) => ({
  config: SpftConfig.fromObject({ mode: 'svd_8', sparsity: { 'layers.0.mlp': 0.5 }, ...keys }),
  summary: () => [{ layer: 0, mlp: module(kept), selfAttn: module(8) }],
});

const notesOn = (keys: Record<string, string>, spft: ReturnType<typeof sparseModel> | null = null, maxSteps = 10) =>
  runNotes(parseTrainConfig(null, '', keys), spft, maxSteps);

describe('runNotes()', () => {
  it('says that the learning rate is 0, or is never reached', () => {
    expect(notesOn({})).toEqual([]);
    expect(notesOn({ learning_rate: '0' })).toEqual(['learning_rate is 0: nothing is learnt']);
    expect(notesOn({ warmup_steps: '9' })).toEqual([]);
    expect(notesOn({ warmup_steps: '100' })).toEqual([
      'the learning rate rises over 100 steps of a run of 10, so it ends at 9.0 % of learning_rate; give fewer warmup_steps',
    ]);
    expect(notesOn({ warmup_steps: '100', lr_scheduler_type: 'constant' })).toEqual([]);
  });

  it('says that no step is sparse', () => {
    expect(notesOn({}, sparseModel({}))).toEqual([]);
    expect(notesOn({}, sparseModel({ start_step: 50, end_step: 100 }))).toEqual([
      'no step of the 10 is sparse: start_step is 50, end_step 100 (up to 1 a share of the run)',
    ]);
    expect(notesOn({}, sparseModel({ start_step: 50, end_step: 100 }), 60)).toEqual([]);
    expect(notesOn({}, sparseModel({}, 8))).toEqual([
      'the sparsity file leaves all channels of every layer, so every step is dense',
    ]);
  });
});
