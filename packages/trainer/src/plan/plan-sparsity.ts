/**
 * @file The sparsity of each layer out of measurements on the user's own model and data: the paper's sensitivity analysis, which the original
 * never shipped, and from it the least loss within a budget.
 *
 * Measured is the loss of the labelled tokens before training, dense and with one module sparse at a time. As losses of many sparse modules
 * together are not the sum of their losses, a first solution is measured as a whole, with each third of the depth made dense in turn; what a third
 * costs there corrects its modules' shares, and the better of the two solutions stays.
 *
 * Attention stays dense where MLPs alone meet the budget. Sparse attention costs hardly any loss before training, but much after it (docs/ACCURACY.md): what is
 * measured here is what a model computes, and not what its adapters then learn.
 */
import { denseTokens, type SparsityPlan, type SpftModel } from '@spft/estimator';
import { countLabelledTokens, type FlopsMethod, type FlopsShape, stepFlops, type TrainableModel } from '@spft/models';
import { noGradient } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { type CollatedBatch, collate } from '../batch/collate.js';
import type { SampleSource } from '../batch/sample-source.js';
import { countLabels, type Sample } from '../batch/samples.js';
import { TrainerError } from '../errors.js';
import { sampleEvenly } from './calibration-data.js';
import { mostSaving, type PlanOption, type SolvedPlan, solveMlpFirst } from './solve-plan.js';

