/**
 * @file All ranks around rank 0, on TCP: operations that meet in its room, signs of life, and the news that a rank failed or is gone, which reaches
 * everybody at once. The plain collective that needs nothing but sockets; beside MPI and NCCL it tells who lives.
 */

import { type Operation, type Part, type Result, Room } from '../collective/room.js';
import { DistributedError } from '../errors.js';
import type { Membership, Peer } from './handshake.js';
import { type Door, knock, type Link, type MeetingPlace } from './rendezvous.js';
import type { Message } from './wire.js';

export interface StarOptions {
  /** Milliseconds between signs of life. */
  readonly beat: number;
  /** Milliseconds of silence after which a rank counts as gone. */
  readonly silence: number;
}

const STAR_OPTIONS: StarOptions = { beat: 2000, silence: 20_000 };

/** `rank 2 (process 4711 on node-b)`. */
export const nameOf = ({ rank, host, pid }: Peer): string => `rank ${rank} (process ${pid} on ${host})`;

const ARRAYS = { float32: Float32Array, float64: Float64Array } as const;

export class Star {
  readonly rank: number;
  readonly size: number;
  /** All ranks, by number. */
  readonly peers: readonly Peer[];
  readonly #room: Room | null;
  readonly #links: readonly Link[];
  /** Of a rank that waits for rank 0: operations by number. */
  readonly #waiting = new Map<
    number,
    { operation: Operation; resolve(result: Result): void; reject(error: Error): void }
  >();
  readonly #goodbyes = new Set<number>();
  readonly #timer: ReturnType<typeof setInterval>;
  #onEnd: (error: DistributedError, lost: number | undefined) => void = () => {};
  #lost: number | undefined;
  #calls = 0;
  #error: DistributedError | null = null;
  #closing = false;

  private constructor(me: Peer, peers: readonly Peer[], links: readonly Link[], options: StarOptions) {
    this.rank = me.rank;
    this.size = peers.length;
    this.peers = peers;
    this.#links = links;
    this.#room = me.rank === 0 ? new Room(peers.length) : null;
    for (const link of links) void this.#listen(link);
    this.#timer = setInterval(() => this.#beat(options.silence), options.beat);
  }

  /** Rank 0's. @param door is closed. @throws DistributedError as `Door.receive`. */
  static async receive(
    door: Door,
    me: Peer,
    membership: Membership,
    patience: number,
    options = STAR_OPTIONS,
  ): Promise<Star> {
    const links = await door.receive(membership, patience);
    const peers = [me, ...links.map(({ peer }) => peer)];
    for (const { wire } of links) wire.send({ kind: 'ready', peers });
    return new Star(me, peers, links, options);
  }

  /** Any other rank's. @throws DistributedError as `knock`, and when rank 0 ends before all have come. */
  static async join(place: MeetingPlace, me: Peer, options = STAR_OPTIONS): Promise<Star> {
    const link = await knock(place, me);
    let ready: Message;
    try {
      ready = await link.wire.next();
    } catch {
      throw new DistributedError('rendezvous', 'rank 0 ended before all ranks had come');
    }
    const peers = ready.header.peers as Peer[];
    return new Star(me, peers, [{ ...link, peer: peers[0]! }], options);
  }

