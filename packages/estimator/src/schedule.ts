/**
 * @file The sparsity schedule: which optimizer steps are sparse (upstream `spft/callbacks.py`).
 */

/** Where sparsity starts and ends: up to 1 a fraction of the run's steps, above it a step number. */
export interface SparsitySchedule {
  readonly startStep: number;
  readonly endStep: number;
  /** Every so many-th of the steps from the first on is dense; 0 or absent: none. */
  readonly denseEvery?: number;
}

/** Where a run is: `step` counts finished optimizer steps, so the first step of a run is step 0. */
export interface RunPosition {
  readonly step: number;
  readonly maxSteps: number;
}

/** Whether a step is sparse: start ≤ step < end, and not one of those that `denseEvery` makes dense. */
export function isSparseStep(
  { startStep, endStep, denseEvery = 0 }: SparsitySchedule,
  { step, maxSteps }: RunPosition,
): boolean {
  const start = startStep <= 1 ? startStep * maxSteps : startStep;
  const end = endStep <= 1 ? endStep * maxSteps : endStep;
  if (denseEvery > 0 && (step + 1) % denseEvery === 0) return false;
  return start <= step && step < end;
}

/**
 * Share of a run's steps that are sparse: what its arithmetic is counted by.
 * @param maxSteps optimizer steps of the run, a positive whole number.
 */
export function sparseShareOfSteps(schedule: SparsitySchedule, maxSteps: number): number {
  let sparse = 0;
  for (let step = 0; step < maxSteps; step++) if (isSparseStep(schedule, { step, maxSteps })) sparse++;
  return sparse / maxSteps;
}
