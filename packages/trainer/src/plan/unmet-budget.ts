/** @file What is said of a plan's budget that is none, or cannot be met: what was asked for, what was found, and what can be had. */
import type { SparseModule } from './time-model.js';

/** How far a plan may go: one of them. */
export interface PlanBudget {
  /** Share of a dense run's arithmetic that the run may take. */
  readonly flops?: number | undefined;
  /** Share of a dense run's time, on the backend at hand. */
  readonly time?: number | undefined;
  /** Rise of the loss before training; the least arithmetic within it is found. */
  readonly maxLoss?: number | undefined;
}

/** Null where the budget is one. */
export function budgetProblem(
  { flops, time, maxLoss }: PlanBudget,
  sparseSteps: number,
  isTimed: boolean,
): string | null {
  if ([flops, time, maxLoss].filter((value) => value !== undefined).length !== 1)
    return 'a plan needs a budget: flops or time (a share below 1) or maxLoss, one of them';
  for (const [share, what] of [
    [flops, 'FLOPs'],
    [time, 'time'],
  ] as const) {
    if (share !== undefined && !(share > 0 && share < 1))
      return `a plan's share of ${what} must lie between 0 and 1, got ${share}; 1 is dense`;
  }
  if (time !== undefined && !isTimed)
    return 'a plan by time needs a stopwatch (timing): without it nothing is known of times; or give flops';
  if (maxLoss !== undefined && !(maxLoss > 0))
    return `a plan's rise of the loss must be above 0, got ${maxLoss}; 0 is dense`;
  if (!(sparseSteps > 0 && sparseSteps <= 1))
    return `a plan is for a run with sparse steps: their share must lie between 0 and 1, got ${sparseSteps}`;
  return null;
}

export interface UnmetFacts {
  readonly denseLoss: number;
  /** Least share of a step that can be had, with every module at its best. */
  readonly least: number;
  readonly leastOfRun: number;
  /** What the plan took that came nearest, where it was measured as a whole. */
  readonly measuredTime: number | null;
  readonly measuredTimeOfRun: number | null;
  readonly highest: number;
  /** Share of tokens that are dense. */
  readonly denseTokens: number;
  /** Share of steps. */
  readonly sparseSteps: number;
  readonly layerTimes: ReadonlyMap<SparseModule, ReadonlyMap<number, number>> | null;
}

export function unmetBudget({ flops, time, maxLoss }: PlanBudget, facts: UnmetFacts): string {
  const { denseLoss, least, leastOfRun, measuredTime, measuredTimeOfRun, highest, denseTokens, sparseSteps } = facts;
  if (maxLoss !== undefined)
    return `no plan keeps the loss within ${maxLoss} of the dense ${denseLoss.toFixed(3)}; allow more (--max_loss), or train densely`;
  const why =
    `as ${percent(denseTokens)} of the tokens are dense (labelled ones and prompt tails)` +
    (sparseSteps < 1 ? `, and ${percent(1 - sparseSteps)} of the steps` : '');
  if (flops !== undefined)
    return (
      `a plan of ${percent(flops)} of the FLOPs cannot be met: with every module at ${highest} a step takes ${percent(least)}, ` +
      `${why}; ask for at least ${atLeast(leastOfRun)}, or try higher sparsities (--levels)`
    );
  const layer = `a layer's times beside a dense one's: ${layerTimesText(facts.layerTimes!)}`;
  const instead = 'plan by FLOPs (--flops) where time is not what counts, or train densely';
  if (least >= 1)
    return `no plan saves time here: no module is faster sparse than dense on this backend, at this shape (${layer}); ${instead}`;
  const asked = `a plan of ${percent(time!)} of the time cannot be met`;
  if (measuredTime !== null) {
    const could = measuredTimeOfRun! < 1 ? `ask for at least ${atLeast(measuredTimeOfRun!)}, or ` : '';
    return `${asked}: the nearest plan took ${percent(measuredTime)} of a dense step's time when it was measured as a whole (${layer}); ${could}${instead}`;
  }
  return (
    `${asked}: with every module that gains by it as sparse as is fastest a step takes ${percent(least)}, ${why} (${layer}); ` +
    `ask for at least ${atLeast(leastOfRun)}, or try higher sparsities (--levels)`
  );
}

/** `mlp 0.5: 0.93, 0.9: 0.81; self_attn 0.5: 1.02, 0.9: 0.97`. */
export function layerTimesText(times: ReadonlyMap<SparseModule, ReadonlyMap<number, number>>): string {
  return [...times]
    .map(
      ([module, levels]) =>
        `${module} ${[...levels].map(([level, share]) => `${level}: ${share.toFixed(2)}`).join(', ')}`,
    )
    .join('; ');
}

/** A share, for people. */
export const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

/** Rounded up: what is asked for so can be met. */
const atLeast = (share: number) => percent(Math.ceil(1000 * share - 1e-9) / 1000);
