/** The training keys that say when something happens, on a run of the toy. */
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { memoryStore } from '../../test/memory-store.js';
import { toySamples } from '../../test/toy-model.js';
import { logged, run } from '../../test/toy-run.js';
import { epochSteps, planRun } from './run-plan.js';
import { resolveArgs, stepsOf } from './training-args.js';

beforeAll(() => useBackend('cpu'));

const steps = (output: Awaited<ReturnType<typeof run>>['output']) =>
  output.state.logHistory.filter((entry) => 'loss' in entry).map((entry) => entry.step);

describe('Trainer', () => {
  it('shows the loss of a short run ten times where logging_steps is not given', async () => {
    const { output } = await run({ args: { maxSteps: 20 } });
    expect(steps(output)).toEqual([2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
    expect(steps((await run({ args: { maxSteps: 3 } })).output)).toEqual([1, 2, 3]);
  });

  it('logs the first step, an epoch, or nothing, as it is told', async () => {
    const args = { numTrainEpochs: 2, perDeviceTrainBatchSize: 4, loggingSteps: 4 };
    expect(steps((await run({ args: { ...args, loggingFirstStep: true } })).output)).toEqual([1, 4, 8]);
    expect(steps((await run({ args: { ...args, loggingStrategy: 'epoch' } })).output)).toEqual([5, 10]);
    expect(steps((await run({ args: { ...args, loggingStrategy: 'no' } })).output)).toEqual([]);
  });

  it('takes a share of the run for a number of steps', async () => {
    const args = { maxSteps: 10, loggingSteps: 0.25, evalStrategy: 'steps' as const, evalSteps: 0.5 };
    const { output } = await run({ args, evalSamples: toySamples(4) });
    expect(steps(output)).toEqual([3, 6, 9]);
    const evaluated = output.state.logHistory.filter((entry) => 'eval_loss' in entry).map((entry) => entry.step);
    expect(evaluated).toEqual([5, 10]);
    expect(() => resolveArgs({ loggingSteps: 2.5 })).toThrow(
      'logging_steps: wanted a whole number of steps, or a share',
    );
    expect(stepsOf(resolveArgs({}), 10_000)).toEqual({ loggingSteps: 500, evalSteps: 500, saveSteps: 500 });
  });

  it('evaluates before the first step', async () => {
    const { output } = await run({ args: { maxSteps: 1, evalOnStart: true }, evalSamples: toySamples(4) });
    expect(output.state.logHistory[0]).toMatchObject({ step: 0 });
    expect(logged(output, 'eval_loss')).toHaveLength(1);
    await expect(run({ args: { maxSteps: 1, evalOnStart: true } })).rejects.toThrow(
      'eval_on_start is true: give evalSamples',
    );
  });

  it('leaves the last batch of an epoch out where it is not full', async () => {
    const args = { numTrainEpochs: 1, perDeviceTrainBatchSize: 8 };
    expect((await run({ args })).output.globalStep).toBe(3);
    expect((await run({ args: { ...args, dataloaderDropLast: true } })).output.globalStep).toBe(2);
    await expect(run({ args: { ...args, perDeviceTrainBatchSize: 32, dataloaderDropLast: true } })).rejects.toThrow(
      'leaves no batch: 20 samples do not fill one of 32',
    );
  });

  it('writes checkpoints without optimizer where it is told to, and says that none can be continued', async () => {
    const checkpoints = memoryStore();
    const args = { maxSteps: 2, saveStrategy: 'steps' as const, saveSteps: 1 };
    await run({ args: { ...args, saveOnlyModel: true }, checkpoints });
    const { complete } = await checkpoints.list();
    const files = await checkpoints.read(complete[0]!.location);
    expect([...files.keys()]).not.toContain('optimizer.safetensors');
    await expect(run({ args, checkpoints }, {}, complete[0]!.location)).rejects.toThrow('written with save_only_model');
  });
});

describe('epochSteps() by length', () => {
  const plan = planRun(400, {
    ...{ perDeviceTrainBatchSize: 4, gradientAccumulationSteps: 1, numTrainEpochs: 1, maxSteps: -1 },
  });
  const lengthOf = (sample: number) => (sample * 37) % 101;

  it('has every sample once, the longest first, and batches of like length', () => {
    const batches = epochSteps(plan, 7, 0, lengthOf).flat();
    expect(batches.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 400 }, (_, n) => n));
    expect(lengthOf(batches[0]![0]!)).toBe(100);
    const spread = (all: number[][]) =>
      all.reduce((sum, batch) => sum + Math.max(...batch.map(lengthOf)) - Math.min(...batch.map(lengthOf)), 0);
    expect(spread(batches)).toBeLessThan(spread(epochSteps(plan, 7, 0).flat()) / 5);
    expect(epochSteps(plan, 7, 0, lengthOf)).toEqual(epochSteps(plan, 7, 0, lengthOf));
    expect(epochSteps(plan, 7, 1, lengthOf)).not.toEqual(epochSteps(plan, 7, 0, lengthOf));
  });
});
