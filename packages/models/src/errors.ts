/** @file The errors of this package. */

/** A model directory, config, tokenizer or weight that cannot be used; the message says what was wanted, what was found, and what to do. */
export class ModelError extends Error {
  readonly code = 'SPFT_MODEL';
  override readonly name = 'ModelError';
}
