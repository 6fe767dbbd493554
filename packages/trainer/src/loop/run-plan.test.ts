import { describe, expect, it } from 'vitest';
import { epochSteps, planRun } from './run-plan.js';

const plan = (samples: number, args: Partial<Parameters<typeof planRun>[1]>) =>
  planRun(samples, {
    perDeviceTrainBatchSize: 8,
    gradientAccumulationSteps: 1,
    numTrainEpochs: 3,
    maxSteps: -1,
    ...args,
  });

describe('planRun()', () => {
  it('rounds batches and steps up, as transformers does', () => {
    expect(plan(100, { gradientAccumulationSteps: 4 })).toMatchObject({
      batchesPerEpoch: 13,
      stepsPerEpoch: 4,
      maxSteps: 12,
      epochs: 3,
    });
  });

  it('takes parts of an epoch', () => {
    expect(plan(100, { numTrainEpochs: 0.3 })).toMatchObject({ stepsPerEpoch: 13, maxSteps: 4, epochs: 1 });
    expect(plan(100, { numTrainEpochs: 1.5 })).toMatchObject({ maxSteps: 20, epochs: 2 });
  });

  it('lets maxSteps overrule epochs', () => {
    expect(plan(100, { maxSteps: 14 })).toMatchObject({ maxSteps: 14, epochs: 2 });
    expect(plan(3, { maxSteps: 5 })).toMatchObject({ stepsPerEpoch: 1, maxSteps: 5, epochs: 5 });
  });
});

describe('epochSteps()', () => {
  const small = plan(11, { perDeviceTrainBatchSize: 2, gradientAccumulationSteps: 4 });

  it('sees every sample once, in full batches but the last', () => {
    const steps = epochSteps(small, 42, 0);
    expect(steps.map((step) => step.map((batch) => batch.length))).toStrictEqual([
      [2, 2, 2, 2],
      [2, 1],
    ]);
    expect(steps.flat(2).sort((a, b) => a - b)).toStrictEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('depends on seed and epoch alone', () => {
    expect(epochSteps(small, 42, 1)).toStrictEqual(epochSteps(small, 42, 1));
    expect(epochSteps(small, 42, 1)).not.toStrictEqual(epochSteps(small, 42, 0));
    expect(epochSteps(small, 43, 1)).not.toStrictEqual(epochSteps(small, 42, 1));
  });
});
