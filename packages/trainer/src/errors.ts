/** @file The errors of this package: what was wanted, what was found, what to do. */

/** What went wrong, for code that wants to react: the message is for people. */
export type TrainerErrorReason = 'options' | 'samples' | 'batch' | 'non-finite' | 'checkpoint' | 'locked';

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
  /** `loss`, `gradient norm`, `eval_loss`, or a variable or optimizer moment by its name. */
  readonly what: string;
  readonly value: number;
  /** The optimizer step, counted from 1; of a variable the one after which it was looked at. */
  readonly step: number;
  /** Indices, in the given samples, of the (micro-)batch; none where no one batch is to blame. */
  readonly samples: readonly number[];
  /** Where the last checkpoint from before that step lies; null when there is none. */
  readonly lastCheckpoint: string | null;
}

/** The loss, the gradient or what is trained is NaN or infinite: the run stopped so that no checkpoint and no adapter is spoilt. */
export class NonFiniteError extends TrainerError {
  override readonly name = 'NonFiniteError';

  constructor(readonly place: NonFinitePlace) {
    const { what, value, step, samples, lastCheckpoint } = place;
    super(
      'non-finite',
      (samples.length > 0
        ? `the ${what} is ${value} at step ${step}, batch of samples ${listed(samples)}; training stopped. `
        : `${what} is ${value} after step ${step}; training stopped, and nothing of it is saved. `) +
        `Last good checkpoint: ${lastCheckpoint ?? 'none'}. ` +
        `Resume from ${lastCheckpoint ? 'it' : 'the start'} with a lower learning rate or more warm-up steps` +
        `${samples.length > 0 ? ', or look at these samples.' : ', and with max_grad_norm above 0.'}`,
    );
  }
}

/** `3, 4, 5 and 20 more`. */
export function listed(items: readonly (string | number)[], limit = 16): string {
  const shown = items.slice(0, limit).join(', ');
  return items.length > limit ? `${shown} and ${items.length - limit} more` : shown;
}
