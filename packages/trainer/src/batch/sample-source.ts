/**
 * @file Samples that are not all there yet: a trainer asks for each when its batch comes, so that a short run of a large data set tokenises
 * what it sees and no more.
 */
import {
  countLabels,
  type PreparedSample,
  prepareSamples,
  type Sample,
  type SampleRules,
  samplesDigest,
} from './samples.js';

/** Samples by their number. The same number always gives the same sample. */
export interface SampleSource {
  readonly length: number;
  /** Tells these samples from others: what they are made of, not the order in which they were asked for. */
  readonly digest: string;
  /** One within the maximum length, with a label. */
  sample(index: number): PreparedSample;
}

export function isSampleSource(samples: readonly Sample[] | SampleSource): samples is SampleSource {
  return 'sample' in samples;
}

/** All samples checked and cut at once; `notify` is told what was done to them. */
export function preparedSource(
  samples: readonly Sample[],
  rules: SampleRules,
  notify: (message: string) => void,
): SampleSource {
  const { samples: prepared, truncated, skipped } = prepareSamples(samples, rules);
  if (truncated > 0) notify(`${truncated} samples are longer than ${rules.maxLength} tokens and were truncated`);
  if (skipped > 0) notify(`${skipped} of ${samples.length} samples were left out`);
  return { length: prepared.length, digest: samplesDigest(prepared), sample: (index) => prepared[index]! };
}

/** What came of the samples that were asked for. */
export interface LazyCounts {
  /** Samples that were made. */
  readonly made: number;
  /** Of these, those that were cut to the maximum. */
  readonly truncated: number;
  /** Of these, those without a label, whose place the next one took. */
  readonly unlabelled: number;
  /** Tokens of the longest, as it was cut. */
  readonly longest: number;
}

/** Makes a sample when it is asked for, and keeps it. */
export class LazySamples implements SampleSource {
  readonly length: number;
  readonly digest: string;
  readonly #make: (index: number) => Sample & { readonly truncated?: boolean };
  readonly #exhausted: () => Error;
  readonly #made = new Map<number, PreparedSample | null>();
  #truncated = 0;
  #longest = 0;

  /**
   * @param make the sample of an index, the same each time, no longer than the maximum.
   * @param exhausted the error where no sample of all has a label.
   */
  constructor(options: {
    readonly length: number;
    readonly digest: string;
    readonly make: (index: number) => Sample & { readonly truncated?: boolean };
    readonly exhausted: () => Error;
  }) {
    ({ length: this.length, digest: this.digest } = options);
    this.#make = options.make;
    this.#exhausted = options.exhausted;
  }

  /** A sample without a label has nothing to teach: the next one that has takes its place, the same one each time. */
  sample(index: number): PreparedSample {
    for (let n = 0; n < this.length; n++) {
      const found = this.#at((index + n) % this.length);
      if (found !== null) return found;
    }
    throw this.#exhausted();
  }

  get counts(): LazyCounts {
    const made = [...this.#made.values()];
    const unlabelled = made.filter((one) => one === null).length;
    return { made: made.length, truncated: this.#truncated, unlabelled, longest: this.#longest };
  }

  #at(index: number): PreparedSample | null {
    const known = this.#made.get(index);
    if (known !== undefined) return known;
    const { inputIds, labels, truncated = false } = this.#make(index);
    if (truncated) this.#truncated++;
    this.#longest = Math.max(this.#longest, inputIds.length);
    const prepared = countLabels(labels) === 0 ? null : { index, inputIds, labels };
    this.#made.set(index, prepared);
    return prepared;
  }
}
