/** @file Where checkpoints live: a directory (`/node`), memory, or wherever a page may write. */

/** File contents by name. */
export type CheckpointFiles = ReadonlyMap<string, Uint8Array>;

export interface CheckpointEntry {
  readonly step: number;
  /** What `read` takes, and what messages show. */
  readonly location: string;
}

/** Where checkpoints live. */
export interface CheckpointStore {
  /** Where the checkpoint of a step lies, or will lie. */
  locate(step: number): string;
  /** Writes all files or, as far as anyone can see, none. @returns the location. */
  write(step: number, files: CheckpointFiles): Promise<string>;
  /** Complete checkpoints by ascending step, and what was found besides. */
  list(): Promise<{ readonly complete: readonly CheckpointEntry[]; readonly notices: readonly string[] }>;
  /** @throws TrainerError when it is incomplete or damaged. */
  read(location: string): Promise<CheckpointFiles>;
  remove(location: string): Promise<void>;
}
