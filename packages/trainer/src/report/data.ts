/** @file What a report is made from: plain JSON, so that it can be kept and rendered again. */

import type { LogEntry } from '../loop/state.js';
import type { SparsityMap } from '../record/sparsity-map.js';

/** One way of training that the report compares. Fractions are 0 to 1; what is not given is not shown. */
export interface ReportMethod {
  /** Shown, e.g. `SparseLoRA`. */
  readonly name: string;
  readonly accuracyBefore?: number;
  readonly accuracyAfter?: number;
  /** Median. */
  readonly secondsPerStep?: number;
  readonly tokensPerSecond?: number;
  /** Arithmetic of a step relative to dense LoRA's. */
  readonly flopsShare?: number;
  readonly trainableParameters?: number;
  /** `state.logHistory` of its run. */
  readonly logHistory: readonly LogEntry[];
  /** Accuracy by evaluation set. */
  readonly evaluations?: readonly {
    readonly set: string;
    readonly before?: number;
    readonly after?: number;
    readonly questions?: number;
  }[];
  readonly sparsity?: SparsityMap;
}

export interface ReportData {
  readonly title: string;
  /** A sentence or two below the title. */
  readonly summary?: string;
  /** Shown as pairs: model, data set, backend, seed, … */
  readonly facts?: Readonly<Record<string, string>>;
  /** The first one is what the others' speed-up is relative to. */
  readonly methods: readonly ReportMethod[];
}
