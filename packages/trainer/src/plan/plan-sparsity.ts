/**
 * @file The sparsity of each layer out of measurements on the user's own model and data: the paper's sensitivity analysis, which the original
 * never shipped, and from it the least loss within a budget.
 *
 * Measured is the loss of the labelled tokens before training, dense and with one module sparse at a time. As losses of many sparse modules
 * together are not the sum of their losses, a first solution is measured as a whole, with each third of the depth made dense in turn; what a third
 * costs there corrects its modules' shares, and the better of the two solutions stays. A budget of time is treated likewise: one layer's times, corrected by
 * those of steps with a module sparse in all layers, say what each module saves, modules that are not faster stay dense, and the solution's own time, measured
 * as a whole, corrects what it may save. What a plan of another budget takes as a whole is measured too, and told: arithmetic is not time.
 *
 * Attention stays dense where MLPs alone meet the budget. Sparse attention costs hardly any loss before training, but much after it (docs/ACCURACY.md): what is
 * measured here is what a model computes, and not what its adapters then learn.
 *
 * For runs with `compensation_rank` all of it is measured with the map of each layer at each sparsity, alone and together, and the maps' arithmetic counts.
 */
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import type { SampleSource } from '../batch/sample-source.js';
import type { Sample } from '../batch/samples.js';
import { TrainerError } from '../errors.js';
import { sampleEvenly } from './calibration-data.js';
import { layerOf, Measurements, type MeasurementsRequest, middleOf, type Sparsities } from './plan-measurements.js';
import { mostSaving, type PlanOption, type SolvedPlan, solveMlpFirst } from './solve-plan.js';
import { SPARSE_MODULES, type SparseModule, type TimeModel } from './time-model.js';
import { budgetProblem, type PlanBudget, type UnmetFacts, unmetBudget } from './unmet-budget.js';

export interface PlanRequest extends MeasurementsRequest, PlanBudget {
  readonly samples: readonly Sample[] | SampleSource;
  /** Share of the run's steps that are sparse; the budget counts the others too. Default 1. */
  readonly sparseSteps?: number;
  /** Sparsities that are tried. Default `PLAN_LEVELS`; below a half, gathering takes what is saved. */
  readonly levels?: readonly number[];
  /** Dense tokens at the end of each prompt that are tried. Default 8, 16, 32. */
  readonly tails?: readonly number[];
  /** Samples that are measured on. Default 16. */
  readonly count?: number;
  /** Default 8. */
  readonly batchSize?: number;
}

const REQUEST: OptionNames<PlanRequest> = {
  ...{ samples: true, sparseSteps: true, levels: true, tails: true, count: true, batchSize: true },
  ...{ spft: true, shape: true, method: true, compensation: true, timing: true },
  ...{ known: true, onMeasured: true, onProgress: true, flops: true, time: true, maxLoss: true },
};

export interface SparsityPlanning {
  /** Of the labelled tokens, before training. */
  readonly denseLoss: number;
  /** With the plan as a whole. */
  readonly loss: number;
  /** Share of a dense step's arithmetic that a sparse one takes, the estimator's counted. */
  readonly flops: number;
  /** The same of the whole run, with the steps that are dense. */
  readonly runFlops: number;
  /** Share of a dense step's time that is predicted by one layer's times and a few steps'; null where nothing was timed. */
  readonly time: number | null;
  /** The same, measured with the plan as a whole. */
  readonly measuredTime: number | null;
  /** Share of a dense run's time, by the measured share of a step. */
  readonly runTime: number | null;
  /** Time of a layer with one sparse module, beside a dense layer's, by module and level; null where nothing was timed. */
  readonly layerTimes: ReadonlyMap<SparseModule, ReadonlyMap<number, number>> | null;
  readonly skipTailTokens: number;
  /** By module, `layers.3.mlp`; those that stay dense are missing. */
  readonly sparsity: Sparsities;
  /** How much the loss rises with one module alone, by module and level. */
  readonly sensitivity: ReadonlyMap<string, ReadonlyMap<number, number>>;
  readonly levels: readonly number[];
  /** What each number of dense tail tokens comes to within the budget; null where the budget cannot be met with it. */
  readonly tails: ReadonlyMap<
    number,
    { readonly loss: number; readonly flops: number; readonly time: number | null } | null
  >;
  readonly samples: number;
  readonly labelledTokens: number;
}

