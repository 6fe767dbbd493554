/**
 * @file What a plan is made from: losses and times over the same few batches, and arithmetic over many, as it takes none to count it and a few rows have other shares of
 * labelled tokens than a run's. What was measured once is not measured again.
 */
import { type CompensationTable, denseTokens, type SparsityPlan, type SpftModel } from '@spft/estimator';
import {
  countLabelledTokens,
  type FlopsMethod,
  type FlopsShape,
  type FlopsTokens,
  stepFlops,
  type TrainableModel,
} from '@spft/models';
import { noGradient } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { type CollatedBatch, collate } from '../batch/collate.js';
import { countLabels, type Sample } from '../batch/samples.js';
import { TrainerError } from '../errors.js';
import type { Stopwatch, TimedWork } from './measure-times.js';
import { type JointTime, type LayerTime, SPARSE_MODULES, type SparseModule, TimeModel } from './time-model.js';

/** Sparsity by module, `layers.3.mlp`; those that stay dense are missing. */
export type Sparsities = ReadonlyMap<string, number>;

export interface MeasurementsRequest {
  /** A model whose plan knows every layer, e.g. of a config that makes all sparse; its layers are changed while measuring. */
  readonly spft: SpftModel<TrainableModel>;
  readonly shape: FlopsShape;
  /** What a step is made of besides: adapters, the estimator's rank and rows. */
  readonly method: FlopsMethod;
  /**
   * What replaces dropped MLP channels (`SpftModel.compensationTable`), for every layer at every level that is tried: so measured, a plan is one for runs with
   * that `compensation_rank`. Not taken over. Default: nothing replaces them.
   */
  readonly compensation?: CompensationTable | undefined;
  /** Who tells times; without it a plan knows of none. */
  readonly timing?: {
    readonly stopwatch: Stopwatch;
    /** On what times depend beside the model: machine, backend, batch, adapters. Times that were known under others do not count. */
    readonly conditions: string;
  };
  /** What was measured before, losses and seconds, by the key under which `onMeasured` told it. */
  readonly known?: ReadonlyMap<string, number>;
  readonly onMeasured?: (key: string, value: number) => void | Promise<void>;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** What keys of times begin with. */
export const TIMES = 'seconds';

type Layers = SparsityPlan['layers'];

const keyOf = (sparsity: Sparsities) => [...sparsity].map(([module, value]) => `${module}=${value}`).join(' ');

/** Losses and times over the same few batches, arithmetic over more. */
export class Measurements {
  /** For progress. */
  total = 0;
  readonly layerCount: number;
  readonly sampleCount: number;
  readonly labelledTokens: number;
  readonly #request: MeasurementsRequest;
  readonly #batches: Sample[][];
  readonly #counted: Sample[][];
  readonly #known: Map<string, number>;
  readonly #collated = new Map<number, CollatedBatch[]>();
  /** By tail: what FLOPs are counted on. */
  readonly #tokens = new Map<number, FlopsTokens[]>();
  readonly #denseFlops = new Map<number, number>();
  readonly #savings = new Map<string, number>();
  #done = 0;

  /**
   * @param samples that losses and times are measured on.
   * @param counted that FLOPs are counted on.
   */
  constructor(
    request: MeasurementsRequest,
    { samples, counted }: { readonly samples: readonly Sample[]; readonly counted: readonly Sample[] },
    batchSize: number,
  ) {
    this.#request = request;
    this.layerCount = request.spft.host.layerCount;
    this.sampleCount = samples.length;
    this.labelledTokens = samples.reduce((sum, { labels }) => sum + countLabels(labels), 0);
    this.#known = new Map(request.known);
    // Alike lengths together change nothing; the order as it came keeps batches like those of the run.
    this.#batches = inBatches(samples, batchSize);
    this.#counted = inBatches(counted, batchSize);
  }

