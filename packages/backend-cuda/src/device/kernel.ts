/** @file A kernel as those that load and launch it see it. */

/** p device address, i int32, f float, l int64, t host address of a tensor map (tensor-map.ts), of which a kernel's first parameters alone may be. */
export type Parameter = 'p' | 'i' | 'f' | 'l' | 't';

/** A compiled entry point. */
export interface Kernel {
  readonly handle: number;
  readonly name: string;
  /** Types of its parameters, in order. */
  readonly parameters: readonly Parameter[];
  /** Dynamic shared memory that it may use without asking anew. */
  sharedBytes: number;
}
