import { describe, expect, it } from 'vitest';
import { isSparseStep, sparseShareOfSteps } from './schedule.js';

describe('isSparseStep()', () => {
  const sparseSteps = (startStep: number, endStep: number, maxSteps = 20) =>
    Array.from({ length: maxSteps }, (_, step) => step).filter((step) =>
      isSparseStep({ startStep, endStep }, { step, maxSteps }),
    );

  it('takes up to 1 as a fraction of the run', () => {
    expect(sparseSteps(0, 1)).toHaveLength(20);
    expect(sparseSteps(0.1, 0.5)).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('takes more than 1 as a step number', () => {
    expect(sparseSteps(3, 6)).toEqual([3, 4, 5]);
    expect(sparseSteps(18, 1)).toEqual([18, 19]);
  });

  it('starts at the first whole step that is not before a fraction', () => {
    expect(sparseSteps(0.05, 1, 30)[0]).toBe(2);
  });

  it('takes 1 as all of the run: starting there is never', () => {
    expect(sparseSteps(1, 1)).toEqual([]);
  });

  it('makes every n-th step dense', () => {
    const steps = Array.from({ length: 9 }, (_, step) => step);
    const sparse = (denseEvery: number) =>
      steps.filter((step) => isSparseStep({ startStep: 0, endStep: 1, denseEvery }, { step, maxSteps: 9 }));
    expect(sparse(3)).toEqual([0, 1, 3, 4, 6, 7]);
    expect(sparse(1)).toEqual([]);
    expect(sparse(0)).toEqual(steps);
  });
});

describe('sparseShareOfSteps()', () => {
  it('counts the sparse steps of a run, those in between and those at its ends left out', () => {
    expect(sparseShareOfSteps({ startStep: 0, endStep: 1 }, 7)).toBe(1);
    expect(sparseShareOfSteps({ startStep: 0.1, endStep: 0.9 }, 20)).toBe(0.8);
    expect(sparseShareOfSteps({ startStep: 5, endStep: 15 }, 20)).toBe(0.5);
    expect(sparseShareOfSteps({ startStep: 0, endStep: 0.5, denseEvery: 2 }, 8)).toBe(0.25);
    expect(sparseShareOfSteps({ startStep: 30, endStep: 40 }, 20)).toBe(0);
  });
});
