/**
 * @file How long steps take. Only the work of steps counts, not evaluation, checkpoints or callbacks. Where the backend computes behind
 * the host's back a step's own time means nothing, so time is taken between two synchronisations and shared out among the steps between.
 */

export interface StepSummary {
  /** Median over all steps but the first `warmup`; null when there was none. */
  readonly secondsPerStep: number | null;
  /** Tokens of the same steps over their time. */
  readonly tokensPerSecond: number | null;
  readonly steps: number;
}

export class StepClock {
  /** Seconds and tokens of each finished step. */
  readonly seconds: number[] = [];
  readonly tokens: number[] = [];
  readonly #now: () => number;
  #started: number | null = null;
  #open: { seconds: number; tokens: number[] } = { seconds: 0, tokens: [] };

  /** @param now milliseconds that never go back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Work on steps begins, or waiting for it. */
  start(): void {
    this.#started = this.#now();
  }

  /** It pauses: what follows does not count. */
  pause(): void {
    if (this.#started !== null) this.#open.seconds += (this.#now() - this.#started) / 1000;
    this.#started = null;
  }

  /** The step that has begun is given up: its time does not count. */
  giveUpStep(): void {
    this.#started = null;
  }

  /** A step of so many tokens has been handed to the backend. */
  endStep(tokens: number): void {
    this.pause();
    this.#open.tokens.push(tokens);
  }

  /** The backend is known to have finished all steps so far, as something was read back. */
  synced(): void {
    this.#share();
  }

  #share(): void {
    const { seconds, tokens } = this.#open;
    for (const count of tokens) {
      this.seconds.push(seconds / tokens.length);
      this.tokens.push(count);
    }
    this.#open = { seconds: 0, tokens: [] };
  }

  /** Of the steps from `from` (an index into `seconds`) on: mean seconds and tokens a second. */
  window(from: number): { secondsPerStep: number; tokensPerSecond: number } | null {
    const seconds = sum(this.seconds.slice(from));
    const steps = this.seconds.length - from;
    return steps > 0 && seconds > 0
      ? { secondsPerStep: seconds / steps, tokensPerSecond: sum(this.tokens.slice(from)) / seconds }
      : null;
  }

  /** @param warmup first steps that do not count, as kernels are compiled and memory is laid out in them; fewer in a very short run. */
  summary(warmup = 3): StepSummary {
    const skip = Math.min(warmup, Math.floor(this.seconds.length / 2));
    const seconds = this.seconds.slice(skip);
    const total = sum(seconds);
    return {
      secondsPerStep: median(seconds),
      tokensPerSecond: total > 0 ? sum(this.tokens.slice(skip)) / total : null,
      steps: seconds.length,
    };
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** The middle value, or the mean of the two in the middle; null for none. */
export function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
