/**
 * @file What the steps of a run will need room for, known before the first: the order of samples is, and so are their tokens. A resumed run looks at the
 * same steps as the run that it goes on with.
 */
import type { PreparedBatch } from '@spft/models';
import { type BatchSize, joinSizes, sizeOf } from '../batch/step-shapes.js';
import { epochSteps, type RunPlan } from './run-plan.js';

/** Steps that are looked at: enough for the spread of sizes, and no more of a large data set than is wanted soon. */
const MOST_STEPS = 400;

export interface PlannedSizes {
  readonly sizes: readonly BatchSize[];
  readonly isAll: boolean;
  /** Of the run; by default as many as there are sizes. */
  readonly steps?: number;
}

/**
 * @param prepare the micro-batches of a step, given their samples and the step's number.
 * @returns a size for each step, with room for each of its micro-batches, and whether these are all steps.
 */
export function plannedSizes(
  plan: RunPlan,
  dataSeed: number,
  prepare: (samples: readonly (readonly number[])[], step: number) => readonly PreparedBatch[],
): PlannedSizes {
  const sizes: BatchSize[] = [];
  const end = Math.min(plan.maxSteps, MOST_STEPS);
  let [epoch, steps] = [-1, [] as number[][][]];
  for (let step = 0; step < end; step++) {
    const ofEpoch = Math.floor(step / plan.stepsPerEpoch);
    if (ofEpoch !== epoch) [epoch, steps] = [ofEpoch, epochSteps(plan, dataSeed, ofEpoch)];
    const batches = prepare(steps[step - epoch * plan.stepsPerEpoch]!, step);
    // A rank has no part in a step of fewer micro-batches than ranks.
    if (batches.length > 0) sizes.push(joinSizes(batches.map(({ layout, rows }) => sizeOf(layout, rows))));
  }
  return { sizes, isAll: end === plan.maxSteps, steps: plan.maxSteps };
}
