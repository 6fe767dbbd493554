import { parseTrainConfig, SpftConfig } from '@spft/config';
import { describe, expect, it } from 'vitest';
import { runNotes } from './run-notes.js';

const module = (kept: number) => ({ kept, total: 8, density: kept / 8, sparsity: 1 - kept / 8 });
const sparseModel = (keys: Record<string, unknown>, kept = 4) => ({
  config: SpftConfig.fromObject({ mode: 'svd_8', sparsity: { 'layers.0.mlp': 0.5 }, ...keys }),
  plan: { estimator: { applies: 'gather' as const } },
  summary: () => [{ layer: 0, mlp: module(kept), selfAttn: module(8) }],
});

const notesOn = (keys: Record<string, string>, spft: ReturnType<typeof sparseModel> | null = null, more = {}) =>
  runNotes({ config: parseTrainConfig(null, '', keys), spft, maxSteps: 10, flopsShare: 0.8, ...more });

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
    expect(notesOn({}, sparseModel({ start_step: 50, end_step: 100 }), { maxSteps: 60 })).toEqual([]);
    expect(notesOn({}, sparseModel({}, 8))).toEqual([
      'the sparsity file leaves all channels of every layer, so every step is dense',
    ]);
    expect(notesOn({}, sparseModel({}), { flopsShare: 1.001 })).toEqual([
      expect.stringMatching(/^sparsity saves no arithmetic in this run: .*skip_tail_tokens/),
    ]);
  });

  it('says that samples are held out for nothing', () => {
    const held = { validation: '0.1' };
    expect(notesOn({}, null, held)).toEqual([
      'validation 0.1 is kept out of training and never evaluated, as eval_strategy is no',
    ]);
    expect(notesOn({ eval_strategy: 'epoch' }, null, held)).toEqual([]);
    expect(notesOn({ eval_on_start: 'true' }, null, held)).toEqual([]);
  });
});