/** Sparsities that are tried where none are asked for. */
export const PLAN_LEVELS: readonly number[] = [0.5, 0.75, 0.9];

/** Samples that FLOPs are counted on: of two dozen rows of math the share of a sparse step was 73 % where the run's was 76. */
const COUNTED = 512;
/** Halvings of a budget of loss. */
const BUDGET_STEPS = 6;
/** A plan's time may be so much above its budget: two measurements of one thing differ by as much. */
const TIME_TOLERANCE = 0.02;
/** How often a plan's own time corrects what is to be saved. */
const CORRECTIONS = 2;

/**
 * @throws TrainerError when the budget cannot be met: it says what can; or when not one of `flops`, `time` and `maxLoss` is given, or `time` without `timing`.
 */
export async function planSparsity(request: PlanRequest): Promise<SparsityPlanning> {
  assertKnownOptions('planSparsity', request, REQUEST);
  const { spft, levels = PLAN_LEVELS, tails = [8, 16, 32], count = 16, batchSize = 8 } = request;
  const { flops, time, maxLoss, sparseSteps = 1 } = request;
  const problem = budgetProblem({ flops, time, maxLoss }, sparseSteps, request.timing !== undefined);
  if (problem !== null) throw new TrainerError('options', problem);
  if (spft.plan.compensation) {
    throw new TrainerError(
      'options',
      "planSparsity: the model's compensation_rank is of its own sparsities, and others are tried; attach it with 0, and pass `compensation` its compensationTable(rank, …)",
    );
  }
  const samples = sampleEvenly(request.samples, count, 0.5);
  if (samples.length === 0) throw new TrainerError('samples', 'a plan needs samples with labels; there are none');
  const { plan } = spft;
  try {
    const goal = { flops, time, maxLoss, sparseSteps, levels, tails: [...tails].sort((a, b) => a - b) };
    const counted = sampleEvenly(request.samples, Math.max(count, COUNTED), 0.5);
    return await new PlanSearch(new Measurements(request, { samples, counted }, batchSize), goal).planning();
  } finally {
    spft.host.setSparsity(plan);
  }
}

interface Goal extends PlanBudget {
  readonly sparseSteps: number;
  readonly levels: readonly number[];
  readonly tails: readonly number[];
}

interface Solution {
  readonly sparsity: Sparsities;
  readonly loss: number;
  readonly flops: number;
  readonly time: number | null;
}

interface Solved {
  readonly tail: number;
  /** By tail. */
  readonly found: ReadonlyMap<number, Solution | null>;
  readonly best: Solution;
  readonly measuredTime: number | null;
}

/** Of a run, given a sparse step's share; and the other way round, which is below 0 where dense steps alone take more. */
const ofRun = (share: number, sparseSteps: number) => sparseSteps * share + 1 - sparseSteps;
const ofStep = (share: number, sparseSteps: number) => (share - 1 + sparseSteps) / sparseSteps;

const THIRDS = 3;

class PlanSearch {
  readonly #sensitivity = new Map<string, Map<number, number>>();
  #denseLoss = 0;
  #times: TimeModel | null = null;

  constructor(
    readonly measure: Measurements,
    readonly goal: Goal,
  ) {}

