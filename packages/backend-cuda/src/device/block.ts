/** @file A piece of device memory as those that use it see it. */

/** Work beside others (recording/asides.ts), as those see it that want what it writes. */
export interface Aside {
  readonly lane: number;
  /** In order of beginning. */
  readonly number: number;
  /** Whether what is launched from now on comes after it. */
  joined: boolean;
}

/** Device memory with a count of those who use it; a view of a tensor counts as one. */
export interface Block {
  readonly address: number;
  readonly bytes: number;
  /** The kernel that made it, for messages. */
  readonly by: string;
  users: number;
  /** Recorded steps that will look for it at its address: it is freed after the last of them too. */
  holds?: number;
  /** The block that this one is a part of. */
  readonly whole?: Block;
  /** The work beside others (recording/asides.ts) in which it was taken, and written. */
  aside?: Aside;
  /** The memory of recorded steps, where it is of that. */
  readonly arena?: { free(address: number): void };
}
