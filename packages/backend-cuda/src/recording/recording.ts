/**
 * @file One run of a step under observation: watched, when its calls and allocations are noted while they are done, or captured, when they
 * become a graph and nothing is done yet. Device, memory and backend ask it what a captured run must not do as usual.
 */
import type { Block } from '../device/block.js';
import type { TensorData } from '../storage.js';
import type { Arena } from './arena.js';
import { Asides, type LaneHost } from './asides.js';
import { Counters } from './counters.js';
import { LaunchLog } from './launch-log.js';

/** A step cannot be captured as it is; the message says what it did. It is run by the host instead. */
export class CaptureError extends Error {
  readonly code = 'SPFT_CUDA_CAPTURE';
  override readonly name = 'CaptureError';
}

/** Bytes that a captured step uploads, the same at each launch: tables of addresses. */
export interface FixedBytes {
  /** From the begin of the memory that holds all of them. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export class Recording {
  readonly log = new LaunchLog();
  /** Work beside what is launched after it. */
  readonly asides: Asides;
  readonly #trace: number[] = [];
  readonly #places = new Map<Block, number>();
  /** Of a captured run. */
  readonly fixed: FixedBytes[] = [];
  /** Of either. */
  fixedBytes = 0;
  /** Tensors that were there before, and the memory in which the graph will look for them. */
  readonly touched = new Map<TensorData, Block>();
  /** Of a captured run: views that it made of such tensors. They end with the step, and their memory is found by the tensor they are of. */
  readonly views = new WeakSet<TensorData>();
  /** The same of what is derived from a tensor, by name. */
  readonly derived: { readonly data: TensorData; readonly name: string; readonly block: Block }[] = [];
  /** What was freed meanwhile and is not the graph's. */
  readonly freed: Block[] = [];

  /**
   * @param inputs the step's arrays, and where they lie.
   * @param arena where a captured run's tensors go; null for a run that is watched.
   * @param fixedAt memory for what a captured run uploads, of `fixedRoom` bytes.
   * @param counters workspaces of its products.
   */
  constructor(
    device: LaneHost,
    readonly inputs: ReadonlyMap<ArrayBufferView, Block>,
    readonly arena: Arena | null,
    readonly fixedAt = 0,
    readonly fixedRoom = 0,
    readonly counters = new Counters(),
  ) {
    this.asides = new Asides(device, arena !== null);
  }

  get capturing(): boolean {
    return this.arena !== null;
  }

  /** Whether a watched run did something for the first time, as it must not be done in a captured one: it says nothing of the next run's memory. */
  didAnew = false;

  /** What happens once, or must not happen at all in a step that is recorded. @throws CaptureError in a captured run. */
  refuse(what: string): void {
    if (this.arena) throw new CaptureError(what);
    this.didAnew = true;
  }

  /** What must not happen in a captured run, and is nothing to a watched one: the next does without it, and with the same memory. @throws CaptureError. */
  refuseCaptured(what: string): void {
    if (this.arena) throw new CaptureError(what);
  }

  /** Of a watched run: whether memory was taken in it, so that what lies there is not from before. */
  took(block: Block): boolean {
    return this.#places.has(block);
  }

  /** Of a watched run: notes an allocation. */
  allocated(block: Block): void {
    this.#places.set(block, this.#places.size);
    this.#trace.push(block.bytes);
  }

  /**
   * What a captured run will allocate and free: without what stays and is made only once (what is derived from variables).
   * @param results of the step, which stay too and are made anew in each.
   */
  trace(results: readonly (Block | null)[]): number[] {
    const stays = new Map([...this.#places].map(([block, place]) => [place, block]));
    for (const entry of this.#trace) if (entry < 0) stays.delete(-1 - entry);
    for (const block of results) if (block) stays.delete(this.#places.get(block) ?? -1);
    const trace: number[] = [];
    const places = new Map<number, number>();
    let next = 0;
    for (const entry of this.#trace) {
      if (entry < 0) trace.push(-1 - places.get(-1 - entry)!);
      else if (!stays.has(next++)) {
        places.set(next - 1, places.size);
        trace.push(entry);
      }
    }
    return trace;
  }

  /** Of a watched run. */
  released(block: Block): void {
    const place = this.#places.get(block);
    if (place !== undefined) this.#trace.push(-1 - place);
  }

  /** Of a captured run: memory of the graph. */
  allocate(bytes: number, by: string): Block {
    const arena = this.arena!;
    const address = arena.allocate(bytes);
    if (address === null) throw new CaptureError('it needed more memory than in the run before');
    return { address, bytes, by, users: 1, arena };
  }

  /** Takes `bytes` that are uploaded once; where they will be. */
  fix(bytes: Uint8Array): number {
    const offset = this.fixedBytes;
    this.fixedBytes += Math.ceil(bytes.byteLength / 256) * 256;
    if (!this.arena) return 0;
    if (this.fixedBytes > this.fixedRoom) throw new CaptureError('it uploaded more than in the run before');
    this.fixed.push({ offset, bytes: bytes.slice() });
    return this.fixedAt + offset;
  }
}
