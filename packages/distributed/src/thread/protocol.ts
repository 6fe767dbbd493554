/** @file What the caller's thread and the thread of the collective say to each other. */
import type { MessagePort } from 'node:worker_threads';
import type { Operation, Part, Result } from '../collective/room.js';
import type { DistributedErrorReason } from '../errors.js';
import type { Launch } from '../launcher/launch.js';
import type { Peer } from '../tcp/handshake.js';

/** Given to the thread at its start. */
export interface ThreadSetup {
  readonly launch: Launch;
  readonly host: string;
  readonly carrier: 'mpi' | 'tcp';
  /** Where ranks meet: given for TCP; 0 for any, which MPI tells the others. */
  readonly port: number;
  /** Milliseconds in which all ranks have to come. */
  readonly patience: number;
  /** Milliseconds from the end of a rank to that of this process, whatever it is doing. */
  readonly grace: number;
  readonly port2: MessagePort;
  /** One word, which counts the messages to the caller. */
  readonly counter: SharedArrayBuffer;
}

export type ToThread =
  | { readonly kind: 'call'; readonly id: number; readonly operation: Operation; readonly part: Part }
  /** This rank failed. */
  | { readonly kind: 'fail'; readonly message: string }
  /** The caller's thread knows of the end, and will end the process. */
  | { readonly kind: 'heard' }
  | { readonly kind: 'close' };

export interface PlainError {
  readonly reason: DistributedErrorReason;
  readonly message: string;
  /** The rank that is gone. */
  readonly lost?: number;
}

export type FromThread =
  | { readonly kind: 'ready'; readonly peers: readonly Peer[]; readonly carriedBy: string }
  | { readonly kind: 'refused'; readonly error: PlainError }
  | { readonly kind: 'result'; readonly id: number; readonly result: Result }
  | { readonly kind: 'error'; readonly id: number; readonly error: PlainError }
  /** A rank failed or is gone. */
  | { readonly kind: 'end'; readonly error: PlainError /** Whether the thread has said it. */; readonly said: boolean }
  | { readonly kind: 'closed' };

/** Which rank says what ended a run, so that it is said once. @param lost the rank that is gone. */
export const speakerOf = (lost: number | undefined): number => (lost === 0 ? 1 : 0);
