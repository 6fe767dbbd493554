/**
 * @file What sparsity does to each module in the steps that are logged, under the original's names (`stats/<module>/sparsity/q`, …): how many
 * tokens of a sequence are sparse and dense, and which fraction of channels is dropped. The original logs fractions kept for oracles and
 * dropped for SVD under one name; here it is always the fraction dropped.
 */
import type { SelectionListener } from '@spft/estimator';
import type { DenseTokens } from '../batch/collate.js';
import type { TrainerCallback, TrainerContext } from '../loop/callbacks.js';
import type { LogEntry } from '../loop/state.js';
import type { ListenablePlan } from './sparsity-statistics.js';

/** Where values go beside the log. */
export interface MetricSink {
  values(step: number, values: Readonly<Record<string, number>>): Promise<void> | void;
}

/** A callback; hands each logged step's values to the sinks. Reads nothing from the device. */
export class ModuleStatistics implements TrainerCallback {
  readonly #plan: ListenablePlan;
  readonly #sinks: readonly MetricSink[];
  /** The listener that was there before. */
  #outer: { readonly listener: SelectionListener | null } | null = null;
  #values = new Map<string, number>();
  #tokens = { dense: 0, all: 0, sequences: 0 };

  constructor(plan: ListenablePlan, sinks: readonly MetricSink[]) {
    this.#plan = plan;
    this.#sinks = sinks;
  }

  /** The same choice of tokens, counted. */
  counting(denseTokens: DenseTokens): DenseTokens {
    return (labels, lengths, seed) => {
      const dense = denseTokens(labels, lengths, seed);
      let count = 0;
      for (let t = 0; t < dense.length; t++) if (dense[t] !== 0) count++;
      const { dense: before, all, sequences } = this.#tokens;
      this.#tokens = { dense: before + count, all: all + labels.length, sequences: sequences + lengths.length };
      return dense;
    };
  }

  /** For the whole run: listeners of single steps (`SparsityStatistics`) wrap this one and give it back. */
  onTrainBegin(): void {
    const outer = this.#plan.listener;
    this.#outer = { listener: outer };
    this.#plan.listener = (event) => {
      outer?.(event);
      const { layer, module, part, selection } = event;
      const name = `stats/base_model.model.model.layers.${layer}.${module}`;
      this.#values.set(`${name}/sparsity/${part === 'mlp' ? 'ffn' : part}`, 1 - selection.kept / selection.total);
      const { dense, all, sequences } = this.#tokens;
      if (sequences === 0) return;
      this.#values.set(`${name}/token_split/sparse`, (all - dense) / sequences);
      this.#values.set(`${name}/token_split/dense`, dense / sequences);
    };
  }

  onStepBegin(): void {
    this.#values = new Map();
    this.#tokens = { dense: 0, all: 0, sequences: 0 };
  }

  async onLog({ logs }: TrainerContext & { readonly logs: LogEntry }): Promise<void> {
    if (logs.loss === undefined || this.#values.size === 0) return;
    for (const sink of this.#sinks) await sink.values(logs.step!, Object.fromEntries(this.#values));
  }

  onTrainEnd(): void {
    if (this.#outer) this.#plan.listener = this.#outer.listener;
    this.#outer = null;
  }
}
