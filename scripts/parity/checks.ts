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

/**
 * How exactly the backend computes.
 *
 * `float32`: as the tolerances above say, times `factor`.
 *
 * `bf16`: weights and activations have 8 bits. An element of a sum that cancels may be off by as much as its terms' rounding, so tensors are
 * compared in norm. Outputs may be off by 2e-2. Rounding the weights of the golden models alone, all else in float32, moves their gradients by up to
 * 1.6e-2 and single ones by 2.6e-2; so gradients may be off by 2.5e-2 all together, as the optimizer's step sees them, and by 4.5e-2 each, where
 * PyTorch's are by 2.8e-2 and 4.9e-2 (PARITY.md, bf16). Adam divides a gradient by its own size and so amplifies its error: a parameter's change
 * must have the golden one's direction to 0.2. A choice between channels or tokens whose scores such errors change is no failure. What has to be the
 * same bits has to be it in either.
 */
export type Precision =
  | { readonly name: 'float32'; readonly factor: number }
  | { readonly name: 'bf16'; readonly tolerance: Readonly<Record<keyof typeof BF16_TOLERANCE, number>> };

export const BF16_TOLERANCE = { output: 2e-2, allGradients: 2.5e-2, gradient: 4.5e-2, change: 0.2 } as const;

/**
 * With frozen weights in FP8 (`SPFT_BASE_PRECISION=fp8`): weights, activations and gradients are rounded to four significant bits before they meet, each
 * by 2.6 % in the mean.
 */
export const FP8_TOLERANCE = { output: 0.2, allGradients: 0.26, gradient: 0.5, change: 0.9 } as const;

/** On cuda sums run in another order and products are fused, over thousands of threads: ten times what the cpu is allowed. */
export function precisionOf(backend: string, env: Readonly<Record<string, string | undefined>>): Precision {
  if (backend !== 'cuda') return { name: 'float32', factor: 1 };
  if (env.SPFT_CUDA_PRECISION === 'float32') return { name: 'float32', factor: 10 };
  return { name: 'bf16', tolerance: env.SPFT_BASE_PRECISION === 'fp8' ? FP8_TOLERANCE : BF16_TOLERANCE };
}

type Numbers = ArrayLike<number>;

export class Checks {
  passed = 0;
  failed = 0;

  constructor(
    private readonly print: (line: string) => void,
    readonly precision: Precision = { name: 'float32', factor: 1 },
  ) {}

  /** How far an output may be off, as a share of the largest; of float32's own exactness where that is what counts. */
  get rounding(): number {
    return this.precision.name === 'bf16' ? this.precision.tolerance.output : TOLERANCE.output.relative;
  }

  /** Every element within absolute + relative · max|expected|; NaN never is. In bf16, in norm. */
  close(name: string, actual: Numbers, expected: Numbers, kind: keyof typeof TOLERANCE): void {
    if (this.precision.name === 'bf16') {
      this.#inNorm(name, actual, expected, this.precision.tolerance[kind]);
      return;
    }
    const { factor } = this.precision;
    const [relative, absolute] = [factor * TOLERANCE[kind].relative, factor * TOLERANCE[kind].absolute];
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

  /**
   * Frobenius norm of the difference, relative to that of `expected`.
   * @param tolerance in float32. @param kind which tolerance of bf16.
   */
  closeInNorm(
    name: string,
    actual: Numbers,
    expected: Numbers,
    tolerance: number,
    kind: keyof typeof BF16_TOLERANCE = 'output',
  ): void {
    const { precision } = this;
    this.#inNorm(
      name,
      actual,
      expected,
      precision.name === 'bf16' ? precision.tolerance[kind] : precision.factor * tolerance,
    );
  }

  #inNorm(name: string, actual: Numbers, expected: Numbers, allowed: number): void {
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