export interface PlanRequest {
  /** A model whose plan knows every layer, e.g. of a config that makes all sparse; its layers are changed while measuring. */
  readonly spft: SpftModel<TrainableModel>;
  readonly shape: FlopsShape;
  readonly samples: readonly Sample[] | SampleSource;
  /** Share of a dense run's arithmetic that the run may take; or the loss may rise by `maxLoss`, and what that allows is found. */
  readonly flops?: number;
  readonly maxLoss?: number;
  /** Share of the run's steps that are sparse; the budget counts the others too. Default 1. */
  readonly sparseSteps?: number;
  /** What a step is made of besides: adapters, the estimator's rank and rows. */
  readonly method: FlopsMethod;
  /** Sparsities that are tried. Default 0.5, 0.75, 0.9; below a half, gathering takes what is saved. */
  readonly levels?: readonly number[];
  /** Dense tokens at the end of each prompt that are tried. Default 8, 16, 32. */
  readonly tails?: readonly number[];
  /** Samples that are measured on. Default 16. */
  readonly count?: number;
  /** Default 8. */
  readonly batchSize?: number;
  /** Losses that were measured before, by the key under which `onMeasured` told them. */
  readonly known?: ReadonlyMap<string, number>;
  readonly onMeasured?: (key: string, loss: number) => void | Promise<void>;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

export interface SparsityPlanning {
  /** Of the labelled tokens, before training. */
  readonly denseLoss: number;
  /** With the plan as a whole. */
  readonly loss: number;
  /** Share of a dense step's arithmetic that a sparse one takes, the estimator's counted. */
  readonly flops: number;
  /** The same of the whole run, with the steps that are dense. */
  readonly runFlops: number;
  readonly skipTailTokens: number;
  /** By module, `layers.3.mlp`; those that stay dense are missing. */
  readonly sparsity: ReadonlyMap<string, number>;
  /** How much the loss rises with one module alone, by module and level. */
  readonly sensitivity: ReadonlyMap<string, ReadonlyMap<number, number>>;
  readonly levels: readonly number[];
  /** What each number of dense tail tokens comes to within the budget; null where the budget cannot be met with it. */
  readonly tails: ReadonlyMap<number, { readonly loss: number; readonly flops: number } | null>;
  readonly samples: number;
  readonly labelledTokens: number;
}

type Layers = SparsityPlan['layers'];
type Sparsities = ReadonlyMap<string, number>;

/** Loss may differ by so much between halves of a bisection that is over. */
const BUDGET_STEPS = 6;

/**
 * @throws TrainerError when the budget cannot be met: it says what can; or when neither or both of `flops` and `maxLoss` are given.
 */
export async function planSparsity(request: PlanRequest): Promise<SparsityPlanning> {
  const { spft, levels = [0.5, 0.75, 0.9], tails = [8, 16, 32], count = 16, batchSize = 8, flops, maxLoss } = request;
  const { sparseSteps = 1 } = request;
  if ((flops === undefined) === (maxLoss === undefined)) {
    throw new TrainerError('options', 'a plan needs a budget: flops (a share below 1) or maxLoss, one of them');
  }
  if (flops !== undefined && !(flops > 0 && flops < 1)) {
    throw new TrainerError('options', `a plan's share of FLOPs must lie between 0 and 1, got ${flops}; 1 is dense`);
  }
  if (!(sparseSteps > 0 && sparseSteps <= 1)) {
    throw new TrainerError(
      'options',
      `a plan is for a run with sparse steps: their share must lie between 0 and 1, got ${sparseSteps}`,
    );
  }
  if (maxLoss !== undefined && !(maxLoss > 0)) {
    throw new TrainerError('options', `a plan's rise of the loss must be above 0, got ${maxLoss}; 0 is dense`);
  }
  const samples = sampleEvenly(request.samples, count, 0.5);
  if (samples.length === 0) throw new TrainerError('samples', 'a plan needs samples with labels; there are none');
  const measure = new Measurements(request, samples, batchSize);
  const { plan } = spft;
  try {
    return await search(measure, { flops, maxLoss, sparseSteps, levels, tails: [...tails].sort((a, b) => a - b) });
  } finally {
    spft.host.setSparsity(plan);
  }
}

interface Goal {
  readonly flops?: number;
  readonly maxLoss?: number;
  readonly sparseSteps: number;
  readonly levels: readonly number[];
  readonly tails: readonly number[];
}

/** Of a run, given a sparse step's share; and the other way round, which is below 0 where dense steps alone take more. */
const ofRun = (share: number, sparseSteps: number) => sparseSteps * share + 1 - sparseSteps;
const ofStep = (share: number, sparseSteps: number) => (share - 1 + sparseSteps) / sparseSteps;

async function search(measure: Measurements, goal: Goal): Promise<SparsityPlanning> {
  const { levels, tails } = goal;
  // Which module is sensitive hardly depends on the tail: once, with the middle one.
  const middle = tails[Math.floor((tails.length - 1) / 2)]!;
  const modules = Array.from({ length: measure.layerCount }, (_, n) => [
    `layers.${n}.mlp`,
    `layers.${n}.self_attn`,
  ]).flat();
  measure.total = 1 + modules.length * levels.length + tails.length * (2 + 3);
  const denseLoss = await measure.loss(middle, new Map());
  const sensitivity = new Map<string, Map<number, number>>();
  for (const module of modules) {
    for (const level of levels) {
      const rise = (await measure.loss(middle, new Map([[module, level]]))) - denseLoss;
      sensitivity.set(module, (sensitivity.get(module) ?? new Map<number, number>()).set(level, rise));
    }
  }
  const found = new Map<number, Solution | null>();
  for (const tail of tails) found.set(tail, await solveTail(measure, tail, sensitivity, denseLoss, goal));
  const solutions = [...found].filter((entry): entry is [number, Solution] => entry[1] !== null);
  if (solutions.length === 0) throw unmet(measure, sensitivity, denseLoss, goal);
  // Within the budget the least loss counts, within the loss the least arithmetic; a longer tail must be better by more than noise.
  const worth = ({ loss, flops }: Solution) => (goal.flops === undefined ? flops : loss);
  const [tail, best] = solutions.reduce((a, b) => (worth(b[1]) < worth(a[1]) * 0.995 ? b : a));
  return {
    ...{ denseLoss, loss: best.loss, flops: best.flops, runFlops: ofRun(best.flops, goal.sparseSteps) },
    ...{ skipTailTokens: tail, sparsity: best.sparsity, sensitivity, levels },
    tails: new Map([...found].map(([n, solution]) => [n, solution && { loss: solution.loss, flops: solution.flops }])),
    samples: measure.sampleCount,
    labelledTokens: measure.labelledTokens,
  };
}

interface Solution {
  readonly sparsity: Sparsities;
  readonly loss: number;
  readonly flops: number;
}

async function solveTail(
  measure: Measurements,
  tail: number,
  sensitivity: ReadonlyMap<string, ReadonlyMap<number, number>>,
  denseLoss: number,
  { flops, maxLoss, sparseSteps }: Goal,
): Promise<Solution | null> {
  const options = optionsOf(measure, tail, sensitivity, new Map());
  const at = async (budget: number): Promise<Solution | null> => {
    const first = solveMlpFirst(options, 1 - budget);
    if (first === null) return null;
    const solved = await solutionOf(measure, tail, first);
    const factors = await factorsOfThirds(measure, tail, first, sensitivity, solved.loss);
    const second = solveMlpFirst(optionsOf(measure, tail, sensitivity, factors), 1 - budget);
    if (second === null) return solved;
    const corrected = await solutionOf(measure, tail, second);
    return corrected.loss < solved.loss ? corrected : solved;
  };
  if (flops !== undefined) return at(ofStep(flops, sparseSteps));
  let best: Solution | null = null;
  let [low, high] = [1 - mostSaving(options), 1];
  for (let step = 0; step < BUDGET_STEPS; step++) {
    const budget = (low + high) / 2;
    const solved = await at(budget);
    if (solved !== null && solved.loss - denseLoss <= maxLoss!) {
      best = solved;
      high = budget;
    } else low = budget;
  }
  return best;
}

async function solutionOf(measure: Measurements, tail: number, { chosen }: SolvedPlan): Promise<Solution> {
  const sparsity = new Map([...chosen].map(([module, option]) => [module, option.sparsity]));
  return { sparsity, loss: await measure.loss(tail, sparsity), flops: measure.flops(tail, sparsity) };
}

const THIRDS = 3;
const layerOf = (module: string) => Number(/^layers\.(\d+)\./.exec(module)![1]);

/** By third of the depth: what it costs within the plan, relative to the sum of its modules' costs alone. */
async function factorsOfThirds(
  measure: Measurements,
  tail: number,
  { chosen }: SolvedPlan,
  sensitivity: ReadonlyMap<string, ReadonlyMap<number, number>>,
  whole: number,
): Promise<Map<number, number>> {
  const factors = new Map<number, number>();
  const third = (module: string) => Math.floor((layerOf(module) * THIRDS) / measure.layerCount);
  for (let n = 0; n < THIRDS; n++) {
    const inside = [...chosen].filter(([module]) => third(module) === n);
    if (inside.length === 0) continue;
    const rest = new Map(
      [...chosen].filter(([module]) => third(module) !== n).map(([m, { sparsity }]) => [m, sparsity]),
    );
    const marginal = Math.max(0, whole - (await measure.loss(tail, rest)));
    const alone = inside.reduce((sum, [m, { sparsity }]) => sum + Math.max(0, sensitivity.get(m)!.get(sparsity)!), 0);
    // Between a fifth and five times: a third that hardly costs anything must not become free by noise.
    if (alone > 0) factors.set(n, Math.min(5, Math.max(0.2, marginal / alone)));
  }
  return factors;
}

function optionsOf(
  measure: Measurements,
  tail: number,
  sensitivity: ReadonlyMap<string, ReadonlyMap<number, number>>,
  factors: ReadonlyMap<number, number>,
): PlanOption[] {
  const options: PlanOption[] = [];
  for (const [module, levels] of sensitivity) {
    const factor = factors.get(Math.floor((layerOf(module) * THIRDS) / measure.layerCount)) ?? 1;
    let least = 0;
    for (const [sparsity, rise] of [...levels].sort(([a], [b]) => a - b)) {
      // More sparsity does not cost less: where it seems to, that is noise.
      least = Math.max(least, rise, 0);
      options.push({ module, sparsity, cost: least * factor, saving: measure.saving(tail, module, sparsity) });
    }
  }
  return options;
}

function unmet(
  measure: Measurements,
  sensitivity: ReadonlyMap<string, ReadonlyMap<number, number>>,
  denseLoss: number,
  { flops, maxLoss, sparseSteps, tails, levels }: Goal,
): TrainerError {
  if (flops === undefined) {
    return new TrainerError(
      'options',
      `no plan keeps the loss within ${maxLoss} of the dense ${denseLoss.toFixed(3)}; allow more (--max_loss), or train densely`,
    );
  }
  const least = Math.min(...tails.map((tail) => 1 - mostSaving(optionsOf(measure, tail, sensitivity, new Map()))));
  const dense = tails.map((tail) => measure.denseShare(tail)).reduce((a, b) => Math.min(a, b));
  return new TrainerError(
    'options',
    `a plan of ${percent(flops)} of the FLOPs cannot be met: with every module at ${Math.max(...levels)} a step takes ${percent(least)}, ` +
      `as ${percent(dense)} of the tokens are dense (labelled ones and prompt tails)${sparseSteps < 1 ? `, and ${percent(1 - sparseSteps)} of the steps` : ''}; ` +
      `ask for at least ${percent(ofRun(least, sparseSteps))}, or try higher sparsities (--levels)`,
  );
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

/** Losses and arithmetic over the same few batches; what was measured once is not measured again. */
class Measurements {
  /** For progress. */
  total = 0;
  readonly layerCount: number;
  readonly sampleCount: number;
  readonly labelledTokens: number;
  readonly #request: PlanRequest;
  readonly #batches: Sample[][];
  readonly #known: Map<string, number>;
  readonly #collated = new Map<number, CollatedBatch[]>();
  readonly #denseFlops = new Map<number, number>();
  #done = 0;

  constructor(request: PlanRequest, samples: readonly Sample[], batchSize: number) {
    this.#request = request;
    this.layerCount = request.spft.host.layerCount;
    this.sampleCount = samples.length;
    this.labelledTokens = samples.reduce((sum, { labels }) => sum + countLabels(labels), 0);
    this.#known = new Map(request.known);
    // Alike lengths together change nothing; the order as it came keeps batches like those of the run.
    this.#batches = [];
    for (let start = 0; start < samples.length; start += batchSize) {
      this.#batches.push(samples.slice(start, start + batchSize));
    }
  }

  /** Mean loss of a labelled token. */
  async loss(tail: number, sparsity: Sparsities): Promise<number> {
    const { spft, onMeasured, onProgress } = this.#request;
    // A dense loss is the same for every tail.
    const key = sparsity.size === 0 ? 'dense' : `tail ${tail}: ${[...sparsity].map(([m, s]) => `${m}=${s}`).join(' ')}`;
    onProgress?.(Math.min(this.#done++, this.total), this.total, key.length > 60 ? `tail ${tail}, joint` : key);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const model = spft as unknown as TrainableModel;
    spft.host.setSparsity({ ...spft.plan, enabled: true, listener: null, layers: layersOf(sparsity) });
    let [sum, labels] = [0, 0];
    for (const batch of this.batches(tail)) {
      const loss = noGradient(() =>
        tf.tidy(() => model.loss(batch, { training: false, seed: 0, normalizer: batch.labelCount })),
      );
      sum += (await loss.data())[0]! * batch.labelCount;
      labels += batch.labelCount;
      loss.dispose();
    }
    const mean = sum / labels;
    if (!Number.isFinite(mean))
      throw new TrainerError('non-finite', `the loss with ${key} is not finite; check the model`);
    this.#known.set(key, mean);
    await onMeasured?.(key, mean);
    return mean;
  }

  /** Share of a dense step that the plan takes. */
  flops(tail: number, sparsity: Sparsities): number {
    return this.#count(tail, layersOf(sparsity)) / this.#dense(tail);
  }

  /** Share of a dense step that one sparse module saves; those of several add up. */
  saving(tail: number, module: string, level: number): number {
    return 1 - this.flops(tail, new Map([[module, level]]));
  }

  denseShare(tail: number): number {
    const batches = this.batches(tail);
    const total = (value: (batch: CollatedBatch) => number) => batches.reduce((sum, batch) => sum + value(batch), 0);
    return total(({ layout }) => layout.denseTokens) / total(({ layout }) => layout.tokens);
  }

  batches(tail: number): CollatedBatch[] {
    const made = this.#collated.get(tail);
    if (made) return made;
    const policy = { ...this.#request.spft.tokenPolicy, skipTailTokens: tail };
    const batches = this.#batches.map((batch) =>
      collate(batch, { denseTokens: (labels, lengths, seed) => denseTokens(labels, lengths, policy, seed) }),
    );
    this.#collated.set(tail, batches);
    return batches;
  }

  #dense(tail: number): number {
    const known = this.#denseFlops.get(tail);
    if (known !== undefined) return known;
    const counted = this.#count(tail, new Map());
    this.#denseFlops.set(tail, counted);
    return counted;
  }

  #count(tail: number, layers: Layers): number {
    const { shape, method } = this.#request;
    return this.batches(tail).reduce((sum, batch) => {
      const tokens = { layout: batch.layout, labelledTokens: countLabelledTokens(batch) };
      return sum + stepFlops(shape, tokens, { ...method, sparsity: layers }).total;
    }, 0);
  }
}

/** As a plan has them. */
export function layersOf(sparsity: Sparsities): Map<number, { mlp: number; selfAttn: number }> {
  const layers = new Map<number, { mlp: number; selfAttn: number }>();
  for (const [module, value] of sparsity) {
    const layer = layerOf(module);
    const known = layers.get(layer) ?? { mlp: 0, selfAttn: 0 };
    layers.set(layer, module.endsWith('.mlp') ? { ...known, mlp: value } : { ...known, selfAttn: value });
  }
  return layers;
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
