/**
 * @file The operations of `Collective` on MPI, which only ever moves bytes: a sum is an exchange of parts, each rank's own sum of one of them in the
 * order of ranks, and a gather of the results; twice (N − 1) / N of the array go over the wire each way, as in the best of all-reduces, and the bits
 * are those of the plain one.
 *
 * Nothing blocks: an operation is moved on by looking whether it is through, between which the thread's other events have their turn. So a rank that
 * is gone ends an operation that would never be through.
 */
import type { Summable } from '../collective/collective.js';
import { sumInRankOrder } from '../collective/rank-order.js';
import type { Operation, Part, Result } from '../collective/room.js';
import { DistributedError } from '../errors.js';
import type { Mpi, Request } from './library.js';

/** Bytes up to which an array is sent whole to everybody: one way instead of two. */
const SMALL = 16_384;
/** Bytes of one call, whose counts are 32-bit integers. */
const MOST = 2 ** 30;
/** Looks at a request before the thread sleeps between two. */
const LOOKS = 50;

export class MpiExchange {
  readonly rank: number;
  readonly size: number;
  readonly #mpi: Mpi;
  #error: Error | null = null;
  #sleeps = new Int32Array(new SharedArrayBuffer(4));

  constructor(mpi: Mpi, { rank, size }: { readonly rank: number; readonly size: number }) {
    this.#mpi = mpi;
    this.rank = rank;
    this.size = size;
  }

  /** What runs, and all that comes, ends with it. */
  abort(error: Error): void {
    this.#error ??= error;
  }

  /** One at a time. @throws (by rejection) RangeError or DistributedError `mismatch` on all ranks alike; what it was given up with. */
  async call(operation: Operation, part: Part): Promise<Result> {
    const lengths = await this.#agree(operation, part);
    if (operation === 'barrier') return null;
    if (operation === 'allGather') return this.#gather(part as Uint8Array, lengths);
    if (operation.startsWith('broadcast'))
      return this.#broadcast(part as Uint8Array | null, Number(operation.slice(10)), lengths);
    return this.#sum(part as Summable);
  }

  /** Everybody says what it calls, with how many bytes. */
  async #agree(operation: Operation, part: Part): Promise<number[]> {
    const [kind, root] = operation.split(' ') as [string, string | undefined];
    const mine = Float64Array.of(KINDS.indexOf(kind), Number(root ?? 0), part?.byteLength ?? 0);
    const all = new Float64Array(3 * this.size);
    await this.#through(this.#mpi.allgather(bytesOf(mine), bytesOf(all), mine.byteLength));
    const lengths: number[] = [];
    for (let rank = 0; rank < this.size; rank++) {
      const [theirKind, theirRoot, length] = all.subarray(3 * rank, 3 * rank + 3) as unknown as [
        number,
        number,
        number,
      ];
      if (theirKind !== mine[0] || theirRoot !== mine[1]) {
        const theirs = theirKind === KINDS.indexOf('broadcast') ? `broadcast ${theirRoot}` : KINDS[theirKind];
        throw new DistributedError(
          'mismatch',
          `rank ${rank} calls ${theirs} where rank ${this.rank} calls ${operation}: ranks must call the same operations in the same order`,
        );
      }
      lengths.push(length);
    }
    const other = lengths.findIndex((length) => length !== lengths[0]);
    if (kind.startsWith('float') && other > 0) {
      throw new RangeError(`all-reduce: rank ${other} gave ${lengths[other]} bytes where rank 0 gave ${lengths[0]}`);
    }
    return lengths;
  }

  async #gather(part: Uint8Array, lengths: readonly number[]): Promise<Uint8Array[]> {
    const each = Math.max(...lengths);
    const results = lengths.map((length) => new Uint8Array(length));
    for (let from = 0; from < each; from += MOST) {
      const bytes = Math.min(MOST, each - from);
      const mine = new Uint8Array(bytes);
      mine.set(part.subarray(from, from + bytes));
      const all = new Uint8Array(bytes * this.size);
      await this.#through(this.#mpi.allgather(mine, all, bytes));
      results.forEach((result, rank) => {
        const length = Math.max(0, Math.min(bytes, result.length - from));
        result.set(all.subarray(rank * bytes, rank * bytes + length), from);
      });
    }
    return results;
  }

  async #broadcast(part: Uint8Array | null, root: number, lengths: readonly number[]): Promise<Uint8Array> {
    const bytes = root === this.rank ? part!.slice() : new Uint8Array(lengths[root]!);
    for (let from = 0; from < bytes.length; from += MOST) {
      await this.#through(this.#mpi.broadcast(bytes.subarray(from, from + MOST), root));
    }
    return bytes;
  }

  async #sum<T extends Summable>(values: T): Promise<T> {
    const { size } = this;
    const make = (length: number) => new (values.constructor as new (length: number) => T)(length);
    const most = Math.floor(MOST / values.BYTES_PER_ELEMENT);
    const result = make(values.length);
    for (let from = 0; from < values.length; from += most) {
      const piece = values.subarray(from, from + most) as T;
      const sum =
        piece.byteLength * size <= SMALL ? await this.#sumSmall(piece, make) : await this.#sumInParts(piece, make);
      result.set(sum, from);
    }
    return result;
  }

  async #sumSmall<T extends Summable>(values: T, make: (length: number) => T): Promise<T> {
    const mine = values.slice() as T;
    const all = make(values.length * this.size);
    await this.#through(this.#mpi.allgather(bytesOf(mine), bytesOf(all), mine.byteLength));
    return sumOfRows(all, this.size, mine);
  }

  async #sumInParts<T extends Summable>(values: T, make: (length: number) => T): Promise<T> {
    const { size } = this;
    const each = Math.ceil(values.length / size);
    const send = make(each * size);
    send.set(values);
    const parts = make(each * size);
    const bytes = each * values.BYTES_PER_ELEMENT;
    await this.#through(this.#mpi.alltoall(bytesOf(send), bytesOf(parts), bytes));
    const mine = sumOfRows(parts, size, make(each));
    await this.#through(this.#mpi.allgather(bytesOf(mine), bytesOf(send), bytes));
    return send.subarray(0, values.length) as T;
  }

  /** Looks again and again, ever less often: the processor is wanted by whoever computes. */
  async #through(request: Request): Promise<void> {
    for (let looks = 0; !request.test(); looks++) {
      if (this.#error) throw this.#error;
      if (looks >= LOOKS) Atomics.wait(this.#sleeps, 0, 0, Math.min(1, 0.05 * (looks - LOOKS)));
      await new Promise(setImmediate);
    }
    if (this.#error) throw this.#error;
  }
}

const KINDS: readonly string[] = ['barrier', 'allGather', 'broadcast', 'float32', 'float64'];

const bytesOf = (values: Summable): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** Of `rows` arrays that lie one after the other. */
function sumOfRows<T extends Summable>(all: T, rows: number, into: T): T {
  const length = all.length / rows;
  sumInRankOrder(
    Array.from({ length: rows }, (_, rank) => all.subarray(rank * length, (rank + 1) * length) as T),
    into,
  );
  return into;
}
