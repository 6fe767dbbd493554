import { expect, it } from 'vitest';
import { type UnmetFacts, unmetBudget } from './unmet-budget.js';

const facts: UnmetFacts = {
  ...{ denseLoss: 1, least: 0.48912, leastOfRun: 0.48912, measuredTime: null, measuredTimeOfRun: null },
  ...{ highest: 0.9, denseTokens: 0.25, sparseSteps: 1, layerTimes: new Map() },
};

it('names a budget that can be met: rounded up', () => {
  expect(unmetBudget({ flops: 0.1 }, facts)).toContain('a step takes 48.9 %, as');
  expect(unmetBudget({ flops: 0.1 }, facts)).toContain('ask for at least 49.0 %');
  expect(unmetBudget({ flops: 0.1 }, { ...facts, leastOfRun: 0.489 })).toContain('ask for at least 48.9 %');
  expect(unmetBudget({ time: 0.1 }, facts)).toContain('ask for at least 49.0 %');
  expect(unmetBudget({ time: 0.1 }, { ...facts, measuredTime: 0.6, measuredTimeOfRun: 0.60001 })).toContain(
    'ask for at least 60.1 %',
  );
});