  async planning(): Promise<SparsityPlanning> {
    const { measure, goal } = this;
    await this.#measureModules();
    const { tail, found, best, measuredTime } = await this.#solve();
    const { sparseSteps, levels } = goal;
    return {
      ...{ denseLoss: this.#denseLoss, loss: best.loss, flops: best.flops, runFlops: ofRun(best.flops, sparseSteps) },
      ...{ time: best.time, measuredTime, runTime: measuredTime === null ? null : ofRun(measuredTime, sparseSteps) },
      layerTimes: this.#times && this.#layerTimes(this.#times, tail),
      ...{ skipTailTokens: tail, sparsity: best.sparsity, sensitivity: this.#sensitivity, levels },
      tails: new Map(
        [...found].map(([n, solution]) => {
          if (solution === null) return [n, null];
          const { loss, flops, time } = solution;
          return [n, { loss, flops, time }];
        }),
      ),
      samples: measure.sampleCount,
      labelledTokens: measure.labelledTokens,
    };
  }

  /** Which module is sensitive hardly depends on the tail: once, with the middle one. */
  async #measureModules(): Promise<void> {
    const { measure } = this;
    const { levels, tails } = this.goal;
    const middle = middleOf(tails);
    const modules = Array.from({ length: measure.layerCount }, (_, n) =>
      SPARSE_MODULES.map((module) => `layers.${n}.${module}`),
    ).flat();
    // Of layers, of steps with either module sparse, of the plan.
    const timings = 2 + SPARSE_MODULES.length;
    measure.total = 1 + timings + modules.length * levels.length + tails.length * (2 + THIRDS);
    this.#times = await measure.times(tails, levels);
    this.#denseLoss = await measure.loss(middle, new Map());
    for (const module of modules) {
      const rises = new Map<number, number>();
      this.#sensitivity.set(module, rises);
      for (const level of levels) {
        rises.set(level, (await measure.loss(middle, new Map([[module, level]]))) - this.#denseLoss);
      }
    }
  }

  /** The best tail's solution; of a budget of time, one that keeps it when it is measured as a whole, and leaves little of it. */
  async #solve(): Promise<Solved> {
    const { goal, measure } = this;
    if (goal.time === undefined) {
      const solved = await this.#bestWithin(ofStep(goal.flops ?? 1, goal.sparseSteps), null);
      if (this.#times === null) return solved;
      return { ...solved, measuredTime: await measure.timeShare(solved.tail, solved.best.sparsity) };
    }
    const wanted = ofStep(goal.time, goal.sparseSteps);
    let budget = wanted;
    let kept: Solved | null = null;
    let measuredTime: number | null = null;
    for (let correction = 0; correction <= CORRECTIONS; correction++) {
      const solved = await this.#bestWithin(budget, measuredTime);
      measuredTime = await measure.timeShare(solved.tail, solved.best.sparsity);
      const isWithin = measuredTime <= wanted + TIME_TOLERANCE;
      if (isWithin && (kept === null || solved.best.loss < kept.best.loss)) kept = { ...solved, measuredTime };
      if (kept !== null && (!isWithin || measuredTime >= wanted - TIME_TOLERANCE)) break;
      if (measuredTime >= 1) break;
      // Of what was to be saved that part came true: so much more, or less, is to be saved.
      budget = 1 - ((1 - wanted) * (1 - solved.best.time!)) / (1 - measuredTime);
    }
    if (kept === null) throw this.#unmet(measuredTime);
    return kept;
  }

  /** @param measuredTime of the plan before, for what is said where there is none. */
  async #bestWithin(budget: number, measuredTime: number | null): Promise<Solved> {
    const { goal } = this;
    const found = new Map<number, Solution | null>();
    for (const tail of goal.tails) found.set(tail, await this.#solveTail(tail, budget));
    const solutions = [...found].filter((entry): entry is [number, Solution] => entry[1] !== null);
    if (solutions.length === 0) throw this.#unmet(measuredTime);
    // Within the budget the least loss counts, within the loss the least arithmetic; a longer tail must be better by more than noise.
    const worth = ({ loss, flops }: Solution) => (goal.maxLoss === undefined ? loss : flops);
    const [tail, best] = solutions.reduce((a, b) => (worth(b[1]) < worth(a[1]) * 0.995 ? b : a));
    return { tail, found, best, measuredTime: null };
  }

  async #solveTail(tail: number, share: number): Promise<Solution | null> {
    const { maxLoss } = this.goal;
    const options = this.#options(tail);
    const at = async (budget: number): Promise<Solution | null> => {
      const first = solveMlpFirst(options, 1 - budget);
      if (first === null) return null;
      const solved = await this.#solution(tail, first);
      const factors = await this.#factorsOfThirds(tail, first, solved.loss);
      const second = solveMlpFirst(this.#options(tail, factors), 1 - budget);
      if (second === null) return solved;
      const corrected = await this.#solution(tail, second);
      return corrected.loss < solved.loss ? corrected : solved;
    };
    if (maxLoss === undefined) return at(share);
    let best: Solution | null = null;
    let [low, high] = [1 - mostSaving(options), 1];
    for (let step = 0; step < BUDGET_STEPS; step++) {
      const budget = (low + high) / 2;
      const solved = await at(budget);
      if (solved !== null && solved.loss - this.#denseLoss <= maxLoss) {
        best = solved;
        high = budget;
      } else low = budget;
    }
    return best;
  }

  async #solution(tail: number, { chosen }: SolvedPlan): Promise<Solution> {
    const sparsity = new Map([...chosen].map(([module, option]) => [module, option.sparsity]));
    const saved = [...sparsity].map(([module, level]) => this.#timeSaving(tail, module, level));
    return {
      ...{ sparsity, loss: await this.measure.loss(tail, sparsity), flops: this.measure.flops(tail, sparsity) },
      time: this.#times && saved.reduce((share, saving) => share - saving, 1),
    };
  }

  #timeSaving(tail: number, module: string, level: number): number {
    return this.#times === null ? 0 : this.measure.timeSaving(this.#times, tail, module, level);
  }

  /** What the budget is of, that a module saves at a level; 0 for a module that would be no faster, where the budget is time. */
  #saving(tail: number, module: string, level: number): number {
    if (this.goal.time === undefined) return this.measure.saving(tail, module, level);
    const saving = this.#timeSaving(tail, module, level);
    return saving > this.#times!.noise ? saving : 0;
  }

