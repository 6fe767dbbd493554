import { describe, expect, it } from 'vitest';
import fixture from '../../test/fixtures/schedules.json' with { type: 'json' };
import { learningRateFactor, type ScheduleName, scheduleParameters, warmupSteps } from './schedule.js';

describe('learningRateFactor()', () => {
  it.each(fixture.cases)('equals transformers: $schedule, $totalSteps steps, $warmupSteps of warm-up', (row) => {
    const schedule = {
      ...row,
      name: row.schedule as ScheduleName,
      parameters: (row as { parameters?: Record<string, number> }).parameters,
    };
    for (const [step, factor] of row.factors) {
      expect(learningRateFactor(schedule, step!), `step ${step}`).toBeCloseTo(factor!, 14);
    }
  });

  it('refuses a name that it does not know', () => {
    const schedule = { name: 'stepwise' as ScheduleName, totalSteps: 10, warmupSteps: 0 };
    expect(() => learningRateFactor(schedule, 1)).toThrow("no schedule 'stepwise'");
  });
});

describe('scheduleParameters()', () => {
  it('reads pairs, and refuses what the schedule does not have', () => {
    expect(scheduleParameters('polynomial', ['power=2', 'lr_end = 1e-5'])).toEqual({ power: 2, lr_end: 1e-5 });
    expect(() => scheduleParameters('linear', ['power=2'])).toThrow("linear has no parameter 'power' (it has none)");
    expect(() => scheduleParameters('polynomial', ['power=x'])).toThrow("wanted NAME=NUMBER, found 'power=x'");
    expect(() => scheduleParameters('warmup_stable_decay', [])).toThrow('needs lr_scheduler_kwargs num_decay_steps=N');
  });
});

describe('warmupSteps()', () => {
  it('takes steps over a ratio, and rounds a ratio up', () => {
    expect(warmupSteps(101, { warmupSteps: 0, warmupRatio: 0.04 })).toBe(5);
    expect(warmupSteps(100, { warmupSteps: 7, warmupRatio: 0.5 })).toBe(7);
    expect(warmupSteps(100, { warmupSteps: 0, warmupRatio: 0 })).toBe(0);
  });
});
