/** @file What is to be known of a backend, and what it finds on a machine. */

/** What a backend found on this machine. */
export type BackendProbe =
  | { readonly available: true /** What would run, e.g. the package and its version. */; readonly detail: string }
  | { readonly available: false; readonly reason: string /** How to get it. */; readonly hint?: string };

export interface BackendDescriptor {
  /** Its name in tfjs, as `tf.setBackend` takes it. */
  readonly name: string;
  readonly description: string;
  /**
   * Higher is tried first: cuda 40, tensorflow on a GPU 30, blas 20, wasm 10, tensorflow on a processor 5, cpu 0. Null: only when asked for by name. May
   * be another once the backend has started, and is asked for again then.
   */
  readonly priority: number | null;
  /** Looks, without starting anything or throwing. */
  probe(): Promise<BackendProbe>;
  /** Makes tfjs know the backend; called after a successful probe until it does not throw. */
  prepare(): Promise<void>;
  /** Why tfjs could not start it just now, where that is known: tfjs itself keeps the error to itself. */
  whyNotStarted?(): Promise<string | null>;
  /** What helps where it is there and does not run. */
  readonly repair?: string;
}
