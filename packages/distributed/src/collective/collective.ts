/**
 * @file What several processes ("ranks", numbered from 0) do together: sums, gathers, broadcasts, barriers. The narrow interface that MPI, NCCL,
 * TCP, and the plain one of a single process (`local.ts`, the oracle) have in common; the names are MPI's and NCCL's.
 *
 * Every rank calls the same operations in the same order. An operation begins when it is called and goes on beside the caller's own work; what
 * it is given must not be touched until it is over.
 */
import type * as tf from '@tensorflow/tfjs';

/** What carries the values. */
export type CollectiveName = 'alone' | 'local' | 'tcp' | 'mpi' | 'nccl';

/** What can be summed: element by element, in the array's own precision. */
export type Summable = Float32Array | Float64Array;

/** An operation that has begun. */
export interface Handle<T = void> {
  /** @throws DistributedError (by rejection) when the group was given up. */
  readonly done: Promise<T>;
  /**
   * Blocks this thread until it is over: for code that cannot wait otherwise, as between the ops of a forward pass.
   * @throws DistributedError as `done`; RangeError where nothing could go on meanwhile (ranks in one thread).
   */
  wait(): T;
}

/** Ranks that exchange values of the host. */
export interface Collective {
  readonly name: CollectiveName;
  /** From 0. */
  readonly rank: number;
  readonly size: number;
  /**
   * Sums over ranks, in place. Always added in the order of ranks, ((r0 + r1) + r2) + …, so every rank has the same bits in every run.
   * @throws RangeError where ranks give arrays of other lengths.
   */
  allReduce(values: Summable): Handle;
  /** Everybody's bytes, by rank; lengths may differ. The results are copies. */
  allGather(bytes: Uint8Array): Handle<Uint8Array[]>;
  /** The root's bytes; what others give is not looked at. */
  broadcast(bytes: Uint8Array | null, root?: number): Handle<Uint8Array>;
  /** Over when every rank has called it. */
  barrier(): Handle;
  /** Gives everything up: what runs and what comes rejects with `error`, here and, as soon as they hear of it, on the other ranks. Once is enough. */
  abort(error: Error): void;
  /** Waits for all that has begun, then lets go of sockets, threads and libraries. The other ranks are not told that anything failed. */
  close(): Promise<void>;
}

/** A sum of tensors that has begun. */
export interface TensorHandle {
  /**
   * The sums, in order, owned by the caller. A device's work that is launched after this sees them, and the host does not wait; a host's
   * collective blocks the thread.
   */
  wait(): readonly tf.Tensor[];
  /** The same, without blocking the thread. Call one of the two, once. */
  done(): Promise<readonly tf.Tensor[]>;
}

/** Ranks that sum tensors of the active backend. */
export interface TensorCollective {
  readonly name: CollectiveName;
  readonly rank: number;
  readonly size: number;
  /** Whether sums may be begun in a step that the backend records (`StepRecorder` of sparse-ops). */
  readonly records: boolean;
  /**
   * Begins to sum over ranks. Takes the float32 tensors over, whether or not it succeeds: they are summed in place where the backend can, and given
   * back where not.
   */
  allReduce(tensors: readonly tf.Tensor[]): TensorHandle;
  /** As of `Collective`. */
  abort(error: Error): void;
  close(): Promise<void>;
}

/** The ranks of a run: who this one is, and both ways to exchange values. */
export interface ProcessGroup {
  readonly rank: number;
  readonly size: number;
  /** Number of this process among those of its host. */
  readonly localRank: number;
  /** Processes on this host. */
  readonly localSize: number;
  readonly host: Collective;
  /** Of the active backend; a host's collective underneath where there is nothing better. */
  readonly tensors: TensorCollective;
  abort(error: Error): void;
  close(): Promise<void>;
}