  /** @param listener is told once, when a rank has failed or is gone: why, and which one is gone. */
  onEnd(listener: (error: DistributedError, lost: number | undefined) => void): void {
    this.#onEnd = listener;
    if (this.#error) listener(this.#error, this.#lost);
  }

  /** An operation; the result is this rank's own to keep. @throws (by rejection) what ended the group. */
  call(operation: Operation, part: Part): Promise<Result> {
    if (this.#error) return Promise.reject(this.#error);
    const number = this.#calls++;
    if (this.#room) {
      const result = this.#room.meet(0, number, operation, part);
      result.catch((error: Error) => this.#failIfMine(error));
      this.#lookForLeft();
      // The others' are sent from the same array.
      return heardOf(result.then((all) => (ArrayBuffer.isView(all) ? all.slice() : all)));
    }
    const result = new Promise<Result>((resolve, reject) => {
      this.#waiting.set(number, { operation, resolve, reject });
      this.#links[0]!.wire.send({ kind: 'call', number, operation }, part ?? new Uint8Array(0));
    });
    return heardOf(result);
  }

  /** Tells all ranks that this one failed, and ends. */
  async fail(message: string): Promise<void> {
    if (this.#error || this.#closing) return;
    const me = this.peers[this.rank]!;
    this.#tell({ kind: 'failed', from: this.rank, message });
    this.#stop(new DistributedError('failed', `${nameOf(me)}: ${message}`));
    await this.#hangUp();
  }

  /** Leaves, without harm to the others, who may still work without this one. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    if (!this.#error) this.#tell({ kind: 'bye', from: this.rank });
    await this.#hangUp();
  }

  /** Breaks all connections without a word, as the system does for a process that dies. */
  abandon(): void {
    this.#closing = true;
    clearInterval(this.#timer);
    for (const { wire } of this.#links) wire.destroy();
  }

  async #hangUp(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#timer);
    await Promise.all(this.#links.map(({ wire }) => wire.end()));
    // What was sent is with the system; the other side may take its time to close.
    for (const { wire } of this.#links) setTimeout(() => wire.destroy(), 2000).unref();
  }

  #tell(header: Readonly<Record<string, unknown>>, except?: number): void {
    for (const { peer, wire } of this.#links) if (peer.rank !== except) wire.send(header);
  }

  async #listen(link: Link): Promise<void> {
    try {
      for (;;) this.#take(link, await link.wire.next());
    } catch {
      this.#gone(link, 'has ended');
    }
  }

  #take({ peer, wire }: Link, { header, body }: Message): void {
    switch (header.kind) {
      case 'call': {
        const [number, operation] = [Number(header.number), header.operation as Operation];
        const part = operation in ARRAYS ? new ARRAYS[operation as 'float32'](body.buffer) : body;
        this.#room!.meet(peer.rank, number, operation, part).then(
          (result) => this.#answer(wire, number, result),
          (error: Error) => this.#failIfMine(error),
        );
        this.#lookForLeft();
        return;
      }
      case 'result': {
        const number = Number(header.number);
        const waiting = this.#waiting.get(number)!;
        this.#waiting.delete(number);
        waiting.resolve(madeOf(waiting.operation, body, header.lengths as number[] | undefined));
        return;
      }
      case 'failed':
      case 'lost':
        this.#heard(header, peer.rank);
        return;
      case 'bye':
        this.#goodbyes.add(peer.rank);
        this.#lookForLeft();
        return;
      default:
        // A sign of life.
        return;
    }
  }

  #answer(wire: Link['wire'], number: number, result: Result): void {
    const header = { kind: 'result', number };
    if (result === null) wire.send(header);
    else if (ArrayBuffer.isView(result)) wire.send(header, result);
    else wire.send({ ...header, lengths: result.map(({ length }) => length) }, Buffer.concat(result));
  }

  /** A rank has failed, or is gone, as another one says. */
  #heard(header: Readonly<Record<string, unknown>>, by: number): void {
    if (this.#error) return;
    if (this.#room) this.#tell(header, by);
    const from = this.peers[Number(header.from)]!;
    const reason = header.kind === 'lost' ? 'lost' : 'failed';
    const message = reason === 'lost' ? String(header.message) : `${nameOf(from)}: ${header.message}`;
    this.#stop(new DistributedError(reason, message), reason === 'lost' ? from.rank : undefined);
  }

  /** What ranks call does not fit together: the room knows it, so all are told. */
  #failIfMine(error: Error): void {
    if (this.#error) return;
    this.#tell({ kind: 'failed', from: 0, message: error.message });
    this.#stop(
      error instanceof DistributedError ? error : new DistributedError('mismatch', error.message, { cause: error }),
    );
  }

  #gone({ peer }: Link, how: string): void {
    if (this.#closing || this.#error || this.#goodbyes.has(peer.rank)) {
      this.#lookForLeft();
      return;
    }
    this.#lose(peer, how);
  }

  #lose(peer: Peer, how: string): void {
    const message = `${nameOf(peer)} ${how}: all ranks end. Look at what that process said, if it could`;
    if (this.#room) this.#tell({ kind: 'lost', from: peer.rank, message }, peer.rank);
    this.#stop(new DistributedError('lost', message), peer.rank);
  }

  /** Somebody waits for a rank that has said goodbye. */
  #lookForLeft(): void {
    if (this.#error || this.#closing) return;
    const awaited = this.#room ? this.#room.missing() : this.#waiting.size > 0 ? [0] : [];
    const left = awaited.find((rank) => this.#goodbyes.has(rank));
    if (left !== undefined) this.#lose(this.peers[left]!, 'left while others wait for it');
  }

  #beat(silence: number): void {
    this.#tell({ kind: 'beat' });
    const now = performance.now();
    for (const { peer, wire } of this.#links) {
      if (this.#goodbyes.has(peer.rank) || now - wire.heardAt < silence) continue;
      this.#gone({ peer, wire }, `has not been heard of for ${Math.round(silence / 1000)} s`);
      return;
    }
  }

  #stop(error: DistributedError, lost?: number): void {
    if (this.#error) return;
    this.#error = error;
    this.#lost = lost;
    this.#room?.abort(error);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#onEnd(error, lost);
  }
}

/** Whoever waits hears of an error; where nobody does, it is no unhandled rejection, as the group's end is told besides. */
function heardOf<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** What rank 0 has sent as bytes. */
function madeOf(operation: Operation, body: Uint8Array<ArrayBuffer>, lengths?: readonly number[]): Result {
  if (operation === 'barrier') return null;
  if (operation in ARRAYS) return new ARRAYS[operation as 'float32'](body.buffer);
  if (!lengths) return body;
  let end = 0;
  return lengths.map((length) => {
    end += length;
    return body.subarray(end - length, end);
  });
}
