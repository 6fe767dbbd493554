/**
 * @file Where the time of a run's steps goes: of each step how it was done (again by a recording, watched before one, recorded, launched by the host
 * without a recorder) and how long the host was at it. Nothing waits for the GPU but what waits anyway, so that the run is the one without a trace:
 * GPU times are those between two log entries, at which the trainer waits.
 */
import type { StepRecorder, StepRecorderOptions } from '@spft/sparse-ops';
import type { TrainerCallback } from '@spft/trainer';
import * as tf from '@tensorflow/tfjs';

export type StepKind = 'replayed' | 'recorded' | 'watched' | 'host';

interface TracedStep {
  readonly kind: StepKind;
  /** Of the recorder's keys, by their first use; −1 for steps without one. */
  readonly shape: number;
  readonly sparse: boolean;
  /** Of the host, in ms: within the recorder, and with all that the trainer does for the step. */
  readonly recorder: number;
  readonly host: number;
}

export interface KindSummary {
  readonly steps: number;
  /** Mean of the host's time, ms. */
  readonly host: number;
  readonly most: number;
}

export interface TraceSummary {
  /** Mean over all steps, as the trainer's clock has them, ms. */
  readonly mean: number;
  /** Of the median step; the clock shares out the time between two log entries. */
  readonly median: number;
  /** Of windows between log entries in which every step was replayed, sparse and dense ones apart: median ms a step, and how many windows. */
  readonly replayed: Readonly<Record<string, { readonly ms: number; readonly windows: number }>>;
  /** By `sparse watched` and the like. */
  readonly kinds: Readonly<Record<string, KindSummary>>;
  /** Shapes that were recorded. */
  readonly shapes: number;
  readonly profile: readonly string[];
}

interface Profiled {
  profile(f: () => void): readonly { readonly name: string; readonly calls: number; readonly milliseconds: number }[];
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const rounded = (value: number): number => Number(value.toFixed(3));

export class StepTrace implements TrainerCallback {
  readonly #steps: TracedStep[] = [];
  readonly #shapes = new Map<string, number>();
  readonly #isSparse: () => boolean;
  readonly #profiledStep: number | null;
  #seconds: readonly number[] = [];
  #now: { began: number; kind: StepKind; shape: number; recorder: number } | null = null;
  #profile: readonly string[] = [];

  /** Watches the recorder that the active backend makes next. @param profiledStep of which the kernels are listed; its time, and its window's, then say nothing. */
  constructor(isSparse: () => boolean, profiledStep: number | null = null) {
    this.#isSparse = isSparse;
    this.#profiledStep = profiledStep;
    const backend = tf.backend() as unknown as { recordSteps?(options?: StepRecorderOptions): StepRecorder | null };
    const make = backend.recordSteps?.bind(backend);
    if (!make) return;
    backend.recordSteps = (options) => {
      delete backend.recordSteps;
      const recorder = make(options);
      if (recorder) this.#watch(recorder);
      return recorder;
    };
  }

  #watch(recorder: StepRecorder): void {
    const run = recorder.run.bind(recorder);
    recorder.run = (key, ...rest) => {
      const before = recorder.counts;
      const began = performance.now();
      const results = this.#profiled(() => run(key, ...rest));
      const { recorded, replayed } = recorder.counts;
      if (!this.#shapes.has(key)) this.#shapes.set(key, this.#shapes.size);
      const kind = recorded > before.recorded ? 'recorded' : replayed > before.replayed ? 'replayed' : 'watched';
      if (this.#now)
        Object.assign(this.#now, { kind, shape: this.#shapes.get(key)!, recorder: performance.now() - began });
      return results;
    };
  }

  #profiled<T>(run: () => T): T {
    const backend = tf.backend() as unknown as Partial<Profiled>;
    if (this.#steps.length !== this.#profiledStep || !backend.profile) return run();
    let results: T;
    const entries = backend.profile(() => {
      results = run();
    });
    const total = entries.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
    const calls = entries.reduce((sum, { calls }) => sum + calls, 0);
    this.#profile = [
      `${calls} launches, ${total.toFixed(2)} ms`,
      ...entries
        .slice(0, 40)
        .map(({ name, calls, milliseconds }) => `${milliseconds.toFixed(3)} ms ${calls} x ${name}`),
    ];
    return results!;
  }

  onStepBegin(): void {
    this.#now = { began: performance.now(), kind: 'host', shape: -1, recorder: 0 };
  }

  onStepEnd(): void {
    const { began, ...step } = this.#now!;
    this.#steps.push({ ...step, sparse: this.#isSparse(), host: performance.now() - began });
  }

  /** @param seconds of each step, as the trainer's clock has them. */
  finish(seconds: readonly number[]): void {
    this.#seconds = seconds;
  }

  summary(loggingSteps: number): TraceSummary {
    const milliseconds = this.#seconds.map((s) => 1000 * s);
    const kinds: Record<string, { steps: number; host: number; most: number }> = {};
    const windows: Record<string, number[]> = {};
    const nameOf = ({ sparse, kind }: TracedStep) => `${sparse ? 'sparse' : 'dense'} ${kind}`;
    for (const step of this.#steps) {
      kinds[nameOf(step)] ??= { steps: 0, host: 0, most: 0 };
      const known = kinds[nameOf(step)]!;
      known.steps++;
      known.host += step.host;
      known.most = Math.max(known.most, step.host);
    }
    for (let from = 0; from + loggingSteps <= milliseconds.length; from += loggingSteps) {
      const steps = this.#steps.slice(from, from + loggingSteps);
      const names = new Set(steps.map(nameOf));
      const [name = ''] = names;
      if (names.size > 1 || !name.endsWith('replayed')) continue;
      windows[name] = [...(windows[name] ?? []), milliseconds[from]!];
    }
    const sum = milliseconds.reduce((sum, ms) => sum + ms, 0);
    return {
      mean: rounded(sum / milliseconds.length),
      median: rounded(median(milliseconds)),
      replayed: Object.fromEntries(
        Object.entries(windows).map(([name, ms]) => [name, { ms: rounded(median(ms)), windows: ms.length }]),
      ),
      kinds: Object.fromEntries(
        Object.entries(kinds).map(([name, { steps, host, most }]) => [
          name,
          { steps, host: rounded(host / steps), most: rounded(most) },
        ]),
      ),
      shapes: this.#shapes.size,
      profile: this.#profile,
    };
  }

  /** Of each step, as `kind shape sparse recorder host`. */
  get lines(): string[] {
    return this.#steps.map(
      ({ kind, shape, sparse, recorder, host }, n) =>
        `${n} ${kind} ${shape} ${sparse ? 'sparse' : 'dense'} ${recorder.toFixed(2)} ${host.toFixed(2)} ${(1000 * (this.#seconds[n] ?? Number.NaN)).toFixed(2)}`,
    );
  }
}