  /** Mean loss of a labelled token. */
  async loss(tail: number, sparsity: Sparsities): Promise<number> {
    const { spft, onMeasured, onProgress } = this.#request;
    // A dense loss is the same for every tail.
    const key = sparsity.size === 0 ? 'dense' : `tail ${tail}: ${keyOf(sparsity)}`;
    onProgress?.(Math.min(this.#done++, this.total), this.total, key.length > 60 ? `tail ${tail}, joint` : key);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const model = spft as unknown as TrainableModel;
    const { layers, compensation } = this.#planned(sparsity);
    spft.host.setSparsity({ ...spft.plan, enabled: true, listener: null, layers, ...compensation });
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

  /** Layers of a plan, and the maps of just these. @throws TypeError where the table lacks one. */
  #planned(sparsity: Sparsities): { layers: Layers; compensation?: Pick<SparsityPlan, 'compensation'> } {
    const layers = layersOf(sparsity);
    const { compensation: table } = this.#request;
    if (!table) return { layers };
    const sparse = [...layers].filter(([, { mlp }]) => mlp > 0);
    const maps = sparse.map(([layer, { mlp }]) => {
      const map = table.get(mlp)?.get(layer);
      if (map) return [layer, map] as const;
      throw new TypeError(`planSparsity: compensation has no map of layers.${layer}.mlp at ${mlp}`);
    });
    return { layers, compensation: { compensation: new Map(maps) } };
  }

  #work(sparsity: Sparsities): Pick<TimedWork, 'layers' | 'compensation'> {
    const { layers, compensation } = this.#planned(sparsity);
    return { layers, ...compensation };
  }

  /** Share of a dense step that the plan takes. */
  flops(tail: number, sparsity: Sparsities): number {
    return this.#count(tail, layersOf(sparsity)) / this.#dense(tail);
  }

  /** Share of a dense step that one sparse module saves; those of several add up. */
  saving(tail: number, module: string, level: number): number {
    const key = `${tail} ${module} ${level}`;
    const known = this.#savings.get(key);
    if (known !== undefined) return known;
    const saving = 1 - this.flops(tail, new Map([[module, level]]));
    this.#savings.set(key, saving);
    return saving;
  }

  denseShare(tail: number): number {
    const layouts = this.#countedTokens(tail).map(({ layout }) => layout);
    const total = (value: (layout: FlopsTokens['layout']) => number) =>
      layouts.reduce((sum, layout) => sum + value(layout), 0);
    return total(({ denseTokens }) => denseTokens) / total(({ tokens }) => tokens);
  }

  batches(tail: number): CollatedBatch[] {
    const made = this.#collated.get(tail);
    if (made) return made;
    const batches = this.#collate(this.#batches, tail);
    this.#collated.set(tail, batches);
    return batches;
  }

  #collate(batches: readonly Sample[][], tail: number): CollatedBatch[] {
    const policy = { ...this.#request.spft.tokenPolicy, skipTailTokens: tail };
    return batches.map((batch) =>
      collate(batch, { denseTokens: (labels, lengths, seed) => denseTokens(labels, lengths, policy, seed) }),
    );
  }

  #countedTokens(tail: number): FlopsTokens[] {
    const made = this.#tokens.get(tail);
    if (made) return made;
    const tokens = this.#collate(this.#counted, tail).map((batch) => ({
      layout: batch.layout,
      labelledTokens: countLabelledTokens(batch),
    }));
    this.#tokens.set(tail, tokens);
    return tokens;
  }

  #dense(tail: number): number {
    const known = this.#denseFlops.get(tail);
    if (known !== undefined) return known;
    const counted = this.#count(tail, new Map());
    this.#denseFlops.set(tail, counted);
    return counted;
  }

  /** Times of a step, of one layer with either module at a few sparsities, and of steps with either in all layers; null where nobody tells times. */
  async times(tails: readonly number[], levels: readonly number[]): Promise<TimeModel | null> {
    const { timing } = this.#request;
    if (!timing) return null;
    const layer = this.timedLayer;
    // Tails differ in how many tokens they leave sparse: linear between the shortest and the longest.
    const few = (values: readonly number[], count: number) => {
      const sorted = [...values].sort((a, b) => a - b);
      const at = (n: number) => sorted[Math.round((n * (sorted.length - 1)) / (count - 1))]!;
      return [...new Set(Array.from({ length: count }, (_, n) => at(n)))];
    };
    const sparse = few(tails, 2).flatMap((tail) =>
      SPARSE_MODULES.flatMap((module) => few(levels, 3).map((level) => ({ tail, module, level }))),
    );
    const dense = { batch: this.#timedBatch(tails[0]!), layers: new Map() };
    const works: [key: string, work: TimedWork][] = [
      ['step', { part: 'step', ...dense }],
      ['layer', { part: layer, ...dense }],
      ...sparse.map(({ tail, module, level }): [string, TimedWork] => [
        `layer, tail ${tail}: ${module}=${level}`,
        {
          part: layer,
          batch: this.#timedBatch(tail),
          ...this.#work(new Map([[`layers.${layer}.${module}`, level]])),
        },
      ]),
    ];
    const seconds = await this.#seconds(works, 'times of a layer');
    const joint: (JointTime | null)[] = [];
    for (const module of SPARSE_MODULES) joint.push(await this.#jointTime(tails, levels, module));
    return new TimeModel({
      ...{ step: seconds[0]!, layer: seconds[1]!, joint: joint.filter((time) => time !== null) },
      sparse: sparse.map(
        ({ tail, module, level }, n): LayerTime => ({
          ...{ module, sparsity: level, sparseTokens: this.sparseShare(tail), seconds: seconds[n + 2]! },
        }),
      ),
    });
  }

  /** Of a module in all layers, at the middle of the levels and tails, from which others differ least; null where nothing of it is saved. */
  async #jointTime(
    tails: readonly number[],
    levels: readonly number[],
    module: SparseModule,
  ): Promise<JointTime | null> {
    const [tail, sparsity] = [middleOf(tails), middleOf(levels)];
    const parts = Array.from({ length: this.layerCount }, (_, layer) => `layers.${layer}.${module}`)
      .map((name): [string, number] => [name, this.#part(tail, name, sparsity)])
      .filter(([, part]) => part > 0);
    if (parts.length === 0) return null;
    const everywhere = new Map(parts.map(([name]) => [name, sparsity]));
    const share = await this.timeShare(tail, everywhere, `time with every ${module} sparse`);
    const layers = parts.reduce((sum, [, part]) => sum + part, 0);
    return { module, sparsity, sparseTokens: this.sparseShare(tail), share, layers };
  }

  /** As how much of the timed layer's a module counts: as much less as is saved less arithmetic, as in the last layer. */
  #part(tail: number, module: string, level: number): number {
    const ofTimed = this.saving(tail, `layers.${this.timedLayer}.${module.split('.').at(-1)}`, level);
    return ofTimed > 0 ? Math.max(0, this.saving(tail, module, level) / ofTimed) : 0;
  }

  /** A layer that is neither the first nor the last, where there are three. */
  get timedLayer(): number {
    return Math.floor((this.layerCount - 1) / 2);
  }

  /** Of the batch that is timed. */
  sparseShare(tail: number): number {
    const { tokens, denseTokens } = this.#timedBatch(tail).layout;
    return 1 - denseTokens / tokens;
  }

  /** Share of a dense step's time that one sparse module saves, below 0 where it is slower. */
  timeSaving(model: TimeModel, tail: number, module: string, level: number): number {
    const kind = module.split('.').at(-1) as SparseModule;
    return this.#part(tail, module, level) * model.saving(kind, level, this.sparseShare(tail));
  }

  /** Share of a dense step's time that the plan takes as a whole, both measured in turns. */
  async timeShare(tail: number, sparsity: Sparsities, what = 'time of the plan'): Promise<number> {
    const batch = this.#timedBatch(tail);
    const key = `tail ${tail}: ${keyOf(sparsity)}`;
    const [dense, sparse] = await this.#seconds(
      [
        [`step beside ${key}`, { part: 'step', batch, layers: new Map() }],
        [`step, ${key}`, { part: 'step', batch, ...this.#work(sparsity) }],
      ],
      what,
    );
    return sparse! / dense!;
  }

  /** What takes turns is measured together or, where all of it is known, not at all. */
  async #seconds(works: readonly (readonly [key: string, work: TimedWork])[], what: string): Promise<number[]> {
    const { timing, onMeasured, onProgress } = this.#request;
    const { stopwatch, conditions } = timing!;
    const keys = works.map(([key]) => `${TIMES} on ${conditions}, ${key}`);
    onProgress?.(Math.min(this.#done++, this.total), this.total, what);
    if (keys.some((key) => !this.#known.has(key))) {
      const seconds = await stopwatch.seconds(works.map(([, work]) => work));
      for (const [n, key] of keys.entries()) {
        this.#known.set(key, seconds[n]!);
        await onMeasured?.(key, seconds[n]!);
      }
    }
    return keys.map((key) => this.#known.get(key)!);
  }

  /** One of whole size. */
  #timedBatch(tail: number): CollatedBatch {
    return this.batches(tail)[0]!;
  }

  #count(tail: number, layers: Layers): number {
    const { shape, method } = this.#request;
    return this.#countedTokens(tail).reduce(
      (sum, tokens) => sum + stepFlops(shape, tokens, { ...method, sparsity: layers }).total,
      0,
    );
  }
}

/** Of an odd number of them the middle one, else the lower of two. */
export function middleOf(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)]!;
}

function inBatches(samples: readonly Sample[], batchSize: number): Sample[][] {
  const batches: Sample[][] = [];
  for (let start = 0; start < samples.length; start += batchSize) batches.push(samples.slice(start, start + batchSize));
  return batches;
}

/** Of a module, `layers.3.mlp`. */
export const layerOf = (module: string) => Number(/^layers\.(\d+)\./.exec(module)![1]);

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
