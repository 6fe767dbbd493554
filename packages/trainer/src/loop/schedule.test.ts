import { describe, expect, it } from 'vitest';
import fixture from '../../test/fixtures/schedules.json' with { type: 'json' };
import { learningRateFactor, type ScheduleName, warmupSteps } from './schedule.js';

describe('learningRateFactor()', () => {
  it.each(fixture.cases)('equals transformers: $schedule, $totalSteps steps, $warmupSteps of warm-up', (row) => {
    const schedule = { ...row, name: row.schedule as ScheduleName };
    for (const [step, factor] of row.factors) {
      expect(learningRateFactor(schedule, step!), `step ${step}`).toBeCloseTo(factor!, 14);
    }
  });

  it('refuses a name that it does not know', () => {
    const schedule = { name: 'polynomial' as ScheduleName, totalSteps: 10, warmupSteps: 0 };
    expect(() => learningRateFactor(schedule, 1)).toThrow("no schedule 'polynomial'");
  });
});

describe('warmupSteps()', () => {
  it('takes steps over a ratio, and rounds a ratio up', () => {
    expect(warmupSteps(101, { warmupSteps: 0, warmupRatio: 0.04 })).toBe(5);
    expect(warmupSteps(100, { warmupSteps: 7, warmupRatio: 0.5 })).toBe(7);
    expect(warmupSteps(100, { warmupSteps: 0, warmupRatio: 0 })).toBe(0);
  });
});
