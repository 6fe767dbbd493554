/**
 * @file The sparsity schedule as a callback: tells the sparse model where the run is, before every step (upstream `spft/callbacks.py`). A
 * `Trainer` adds it by itself for a model that has `sparsity`; given to it, or to another trainer, it steers whatever it was made for.
 */
import type { TrainerCallback, TrainerContext } from './callbacks.js';

/** What the callback needs of a sparse model; `SpftModel` of `@spft/estimator` has it, and a `Trainer` asks it by itself. */
export interface ScheduledSparsity {
  /** Switches sparsity on or off for the step to come; `step` counts finished steps. May return whether that step is sparse. */
  update(position: { readonly step: number; readonly maxSteps: number }): unknown;
}

export class SpftCallback implements TrainerCallback {
  readonly #sparsity: ScheduledSparsity;
  #sparse: boolean | null = null;

  constructor(sparsity: ScheduledSparsity) {
    this.#sparsity = sparsity;
  }

  onStepBegin({ state, notify }: TrainerContext): void {
    const sparse = this.#sparsity.update({ step: state.globalStep, maxSteps: state.maxSteps });
    if (typeof sparse !== 'boolean' || sparse === this.#sparse) return;
    // A run that is sparse, or dense, from its first step on needs no word.
    if (this.#sparse !== null || (sparse && state.globalStep > 0)) {
      notify(`sparsity ${sparse ? 'on' : 'off'} from step ${state.globalStep + 1} of ${state.maxSteps}`);
    }
    this.#sparse = sparse;
  }
}
