/**
 * @file What a step launched, without its addresses: two runs of the same step must agree in it, or the step depends on something that was
 * not given as an input, and a recording would quietly go on with the value of the day it was made.
 */
import type { Kernel } from '../device/kernel.js';

export class LaunchLog {
  readonly #names: string[] = [];
  readonly #starts: number[] = [];
  readonly #numbers: number[] = [];

  /** Calls noted. */
  get length(): number {
    return this.#names.length;
  }

  /** A kernel; its addresses differ from run to run. */
  launch(kernel: Kernel, sizes: readonly number[], args: readonly number[]): void {
    this.note(kernel.name, sizes);
    const { parameters } = kernel;
    for (let n = 0; n < args.length; n++)
      if (parameters[n] !== 'p' && parameters[n] !== 't') this.#numbers.push(args[n]!);
  }

  /** Anything else, with its numbers. */
  note(name: string, numbers: readonly number[]): void {
    this.#names.push(name);
    this.#starts.push(this.#numbers.length);
    for (const number of numbers) this.#numbers.push(number);
  }

  /** What `other` did otherwise first, for a message; null where it did the same. */
  difference(other: LaunchLog): string | null {
    for (let n = 0; n < Math.max(this.length, other.length); n++) {
      const [a, b] = [this.#names[n], other.#names[n]];
      if (a !== b) return `call ${n} was ${a ?? 'none'} and then ${b ?? 'none'}`;
      const [ours, theirs] = [this.#of(n), other.#of(n)];
      const at = ours.findIndex((value, i) => !Object.is(value, theirs[i]));
      if (ours.length !== theirs.length || at >= 0) {
        return `${a} was called with ${ours[at]} and then with ${theirs[at]} (number ${at} of call ${n})`;
      }
    }
    return null;
  }

  #of(n: number): number[] {
    return this.#numbers.slice(this.#starts[n]!, this.#starts[n + 1] ?? this.#numbers.length);
  }
}
