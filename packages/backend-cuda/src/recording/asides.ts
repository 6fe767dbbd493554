/**
 * @file Work that a recorded step does beside what it launches next: branches of its graph, as on streams of their own. What is small leaves most of a GPU
 * idle, and what nobody waits for need not be waited for.
 *
 * It begins after all that was launched before it. Whoever asks for the address of memory that was taken in it waits for it, and so does the end of the step.
 * Memory that is given back while it is under way is given back when it is waited for: it may still be read. A run that is watched keeps the same order
 * without streams, so that it needs the same memory. Work on one lane is done in order.
 */
import type { Aside, Block } from '../device/block.js';

/** 0: not beside, but in turn. */
export type Lane = 0 | 1 | 2 | 3 | 4;
/** The lane of what takes little memory and is waited for within its layer: it does not count among what is under way. */
export const LIGHT: Lane = 4;

/** The device, as far as lanes are concerned. */
export interface LaneHost {
  /** Where work is launched. */
  stream: number;
  /** Whose work is launched. */
  lane: number;
  laneStream(lane: number): number;
  fork(lane: number): void;
  recordLane(lane: number): number;
  awaitEvent(event: number): void;
  reuseEvent(event: number): void;
}

interface UnderWay extends Aside {
  /** Event of its end, of a captured run. */
  done: number;
}

/** What is begun while so many are under way waits for the first of them, so that memory does not pile up. */
const MOST = 4;
/**
 * Bytes given back and put off from which on the first of them is waited for. Nobody may ask for what it makes until the step ends: the gradients of adapters
 * of a last layer that has few rows are the optimizer's, and where no other layer is small enough to have work beside, all of the backward would be kept.
 */
const MOST_HELD = 2 ** 28;

export class Asides {
  readonly #device: LaneHost;
  readonly #captures: boolean;
  /** In order of beginning. */
  readonly #underWay: UnderWay[] = [];
  /** What is given back when no work is under way that began before it: up to `number`. */
  #held: { readonly number: number; readonly bytes: number; readonly giveBack: () => void }[] = [];
  #heldBytes = 0;
  #count = 0;
  /** Whose work is being launched. */
  current: Aside | null = null;

  /** @param captures whether the run is captured, not only watched. */
  constructor(device: LaneHost, captures: boolean) {
    this.#device = device;
    this.#captures = captures;
  }

  /** Whether anything is under way. */
  get any(): boolean {
    return this.#underWay.length > 0;
  }

  get #counted(): readonly UnderWay[] {
    return this.#underWay.filter((aside) => aside.lane !== LIGHT);
  }

  /** Does `work` beside what is launched after it, where it has a lane; within another's, as a part of that. */
  run<T>(lane: Lane, work: () => T): T {
    if (this.current || lane === 0) return work();
    while (lane !== LIGHT && this.#counted.length >= MOST) this.join(this.#counted[0]!);
    const device = this.#device;
    const main = device.stream;
    const aside: UnderWay = { lane, number: this.#count++, done: 0, joined: false };
    if (this.#captures) device.fork(lane);
    this.#underWay.push(aside);
    this.current = aside;
    device.lane = lane;
    if (this.#captures) device.stream = device.laneStream(lane);
    try {
      return work();
    } finally {
      if (this.#captures) aside.done = device.recordLane(lane);
      device.stream = main;
      device.lane = 0;
      this.current = null;
    }
  }

  /** What is launched from now on comes after `aside`, and after those before it on its lane. */
  join(aside: Aside): void {
    if (aside.joined || aside.lane === this.current?.lane) return;
    const { done } = aside as UnderWay;
    if (this.#captures) this.#device.awaitEvent(done);
    // The backend's stream has still to wait for it.
    if (this.current) return;
    this.#end(({ lane, number }) => lane === aside.lane && number <= aside.number);
  }

  /** What is launched from now on comes after all that was begun on a lane. */
  joinLane(lane: Lane): void {
    for (const aside of [...this.#underWay].reverse()) if (aside.lane === lane) this.join(aside);
  }

  joinAll(): void {
    for (const aside of [...this.#underWay].reverse()) this.join(aside);
  }

  /** Instead of `joinAll`, of a run that failed: of a capture nothing will be done, but its streams are to leave it together. */
  abandon(): void {
    try {
      this.joinAll();
    } catch {
      // What failed is known.
      this.#end(() => true);
    }
  }

  /** Whether `giveBack` of so many bytes is put off until nothing that is under way can read what it gives back; then it may have been done by now. */
  putOff(bytes: number, giveBack: () => void): boolean {
    if (!this.any) return false;
    this.#held.push({ number: this.#count - 1, bytes, giveBack });
    this.#heldBytes += bytes;
    while (this.#heldBytes > MOST_HELD && this.any && !this.current) this.join(this.#underWay[0]!);
    return true;
  }

  #end(which: (aside: UnderWay) => boolean): void {
    const left: UnderWay[] = [];
    for (const aside of this.#underWay) {
      if (!which(aside)) {
        left.push(aside);
        continue;
      }
      aside.joined = true;
      if (aside.done !== 0) this.#device.reuseEvent(aside.done);
    }
    this.#underWay.splice(0, this.#underWay.length, ...left);
    const oldest = left[0]?.number ?? this.#count;
    const free = this.#held.filter(({ number }) => number < oldest);
    this.#held = this.#held.filter(({ number }) => number >= oldest);
    for (const { bytes, giveBack } of free) {
      this.#heldBytes -= bytes;
      giveBack();
    }
  }
}

/** Marks memory as that of the work that is being launched. */
export const markBlock = (block: Block, asides: Asides | undefined): Block => {
  if (asides?.current) block.aside = asides.current;
  return block;
};
