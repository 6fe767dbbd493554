/**
 * @file Several ranks in one process, plain: the oracle that other collectives are compared with, and a test's double. What a rank gives waits until
 * every rank has given its part of the same operation.
 */
import { DistributedError } from '../errors.js';
import type { Collective, Handle, Summable } from './collective.js';
import { sumInRankOrder } from './rank-order.js';

interface Meeting {
  readonly what: string;
  readonly parts: unknown[];
  come: number;
  readonly results: Promise<unknown[]>;
  settle(results: unknown[]): void;
  fail(error: unknown): void;
}

/** What the ranks share. */
class Room {
  /** Operations by their number in the order of calls. */
  readonly meetings: Meeting[] = [];
  error: Error | null = null;

  constructor(readonly size: number) {}

  /** Brings a rank's part; the last one to come makes the results, one for each rank. */
  async meet(
    rank: number,
    number: number,
    what: string,
    part: unknown,
    make: (parts: unknown[]) => unknown[],
  ): Promise<unknown> {
    if (this.error) throw this.error;
    this.meetings[number] ??= newMeeting(what);
    const meeting = this.meetings[number];
    if (meeting.what !== what) {
      const error = new DistributedError(
        'mismatch',
        `rank ${rank} calls ${what} where another rank calls ${meeting.what}: ranks must call the same operations in the same order`,
      );
      this.abort(error);
      throw error;
    }
    meeting.parts[rank] = part;
    if (++meeting.come === this.size) {
      try {
        meeting.settle(make(meeting.parts));
      } catch (error) {
        meeting.fail(error);
      }
    }
    return (await meeting.results)[rank];
  }

  abort(error: Error): void {
    this.error ??= error;
    for (const meeting of this.meetings) meeting.fail(this.error);
  }
}

function newMeeting(what: string): Meeting {
  let settle!: (results: unknown[]) => void;
  let fail!: (error: unknown) => void;
  const results = new Promise<unknown[]>((resolve, reject) => {
    settle = resolve;
    fail = reject;
  });
  // Whoever waits hears of it; where nobody does, it is no unhandled rejection.
  results.catch(() => {});
  return { what, parts: [], come: 0, results, settle, fail };
}

class LocalCollective implements Collective {
  readonly name = 'local';
  readonly size: number;
  #calls = 0;
  #open: Promise<unknown> = Promise.resolve();

  constructor(
    readonly room: Room,
    readonly rank: number,
  ) {
    this.size = room.size;
  }

  allReduce(values: Summable): Handle {
    return this.#begin('allReduce', values, (parts) => {
      const sum = values.slice();
      sumInRankOrder(parts as Summable[], sum);
      for (const part of parts as Summable[]) part.set(sum);
      return parts.map(() => undefined);
    });
  }

  allGather(bytes: Uint8Array): Handle<Uint8Array[]> {
    return this.#begin('allGather', bytes, (parts) =>
      parts.map(() => (parts as Uint8Array[]).map((part) => part.slice())),
    );
  }

  broadcast(bytes: Uint8Array | null, root = 0): Handle<Uint8Array> {
    return this.#begin(`broadcast of rank ${root}`, bytes, (parts) =>
      parts.map(() => (parts[root] as Uint8Array).slice()),
    );
  }

  barrier(): Handle {
    return this.#begin('barrier', undefined, (parts) => parts.map(() => undefined));
  }

  abort(error: Error): void {
    this.room.abort(error);
  }

  async close(): Promise<void> {
    await this.#open;
  }

  #begin<T>(what: string, part: unknown, make: (parts: unknown[]) => unknown[]): Handle<T> {
    const done = this.room.meet(this.rank, this.#calls++, what, part, make) as Promise<T>;
    this.#open = done.catch(() => {});
    return {
      done,
      wait() {
        throw new RangeError('ranks of one thread cannot wait for each other by blocking it: await done');
      },
    };
  }
}

/** Ranks in this thread, by number. */
export function localCollectives(size: number): Collective[] {
  const room = new Room(size);
  return Array.from({ length: size }, (_, rank) => new LocalCollective(room, rank));
}
