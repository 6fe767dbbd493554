/** @file The tally of a parity run: every comparison is a line with its largest error and what was allowed. */

export interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
}

/** Relative to the largest magnitude of the expected tensor. */
export const TOLERANCE = {
  output: { relative: 1e-4, absolute: 1e-6 },
  gradient: { relative: 1e-3, absolute: 1e-6 },
} as const satisfies Record<string, Tolerance>;

type Numbers = ArrayLike<number>;

export class Checks {
  passed = 0;
  failed = 0;

  constructor(private readonly print: (line: string) => void) {}

  /** Every element within absolute + relative · max|expected|; NaN never is. */
  close(name: string, actual: Numbers, expected: Numbers, { relative, absolute }: Tolerance): void {
    let [scale, largest] = [0, 0];
    for (let i = 0; i < expected.length; i++) {
      scale = Math.max(scale, Math.abs(expected[i]!));
      const error = Math.abs(actual[i]! - expected[i]!);
      largest = Math.max(largest, Number.isNaN(error) ? Infinity : error);
    }
    const allowed = absolute + relative * scale;
    const fits = actual.length === expected.length && expected.length > 0 && largest <= allowed;
    this.#tally(fits, name, this.#lengths(actual, expected) ?? `error ${exp(largest)}, allowed ${exp(allowed)}`);
  }

  /** Frobenius norm of the difference, relative to that of `expected`. */
  closeInNorm(name: string, actual: Numbers, expected: Numbers, allowed: number): void {
    let [difference, norm] = [0, 0];
    for (let i = 0; i < expected.length; i++) {
      difference += (actual[i]! - expected[i]!) ** 2;
      norm += expected[i]! ** 2;
    }
    const error = Math.sqrt(difference / norm);
    const fits = actual.length === expected.length && error <= allowed;
    this.#tally(fits, name, this.#lengths(actual, expected) ?? `error ${exp(error)}, allowed ${exp(allowed)}`);
  }

  /** The same numbers in the same order, bit for bit. */
  same(name: string, actual: Numbers, expected: Numbers): void {
    let different = 0;
    for (let i = 0; i < expected.length; i++) if (!Object.is(actual[i], expected[i])) different++;
    const fits = actual.length === expected.length && different === 0;
    this.#tally(fits, name, this.#lengths(actual, expected) ?? `${different} of ${expected.length} differ, allowed 0`);
  }

  /** @param wrong what is wrong, or nothing. */
  holds(name: string, wrong: string | null): void {
    this.#tally(wrong === null, name, wrong ?? 'holds');
  }

  #lengths(actual: Numbers, expected: Numbers): string | null {
    return actual.length === expected.length ? null : `${actual.length} values, wanted ${expected.length}`;
  }

  #tally(fits: boolean, name: string, detail: string): void {
    if (fits) this.passed++;
    else this.failed++;
    this.print(`${fits ? 'pass' : 'FAIL'}  ${name}: ${detail}`);
  }
}

const exp = (x: number) => x.toExponential(2);
