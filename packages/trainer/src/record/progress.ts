/**
 * @file Progress for people: what a bar shows, and the callback that feeds it. Bars themselves are a matter of where one is: `/node` has
 * one for terminals, a page can draw its own.
 */
import type { StepContext, TrainerCallback, TrainerContext } from '../loop/callbacks.js';
import type { LogEntry } from '../loop/state.js';

export interface ProgressUpdate {
  readonly step: number;
  readonly totalSteps: number;
  readonly epoch: number;
  /** Null before the first one is known. */
  readonly loss: number | null;
  readonly learningRate: number;
  readonly tokensPerSecond: number | null;
  /** Seconds to go; null before the first step. */
  readonly etaSeconds: number | null;
}

export interface ProgressSink {
  start(run: { readonly step: number; readonly totalSteps: number }): void;
  update(progress: ProgressUpdate): void;
  /** A log line was written; `progress` is where the run is. */
  log(logs: LogEntry, progress: ProgressUpdate): void;
  /** A sentence for the user. */
  note(message: string): void;
  stop(): void;
}

/** How much the last step counts in the smoothed time of a step, at least. */
const SMOOTHING = 0.1;

export class ProgressCallback implements TrainerCallback {
  readonly #sink: ProgressSink;
  readonly #now: () => number;
  #last = 0;
  #secondsPerStep = 0;
  #tokensPerStep = 0;
  #steps = 0;
  #progress: ProgressUpdate | null = null;

  /** @param now milliseconds that never go back. */
  constructor(sink: ProgressSink, now: () => number = () => performance.now()) {
    this.#sink = sink;
    this.#now = now;
  }

  onTrainBegin({ state }: TrainerContext): void {
    this.#last = this.#now();
    this.#steps = 0;
    this.#sink.start({ step: state.globalStep, totalSteps: state.maxSteps });
  }

  onStepEnd({ state, tokens, loss, learningRate }: StepContext): void {
    const now = this.#now();
    const seconds = (now - this.#last) / 1000;
    this.#last = now;
    // The first step is slower than all others (kernels are compiled, memory is laid out): the second starts the mean anew.
    const weight = Math.max(SMOOTHING, 1 / Math.max(1, this.#steps));
    this.#secondsPerStep += weight * (seconds - this.#secondsPerStep);
    this.#tokensPerStep += weight * (tokens - this.#tokensPerStep);
    this.#steps++;
    this.#progress = {
      step: state.globalStep,
      totalSteps: state.maxSteps,
      epoch: state.epoch,
      loss,
      learningRate,
      tokensPerSecond: this.#secondsPerStep > 0 ? this.#tokensPerStep / this.#secondsPerStep : null,
      etaSeconds: this.#secondsPerStep * (state.maxSteps - state.globalStep),
    };
    this.#sink.update(this.#progress);
  }

  onLog({ logs }: TrainerContext & { readonly logs: LogEntry }): void {
    if (!this.#progress) return;
    if (logs.loss !== undefined) this.#progress = { ...this.#progress, loss: logs.loss };
    this.#sink.log(logs, this.#progress);
  }

  /** Time for evaluation and checkpoints is not the steps'. */
  onEvaluate(): void {
    this.#last = this.#now();
  }

  onSave(): void {
    this.#last = this.#now();
  }

  onTrainEnd(): void {
    this.#sink.stop();
  }
}

/** `1:05`, `2:03:04`. */
export function clockTime(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, '0');
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** One line: `math  120/500  24 %  ▕███░░░▏ loss 1.2345  lr 2.9e-4  3,210 tok/s  ETA 1:05`. */
export function progressLine(progress: ProgressUpdate, options: { label?: string; width?: number } = {}): string {
  const { step, totalSteps, loss, learningRate, tokensPerSecond, etaSeconds } = progress;
  const { label, width = 80 } = options;
  const fraction = totalSteps > 0 ? Math.min(1, step / totalSteps) : 1;
  const head = `${label ? `${label}  ` : ''}${String(step).padStart(String(totalSteps).length)}/${totalSteps}  ${String(Math.floor(fraction * 100)).padStart(3)} %`;
  const facts = [
    loss === null ? null : `loss ${loss.toFixed(4)}`,
    `lr ${learningRate.toExponential(1)}`,
    tokensPerSecond === null ? null : `${Math.round(tokensPerSecond).toLocaleString('en')} tok/s`,
    etaSeconds === null ? null : `ETA ${clockTime(etaSeconds)}`,
  ].filter((fact) => fact !== null);
  const tail = facts.join('  ');
  const cells = Math.min(24, width - head.length - tail.length - 6);
  const bar = cells >= 5 ? `  ▕${barCells(fraction, cells)}▏ ` : '  ';
  return `${head}${bar}${tail}`.slice(0, Math.max(10, width - 1));
}

/** Blocks in eighths of a cell. */
function barCells(fraction: number, cells: number): string {
  const eighths = Math.round(fraction * cells * 8);
  const full = Math.floor(eighths / 8);
  const part = eighths % 8;
  const partial = part === 0 ? '' : String.fromCodePoint(0x2588 + 8 - part);
  return '█'.repeat(full) + partial + ' '.repeat(cells - full - (part === 0 ? 0 : 1));
}
