/** @file The error of this package: what was wanted, what was found, what to do. */

/** What went wrong, for code that wants to react: the message is for people. */
export type DistributedErrorReason =
  /** Variables of a launcher are half set, contradict each other, or hold no numbers. */
  | 'launcher'
  /** The ranks did not find each other. */
  | 'rendezvous'
  /** MPI or NCCL is not there, or is not what it says. */
  | 'library'
  /** Ranks have other versions, configurations, data or bases. */
  | 'mismatch'
  /** A rank ended, or is not heard of. */
  | 'lost'
  /** Another rank failed, which says why itself. */
  | 'failed'
  /** Used after the end. */
  | 'closed';

/** Ranks cannot work together. */
export class DistributedError extends Error {
  override readonly name = 'DistributedError';
  readonly code = 'SPFT_DISTRIBUTED';

  constructor(
    readonly reason: DistributedErrorReason,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
