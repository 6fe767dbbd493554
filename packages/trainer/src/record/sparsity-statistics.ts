/**
 * @file What sparsity kept: how often each channel of each layer was chosen. Listens to the plan during one step in every so many. Where
 * reading is not free, the indices stay on the device until the run waits for it anyway, as it does to log.
 */
import type { SelectionListener } from '@spft/estimator';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { takesKeptForLeak } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import type { TrainerCallback, TrainerContext } from '../loop/callbacks.js';
import { readsAreFree } from '../loop/host-reads.js';
import type { PartStatistics, SparsePart, SparsityMap } from './sparsity-map.js';

/** What is needed of a `SparsityPlan`. */
export interface ListenablePlan {
  listener: SelectionListener | null;
}

export interface SparsityStatisticsOptions {
  /** Layers of the model, so that dense ones are in the map too. */
  readonly layerCount?: number;
  /** Steps between two that are listened to. Not given: `logging_steps`, or more where that would be more than 50 steps of the run. */
  readonly every?: number;
}

/** What such a step chose is read and counted: nothing to a step on a GPU, some of its time where a model is small and the host computes. */
const MOST_LISTENED = 50;
/** Steps whose indices may wait on the device: tens of kilobytes each. */
const MOST_WAITING = 64;

interface Heard {
  readonly key: string;
  readonly total: number;
  readonly indices: tf.Tensor | Int32Array;
}

interface Counts {
  readonly keptTimes: Uint32Array;
  selections: number;
}

/** A callback that collects; ask `map()` for the result at any time: of what was read, which is all at each log entry and at the end. */
export class SparsityStatistics implements TrainerCallback {
  readonly #plan: ListenablePlan;
  readonly #options: SparsityStatisticsOptions;
  readonly #counts = new Map<string, Counts>();
  #heard: Heard[] = [];
  /** Of steps that are over, not read yet. */
  #waiting: Heard[][] = [];
  #outer: SelectionListener | null = null;
  #listening = false;
  #steps = 0;

  constructor(plan: ListenablePlan, options: SparsityStatisticsOptions = {}) {
    assertKnownOptions('SparsityStatistics', options, { layerCount: true, every: true });
    this.#plan = plan;
    this.#options = options;
  }

  onStepBegin({ args, state }: TrainerContext): void {
    const every = this.#options.every ?? Math.max(args.loggingSteps, Math.ceil(state.maxSteps / MOST_LISTENED));
    if (state.globalStep % every !== 0) return;
    this.#listening = true;
    this.#outer = this.#plan.listener;
    this.#plan.listener = (event) => {
      this.#outer?.(event);
      const { layer, part, selection } = event;
      this.#heard.push({
        key: `${layer} ${part}`,
        total: selection.total,
        indices:
          readsAreFree() || takesKeptForLeak()
            ? selection.indices.dataSync<'int32'>().slice()
            : tf.keep(tf.clone(selection.indices)),
      });
    };
  }

  async onStepEnd(): Promise<void> {
    if (!this.#listening) return;
    this.#silence();
    const heard = this.#heard;
    this.#heard = [];
    if (heard.length > 0) this.#waiting.push(heard);
    if (this.#waiting.length >= MOST_WAITING || heard.some(({ indices }) => !(indices instanceof tf.Tensor)))
      await this.#read();
  }

  async onLog(): Promise<void> {
    await this.#read();
  }

  async onTrainEnd(): Promise<void> {
    await this.#read();
  }

  async #read(): Promise<void> {
    for (let heard = this.#waiting.shift(); heard; heard = this.#waiting.shift()) {
      this.#steps++;
      for (const { key, total, indices } of heard) {
        const kept = indices instanceof tf.Tensor ? await indices.data() : indices;
        if (indices instanceof tf.Tensor) indices.dispose();
        let counts = this.#counts.get(key);
        if (!counts) {
          counts = { keptTimes: new Uint32Array(total), selections: 0 };
          this.#counts.set(key, counts);
        }
        counts.selections++;
        for (const channel of kept) counts.keptTimes[channel]!++;
      }
    }
  }

  /** @param maxBins longest `frequency`. */
  map(maxBins = 128): SparsityMap {
    const byLayer = new Map<number, Partial<Record<SparsePart, PartStatistics>>>();
    for (let layer = 0; layer < (this.#options.layerCount ?? 0); layer++) byLayer.set(layer, {});
    for (const [key, counts] of this.#counts) {
      const [layer, part] = key.split(' ') as [string, SparsePart];
      const parts = byLayer.get(Number(layer)) ?? {};
      parts[part] = summarise(counts, maxBins);
      byLayer.set(Number(layer), parts);
    }
    const layers = [...byLayer].sort(([a], [b]) => a - b).map(([layer, parts]) => ({ layer, parts }));
    return { steps: this.#steps, layers };
  }

  /** Frees what a run that ended with an error may have left. */
  dispose(): void {
    if (this.#listening) this.#silence();
    for (const { indices } of [...this.#waiting.flat(), ...this.#heard])
      if (indices instanceof tf.Tensor) indices.dispose();
    this.#heard = [];
    this.#waiting = [];
  }

  #silence(): void {
    this.#plan.listener = this.#outer;
    this.#outer = null;
    this.#listening = false;
  }
}

function summarise({ keptTimes, selections }: Counts, maxBins: number): PartStatistics {
  const total = keptTimes.length;
  const share = (holds: (times: number) => boolean) => keptTimes.filter(holds).length / total;
  const bins = Math.min(maxBins, total);
  const frequency = Array.from({ length: bins }, (_, bin) => {
    const channels = keptTimes.subarray(Math.floor((bin * total) / bins), Math.floor(((bin + 1) * total) / bins));
    return channels.reduce((sum, times) => sum + times, 0) / (channels.length * selections);
  });
  return {
    total,
    density: keptTimes.reduce((sum, times) => sum + times, 0) / (total * selections),
    selections,
    always: share((times) => times === selections),
    never: share((times) => times === 0),
    frequency,
  };
}
