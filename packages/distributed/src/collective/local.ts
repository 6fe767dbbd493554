/** @file Several ranks in one process, plain: the oracle that other collectives are compared with, and a test's double. */
import type { Collective, Handle, Summable } from './collective.js';
import { type Operation, type Part, type Result, Room, sumOperation } from './room.js';

class LocalCollective implements Collective {
  readonly name = 'local';
  readonly size: number;
  readonly #room: Room;
  #calls = 0;
  #open: Promise<unknown> = Promise.resolve();

  constructor(
    room: Room,
    readonly rank: number,
  ) {
    this.#room = room;
    this.size = room.size;
  }

  allReduce(values: Summable): Handle {
    return this.#begin(sumOperation(values), values, (sum) => values.set(sum as Summable));
  }

  allGather(bytes: Uint8Array): Handle<Uint8Array[]> {
    return this.#begin('allGather', bytes, (all) => (all as Uint8Array[]).map((part) => part.slice()));
  }

  broadcast(bytes: Uint8Array | null, root = 0): Handle<Uint8Array> {
    return this.#begin(`broadcast ${root}`, bytes, (of) => (of as Uint8Array).slice());
  }

  barrier(): Handle {
    return this.#begin('barrier', null, () => undefined);
  }

  abort(error: Error): void {
    this.#room.abort(error);
  }

  async close(): Promise<void> {
    await this.#open;
  }

  #begin<T>(operation: Operation, part: Part, take: (result: Result) => T): Handle<T> {
    const done = this.#room.meet(this.rank, this.#calls++, operation, part).then(take);
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
