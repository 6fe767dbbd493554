/**
 * @file The other processes of a run, as far as the loop is concerned: who this one is among them, and how values are exchanged. A `ProcessGroup` of
 * `@spft/distributed` is one; the loop knows nothing of what carries the values.
 *
 * Every rank goes through the same loop with the same state and calls everything here in the same order. Micro-batch n of a step is rank n modulo
 * size's, as with transformers' Trainer, so a step of N ranks is that of one process with N times the accumulation.
 */
import type * as tf from '@tensorflow/tfjs';

/** A sum that has begun. */
export interface PendingSum {
  /** The sums, owned by the caller; blocks where the values are the host's. */
  wait(): readonly tf.Tensor[];
  /** The same without blocking. */
  done(): Promise<readonly tf.Tensor[]>;
}

export interface Ranks {
  readonly rank: number;
  readonly size: number;
  readonly host: {
    /** Everybody's bytes, by rank. */
    allGather(bytes: Uint8Array): { readonly done: Promise<Uint8Array[]> };
    /** The root's bytes. */
    broadcast(bytes: Uint8Array | null, root?: number): { readonly done: Promise<Uint8Array> };
  };
  readonly tensors: {
    /** Whether sums may be part of a recorded step. */
    readonly records: boolean;
    /** Begins to sum over ranks; takes the tensors over. */
    allReduce(tensors: readonly tf.Tensor[]): PendingSum;
  };
}

/** What every rank has to say, by rank. Numbers that JSON has no word for are for the caller to spell. */
export async function gatherJson<T>(ranks: Ranks, value: T): Promise<T[]> {
  const all = await ranks.host.allGather(new TextEncoder().encode(JSON.stringify(value))).done;
  return all.map((bytes) => JSON.parse(new TextDecoder().decode(bytes)) as T);
}

/** What rank 0 has to say. @param value made on rank 0 alone. */
export async function broadcastJson<T>(ranks: Ranks, value: () => T | Promise<T>): Promise<T> {
  const mine = ranks.rank === 0 ? new TextEncoder().encode(JSON.stringify(await value())) : null;
  return JSON.parse(new TextDecoder().decode(await ranks.host.broadcast(mine).done)) as T;
}

/** Those of `items` that are this rank's: every size-th, from the rank-th on. */
export function ownOf<T>(
  items: readonly T[],
  ranks: Pick<Ranks, 'rank' | 'size'> | null,
): { item: T; index: number }[] {
  const { rank, size } = ranks ?? { rank: 0, size: 1 };
  return items.flatMap((item, index) => (index % size === rank ? [{ item, index }] : []));
}