  /** @param factors of each third of the depth, by which its costs are corrected. */
  #options(tail: number, factors: ReadonlyMap<number, number> = new Map()): PlanOption[] {
    const options: PlanOption[] = [];
    for (const [module, levels] of this.#sensitivity) {
      const factor = factors.get(this.#third(module)) ?? 1;
      let least = 0;
      for (const [sparsity, rise] of [...levels].sort(([a], [b]) => a - b)) {
        // More sparsity does not cost less: where it seems to, that is noise.
        least = Math.max(least, rise, 0);
        options.push({ module, sparsity, cost: least * factor, saving: this.#saving(tail, module, sparsity) });
      }
    }
    return options;
  }

  #third(module: string): number {
    return Math.floor((layerOf(module) * THIRDS) / this.measure.layerCount);
  }

  /** By third of the depth: what it costs within the plan, relative to the sum of its modules' costs alone. */
  async #factorsOfThirds(tail: number, { chosen }: SolvedPlan, whole: number): Promise<Map<number, number>> {
    const factors = new Map<number, number>();
    for (let n = 0; n < THIRDS; n++) {
      const inside = [...chosen].filter(([module]) => this.#third(module) === n);
      if (inside.length === 0) continue;
      const rest = new Map(
        [...chosen].filter(([module]) => this.#third(module) !== n).map(([m, { sparsity }]) => [m, sparsity]),
      );
      const marginal = Math.max(0, whole - (await this.measure.loss(tail, rest)));
      const rise = (module: string, level: number) => Math.max(0, this.#sensitivity.get(module)!.get(level)!);
      const alone = inside.reduce((sum, [module, { sparsity }]) => sum + rise(module, sparsity), 0);
      // Between a fifth and five times: a third that hardly costs anything must not become free by noise.
      if (alone > 0) factors.set(n, Math.min(5, Math.max(0.2, marginal / alone)));
    }
    return factors;
  }

  #layerTimes(times: TimeModel, tail: number) {
    const shares = (module: SparseModule) =>
      new Map(
        this.goal.levels.map((level) => [level, times.layerShare(module, level, this.measure.sparseShare(tail))]),
      );
    return new Map(SPARSE_MODULES.map((module) => [module, shares(module)]));
  }

  /** @param measuredTime what the last plan took that was to keep a budget of time, and did not. */
  #unmet(measuredTime: number | null): TrainerError {
    const { goal, measure } = this;
    const { levels, tails, sparseSteps } = goal;
    const [tail, least] = tails
      .map((tail): [number, number] => [tail, 1 - mostSaving(this.#options(tail))])
      .reduce((a, b) => (b[1] < a[1] ? b : a));
    const facts: UnmetFacts = {
      ...{ denseLoss: this.#denseLoss, sparseSteps, highest: Math.max(...levels) },
      ...{ least, leastOfRun: ofRun(least, sparseSteps), measuredTime },
      measuredTimeOfRun: measuredTime === null ? null : ofRun(measuredTime, sparseSteps),
      denseTokens: measure.denseShare(tail),
      layerTimes: this.#times && this.#layerTimes(this.#times, tail),
    };
    return new TrainerError('options', unmetBudget(goal, facts));
  }
}

/** Every layer sparse: what a model has to be attached with to be planned for. */
export function everyLayer(layerCount: number, sparsity = 0.5): Record<string, number> {
  return Object.fromEntries(
    Array.from({ length: layerCount }, (_, n) => [
      [`layers.${n}.mlp`, sparsity],
      [`layers.${n}.self_attn`, sparsity],
    ]).flat() as [string, number][],
  );
}
