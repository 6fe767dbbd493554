/**
 * @file How many batches, steps and epochs a run has, and which samples each step sees: the arithmetic of transformers' Trainer.
 */
import { shuffledOrder } from './random.js';

export interface RunPlan {
  readonly samples: number;
  readonly batchSize: number;
  readonly accumulation: number;
  /** ⌈samples / batchSize⌉: the last batch of an epoch may be smaller. */
  readonly batchesPerEpoch: number;
  /** ⌈batchesPerEpoch / accumulation⌉: the last step of an epoch may accumulate fewer batches. */
  readonly stepsPerEpoch: number;
  /** Optimizer steps of the run. */
  readonly maxSteps: number;
  /** Epochs begun, the last perhaps not finished. */
  readonly epochs: number;
}

export function planRun(
  samples: number,
  args: {
    perDeviceTrainBatchSize: number;
    gradientAccumulationSteps: number;
    numTrainEpochs: number;
    maxSteps: number;
  },
): RunPlan {
  const { perDeviceTrainBatchSize: batchSize, gradientAccumulationSteps: accumulation, numTrainEpochs } = args;
  const batchesPerEpoch = Math.ceil(samples / batchSize);
  const stepsPerEpoch = Math.ceil(batchesPerEpoch / accumulation);
  const byEpochs = args.maxSteps <= 0;
  const maxSteps = byEpochs ? Math.ceil(numTrainEpochs * stepsPerEpoch) : args.maxSteps;
  const epochs = byEpochs ? Math.ceil(numTrainEpochs) : Math.ceil(maxSteps / stepsPerEpoch);
  return { samples, batchSize, accumulation, batchesPerEpoch, stepsPerEpoch, maxSteps, epochs };
}

/** The batches of every step of an epoch: `[step][micro-batch][sample]`. The same seed and epoch give the same. */
export function epochSteps(plan: RunPlan, seed: number, epoch: number): number[][][] {
  const order = shuffledOrder(plan.samples, seed, epoch);
  const steps: number[][][] = [];
  for (let batch = 0; batch < plan.batchesPerEpoch; batch++) {
    if (batch % plan.accumulation === 0) steps.push([]);
    steps.at(-1)!.push([...order.subarray(batch * plan.batchSize, (batch + 1) * plan.batchSize)]);
  }
  return steps;
}
