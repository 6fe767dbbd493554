/**
 * @file How many batches, steps and epochs a run has, and which samples each step sees: the arithmetic of transformers' Trainer.
 */
import { TrainerError } from '../errors.js';
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
    dataloaderDropLast?: boolean;
  },
): RunPlan {
  const { perDeviceTrainBatchSize: batchSize, gradientAccumulationSteps: accumulation, numTrainEpochs } = args;
  const batchesPerEpoch = args.dataloaderDropLast ? Math.floor(samples / batchSize) : Math.ceil(samples / batchSize);
  if (batchesPerEpoch === 0) {
    throw new TrainerError(
      'options',
      `dataloader_drop_last leaves no batch: ${samples} samples do not fill one of ${batchSize}; make it smaller, or keep the last one`,
    );
  }
  const stepsPerEpoch = Math.ceil(batchesPerEpoch / accumulation);
  const byEpochs = args.maxSteps <= 0;
  const maxSteps = byEpochs ? Math.ceil(numTrainEpochs * stepsPerEpoch) : args.maxSteps;
  const epochs = byEpochs ? Math.ceil(numTrainEpochs) : Math.ceil(maxSteps / stepsPerEpoch);
  return { samples, batchSize, accumulation, batchesPerEpoch, stepsPerEpoch, maxSteps, epochs };
}

/** Batches whose samples are sorted together by `groupByLength`, as in transformers. */
const MEGABATCH = 50;

/**
 * The batches of every step of an epoch: `[step][micro-batch][sample]`. The same seed and epoch give the same.
 * @param lengthOf where samples of like length are to be in one batch: how long one is. Shuffled, in stretches of 50 batches sorted from long to
 * short, and the longest sample of all first, so that a run that does not fit in memory fails at once (transformers' `group_by_length`).
 */
export function epochSteps(
  plan: RunPlan,
  seed: number,
  epoch: number,
  lengthOf?: (sample: number) => number,
): number[][][] {
  const order = shuffledOrder(plan.samples, seed, epoch);
  if (lengthOf) groupByLength(order, plan.batchSize, lengthOf);
  const steps: number[][][] = [];
  for (let batch = 0; batch < plan.batchesPerEpoch; batch++) {
    if (batch % plan.accumulation === 0) steps.push([]);
    steps.at(-1)!.push([...order.subarray(batch * plan.batchSize, (batch + 1) * plan.batchSize)]);
  }
  return steps;
}

function groupByLength(order: Int32Array, batchSize: number, lengthOf: (sample: number) => number): void {
  // At least four stretches, so that little data is shuffled too.
  const stretch = batchSize * Math.max(1, Math.min(Math.floor(order.length / (batchSize * 4)), MEGABATCH));
  const lengths = new Map([...order].map((sample) => [sample, lengthOf(sample)]));
  for (let start = 0; start < order.length; start += stretch) {
    order.subarray(start, start + stretch).sort((a, b) => lengths.get(b)! - lengths.get(a)! || a - b);
  }
  let longest = 0;
  for (let start = 0; start < order.length; start += stretch) {
    if (lengths.get(order[start]!)! > lengths.get(order[longest]!)!) longest = start;
  }
  [order[0], order[longest]] = [order[longest]!, order[0]!];
}
