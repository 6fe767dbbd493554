/** @file The errors of this package: what was wanted, what was found, what to do. */

/** What went wrong, for code that wants to react: the message is for people. */
export type TrainerErrorReason = 'options' | 'samples' | 'batch' | 'non-finite' | 'checkpoint';

/** Training cannot start or go on. */
export class TrainerError extends Error {
  override readonly name: string = 'TrainerError';
  readonly code = 'SPFT_TRAINER';

  constructor(
    readonly reason: TrainerErrorReason,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Where the first value that is not a number, or infinite, was found. */
export interface NonFinitePlace {
  readonly what: 'loss' | 'gradient norm';
  readonly value: number;
  /** The optimizer step, counted from 1. */
  readonly step: number;
  /** Indices, in the given samples, of the (micro-)batch. */
  readonly samples: readonly number[];
  /** Where the last checkpoint from before that step lies; null when there is none. */
  readonly lastCheckpoint: string | null;
}

/** The loss or the gradient is NaN or infinite: the run stopped so that no checkpoint is spoilt. */
export class NonFiniteError extends TrainerError {
  override readonly name = 'NonFiniteError';

  constructor(readonly place: NonFinitePlace) {
    const { what, value, step, samples, lastCheckpoint } = place;
    super(
      'non-finite',
      `the ${what} is ${value} at step ${step}, batch of samples ${listed(samples)}; training stopped. ` +
        `Last good checkpoint: ${lastCheckpoint ?? 'none'}. ` +
        `Resume from ${lastCheckpoint ? 'it' : 'the start'} with a lower learning rate or more warm-up steps, or look at these samples.`,
    );
  }
}

/** `3, 4, 5 and 20 more`. */
export function listed(items: readonly (string | number)[], limit = 16): string {
  const shown = items.slice(0, limit).join(', ');
  return items.length > limit ? `${shown} and ${items.length - limit} more` : shown;
}
