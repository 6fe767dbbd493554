/**
 * @file Where the parts of an operation meet: what a rank gives waits until every rank has given its part of the same operation; the last one makes
 * the results. In one process (`local.ts`), and in that of rank 0 for ranks that come by TCP (`tcp/star.ts`).
 */
import { DistributedError } from '../errors.js';
import type { Summable } from './collective.js';
import { sumInRankOrder } from './rank-order.js';

/** What is called; ranks must call the same. `float32` and `float64` are sums. */
export type Operation = 'float32' | 'float64' | 'allGather' | 'barrier' | `broadcast ${number}`;

/** What a rank gives, and what it gets: a sum its sum, a gather everybody's, a broadcast the root's. */
export type Part = Summable | Uint8Array | null;
export type Result = Summable | readonly Uint8Array[] | Uint8Array | null;

export function sumOperation(values: Summable): Operation {
  return values instanceof Float32Array ? 'float32' : 'float64';
}

/** Results are shared by the ranks, which do not write to them. */
function resultOf(operation: Operation, parts: readonly Part[]): Result {
  if (operation === 'barrier') return null;
  if (operation === 'allGather') return parts.map((part) => (part as Uint8Array).slice());
  if (operation.startsWith('broadcast')) return (parts[Number(operation.slice(10))] as Uint8Array).slice();
  const sum = (parts[0] as Summable).slice();
  sumInRankOrder(parts as Summable[], sum);
  return sum;
}

interface Meeting {
  readonly operation: Operation;
  readonly first: number;
  readonly parts: Part[];
  come: number;
  readonly result: Promise<Result>;
  settle(result: Result): void;
  fail(error: unknown): void;
}

export class Room {
  /** Operations that wait, by their number in the order of calls. */
  readonly #meetings = new Map<number, Meeting>();
  #error: Error | null = null;

  constructor(readonly size: number) {}

  /**
   * Brings a rank's part of the operation of this number.
   * @throws (by rejection) RangeError, DistributedError with reason `mismatch`, or what the room was given up with.
   */
  async meet(rank: number, number: number, operation: Operation, part: Part): Promise<Result> {
    if (this.#error) throw this.#error;
    let meeting = this.#meetings.get(number);
    if (meeting === undefined) {
      meeting = newMeeting(operation, rank);
      this.#meetings.set(number, meeting);
    }
    if (meeting.operation !== operation) {
      this.abort(
        new DistributedError(
          'mismatch',
          `rank ${rank} calls ${operation} where rank ${meeting.first} calls ${meeting.operation}: ranks must call the same operations in the same order`,
        ),
      );
      throw this.#error!;
    }
    meeting.parts[rank] = part;
    if (++meeting.come === this.size) {
      this.#meetings.delete(number);
      try {
        meeting.settle(resultOf(operation, meeting.parts));
      } catch (error) {
        meeting.fail(error);
      }
    }
    return meeting.result;
  }

  /** Ranks that have not come to the operations that others wait for. */
  missing(): number[] {
    const missing = new Set<number>();
    for (const { parts } of this.#meetings.values()) {
      for (let rank = 0; rank < this.size; rank++) if (!(rank in parts)) missing.add(rank);
    }
    return [...missing].sort((a, b) => a - b);
  }

  abort(error: Error): void {
    this.#error ??= error;
    for (const meeting of this.#meetings.values()) meeting.fail(this.#error);
    this.#meetings.clear();
  }
}

function newMeeting(operation: Operation, first: number): Meeting {
  let settle!: (result: Result) => void;
  let fail!: (error: unknown) => void;
  const result = new Promise<Result>((resolve, reject) => {
    settle = resolve;
    fail = reject;
  });
  // Whoever waits hears of it; where nobody does, it is no unhandled rejection.
  result.catch(() => {});
  return { operation, first, parts: [], come: 0, result, settle, fail };
}
