/**
 * @file The choice of one sparsity for each module, such that together they save so much arithmetic and cost the least loss: a knapsack with one
 * item of each class. By the lower convex hull of each module's options and the steepest slopes first, which is within one option of the best.
 */

/** A module at a sparsity. */
export interface PlanOption {
  /** E.g. `layers.3.mlp`. */
  readonly module: string;
  readonly sparsity: number;
  /** How much the loss rises, ≥ 0; what was measured below 0 is noise. */
  readonly cost: number;
  /** Share of a dense step's arithmetic that is saved. */
  readonly saving: number;
}

export interface SolvedPlan {
  /** Modules that become sparse. */
  readonly chosen: ReadonlyMap<string, PlanOption>;
  readonly saving: number;
  readonly cost: number;
}

/** @param wanted saving to reach; null where all options together do not. */
export function solvePlan(options: readonly PlanOption[], wanted: number): SolvedPlan | null {
  const steps: { readonly from: PlanOption | null; readonly to: PlanOption; readonly slope: number }[] = [];
  for (const ofModule of byModule(options).values()) {
    let from: PlanOption | null = null;
    for (const to of hull(ofModule)) {
      const [cost, saving] = [to.cost - (from?.cost ?? 0), to.saving - (from?.saving ?? 0)];
      steps.push({ from, to, slope: cost / saving });
      from = to;
    }
  }
  // Equal slopes: the larger saving first. Slopes of a hull rise, so a module's steps stay in order.
  steps.sort((a, b) => a.slope - b.slope || b.to.saving - a.to.saving);
  const chosen = new Map<string, PlanOption>();
  let [saving, cost] = [0, 0];
  for (const { from, to } of steps) {
    if (saving >= wanted) break;
    chosen.set(to.module, to);
    saving += to.saving - (from?.saving ?? 0);
    cost += to.cost - (from?.cost ?? 0);
  }
  return saving >= wanted - 1e-12 ? { chosen, saving, cost } : null;
}

/** The same with MLPs alone where these save enough, else with all modules. */
export function solveMlpFirst(options: readonly PlanOption[], wanted: number): SolvedPlan | null {
  const ofMlps = options.filter(({ module }) => module.endsWith('.mlp'));
  return solvePlan(ofMlps, wanted) ?? solvePlan(options, wanted);
}

/** The most that can be saved. */
export function mostSaving(options: readonly PlanOption[]): number {
  let most = 0;
  for (const ofModule of byModule(options).values()) most += Math.max(...ofModule.map(({ saving }) => saving));
  return most;
}

function byModule(options: readonly PlanOption[]): Map<string, PlanOption[]> {
  const modules = new Map<string, PlanOption[]>();
  for (const option of options) modules.set(option.module, [...(modules.get(option.module) ?? []), option]);
  return modules;
}

/** Lower convex hull of (saving, cost) from the origin on: options beside it are never part of a best plan. */
function hull(options: readonly PlanOption[]): PlanOption[] {
  const useful = options.filter(({ saving }) => saving > 0).sort((a, b) => a.saving - b.saving || a.cost - b.cost);
  const kept: PlanOption[] = [];
  const slope = (a: PlanOption | undefined, b: PlanOption) =>
    (Math.max(0, b.cost) - Math.max(0, a?.cost ?? 0)) / (b.saving - (a?.saving ?? 0));
  for (const option of useful) {
    if (kept.at(-1)?.saving === option.saving) continue;
    while (kept.length > 0 && slope(kept.at(-2), kept.at(-1)!) >= slope(kept.at(-1), option)) kept.pop();
    kept.push(option);
  }
  return kept;
}
