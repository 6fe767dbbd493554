/**
 * @file Whether a run is to stop early, as its signal says: on several ranks one that hears a signal must not leave the others alone with a step, so all
 * stop after the same one.
 */
import type { Ranks } from './ranks.js';

export class StopVote {
  readonly #ranks: Ranks | null;
  readonly #signal: AbortSignal | undefined;
  readonly #atOnce: boolean;
  #pending: Promise<Uint8Array[]> | null = null;

  /**
   * @param atOnce whether a step waits for the vote after it; else for that after the step before, whose answer is there by then, so that nobody
   * waits for anybody.
   */
  constructor(ranks: Ranks | null, signal: AbortSignal | undefined, atOnce: boolean) {
    this.#ranks = ranks;
    this.#signal = signal;
    this.#atOnce = atOnce;
  }

  /** Called on all ranks after every step. */
  async agreed(): Promise<boolean> {
    const mine = this.#signal?.aborted ?? false;
    if (this.#ranks === null) return mine;
    const before = this.#pending;
    const now = this.#ranks.host.allGather(Uint8Array.of(mine ? 1 : 0)).done;
    // Heard of with the next operation, where the group ends meanwhile.
    now.catch(() => {});
    this.#pending = now;
    const votes = this.#atOnce ? await now : await before;
    return votes?.some(([vote]) => vote === 1) ?? false;
  }
}
