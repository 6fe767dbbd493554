/**
 * @file The ranks of a run as NCCL connects them, and their collectives on a stream of their own beside the backend's.
 *
 * What a collective reads was launched before it on the backend's stream, and what comes after `join` sees what it wrote: two events, which a captured
 * step takes over as edges of its graph. All collectives are on one stream, so every rank has them in the order of its calls, which must be the same.
 *
 * Nothing blocks inside NCCL: a call that is not over is polled, with a limit, so that a rank that never comes is an error and not a process that hangs.
 * A failed communicator is aborted, which ends its kernels too.
 */
import { type Device, loadFrom } from '../device/device.js';
import { CudaUnavailableError, NcclError } from '../errors.js';
import { refuseUnknownOptions } from '../known-options.js';
import { callAside, endProcess, HostMemory, type NativeFunction } from '../libraries/native.js';
import {
  bindNccl,
  NCCL_IN_PROGRESS,
  NCCL_OPERATION,
  NCCL_SUCCESS,
  NCCL_TYPE,
  type Nccl,
  type NcclFunctionName,
  type NcclOperation,
  type NcclType,
  nonBlockingConfig,
  UNIQUE_ID_BYTES,
} from '../libraries/nccl.js';

export interface ConnectOptions {
  /** Of `uniqueId` on one rank, the same on all. */
  readonly id: Uint8Array;
  /** From 0. */
  readonly rank: number;
  readonly size: number;
  /** How long ranks wait for each other, and a call for its end; default 600. */
  readonly seconds?: number;
  /** Thread blocks that a collective takes at most: fewer leave more of the GPU to what runs beside it. NCCL's choice by default. */
  readonly blocks?: number;
  /** Asked while something is waited for: an error that ends the wait, such as a rank that is no more. */
  readonly failure?: () => Error | null;
}

const NAMES = { id: true, rank: true, size: true, seconds: true, blocks: true, failure: true } as const;

/** Where to find NCCL, for messages. */
export const NCCL_HINT =
  'pip install nvidia-nccl-cu13 (or -cu12, as the driver is), install libnccl2, or set SPFT_NCCL_PATH to the library or its folder';

let loaded: Nccl | null = null;

/** @throws CudaUnavailableError where there is none, or one too old. */
export function loadNccl(): Nccl {
  try {
    loaded ??= loadFrom('nccl', bindNccl, 'NCCL (libnccl.so.2) was not found').loaded;
    return loaded;
  } catch (error) {
    throw error instanceof CudaUnavailableError && error.hint === undefined
      ? new CudaUnavailableError(error.message, NCCL_HINT)
      : error;
  }
}

/** What one rank makes and gives to the others, to `connect` with. */
export function uniqueId(): Uint8Array {
  const { functions, describe } = loadNccl();
  const { memory } = new HostMemory(UNIQUE_ID_BYTES);
  const status = functions.ncclGetUniqueId(memory);
  if (status !== NCCL_SUCCESS) throw new NcclError('ncclGetUniqueId', status, describe(status));
  return Uint8Array.from(memory);
}

/** So often a call that is not over is asked at once, before the thread sleeps in between. */
const EAGER_POLLS = 2000;
const sleeper = new Int32Array(new SharedArrayBuffer(4));
/** Before others on the GPU: what waits for a collective is the step. */
const HIGH_PRIORITY = -8;

/** Devices that may be busy for ever; asked when the process ends. */
const abandoned = new Set<Device>();

function endWithoutWaiting(device: Device): void {
  if (abandoned.size === 0) {
    process.on('exit', (code) => {
      if ([...abandoned].some((each) => each.abandoned)) endProcess(code);
    });
  }
  abandoned.add(device);
}

export class Communicator {
  /** Collectives are on it. */
  readonly stream: number;
  readonly rank: number;
  readonly size: number;
  readonly version: string;
  readonly #device: Device;
  readonly #nccl: Nccl;
  readonly #seconds: number;
  readonly #failure: () => Error | null;
  readonly #begun: number;
  readonly #events: number[] = [];
  readonly #state = new HostMemory(4);
  #handle: number;
  #grouped = false;

  private constructor(device: Device, nccl: Nccl, handle: number, options: ConnectOptions) {
    this.#device = device;
    this.#nccl = nccl;
    this.#handle = handle;
    this.#seconds = options.seconds ?? 600;
    this.#failure = options.failure ?? (() => null);
    this.rank = options.rank;
    this.size = options.size;
    this.version = nccl.version;
    this.stream = device.handle('cuStreamCreateWithPriority', 1, HIGH_PRIORITY);
    this.#begun = device.handle('cuEventCreate', 2);
  }

  /**
   * Resolves when all ranks have come.
   * @throws CudaUnavailableError without NCCL, NcclError where they do not connect, or what `failure` says.
   */
  static async connect(device: Device, options: ConnectOptions): Promise<Communicator> {
    refuseUnknownOptions('connect', options, NAMES);
    const { id, rank, size } = options;
    if (id.length !== UNIQUE_ID_BYTES)
      throw new RangeError(`connect: the id has ${id.length} bytes, wanted ${UNIQUE_ID_BYTES}`);
    const nccl = loadNccl();
    const { memory } = new HostMemory(8);
    const init = nccl.functions.ncclCommInitRankConfig as unknown as (...args: unknown[]) => number;
    const status = init(memory, size, { bytes: id }, rank, nonBlockingConfig(options.blocks));
    if (status !== NCCL_SUCCESS && status !== NCCL_IN_PROGRESS) {
      throw new NcclError('ncclCommInitRankConfig', status, nccl.describe(status));
    }
    const made = new Communicator(device, nccl, Number(memory.readBigUInt64LE(0)), options);
    try {
      const until = performance.now() + 1000 * made.#seconds;
      while (made.#poll('ncclCommInitRankConfig', until)) await new Promise((resolve) => setTimeout(resolve, 2));
      device.waiting = () => made.check();
      return made;
    } catch (error) {
      made.abort();
      throw error;
    }
  }

  /** Whether collectives can be asked for: not after `abort` or `close`. */
  get isOpen(): boolean {
    return this.#handle !== 0;
  }

  /** @throws NcclError for what went wrong meanwhile, and what `failure` says; then it is aborted. */
  check(): void {
    if (!this.isOpen) return;
    try {
      const failure = this.#failure();
      if (failure) throw failure;
      this.#poll('ncclCommGetAsyncError', Number.POSITIVE_INFINITY);
    } catch (error) {
      this.abort();
      throw error;
    }
  }

  /**
   * Launches collectives together, after all that the backend's stream was asked for so far.
   * @param calls asks for them; in whatever order they are done, so that none may touch what another writes.
   * @returns what `join` takes.
   */
  launch(calls: () => void): number {
    const device = this.#device;
    this.#requireOpen('launch');
    this.check();
    device.call('cuEventRecord', this.#begun, device.stream);
    device.call('cuStreamWaitEvent', this.stream, this.#begun, 0);
    this.#call('ncclGroupStart');
    this.#grouped = true;
    try {
      calls();
    } catch (error) {
      // The library counts groups for the thread, whatever became of this one.
      this.#nccl.functions.ncclGroupEnd();
      throw error;
    } finally {
      this.#grouped = false;
    }
    this.#call('ncclGroupEnd');
    const done = this.#events.pop() ?? device.handle('cuEventCreate', 2);
    device.call('cuEventRecord', done, this.stream);
    return done;
  }

  /** What the backend's stream is asked for from now on comes after these collectives. Once for each launch. */
  join(done: number): void {
    this.#device.call('cuStreamWaitEvent', this.#device.stream, done, 0);
    this.#events.push(done);
  }

  /** Instead of `join`, for a launch that was captured and given up. */
  discard(done: number): void {
    if (this.isOpen) this.#events.push(done);
  }

  /** In `launch`: sums, or greatest, of `count` numbers of every rank. */
  allReduce(
    from: number,
    to: number,
    count: number,
    type: Exclude<NcclType, 'bytes'>,
    operation: NcclOperation = 'sum',
  ): void {
    this.#note('all-reduce', count);
    this.#call('ncclAllReduce', from, to, count, NCCL_TYPE[type], NCCL_OPERATION[operation], this.#handle, this.stream);
  }

  /** In `launch`: `count` of each rank, by rank, in `to`, where `from` may already be this rank's place. */
  allGather(from: number, to: number, count: number, type: NcclType): void {
    this.#note('all-gather', count);
    this.#call('ncclAllGather', from, to, count, NCCL_TYPE[type], this.#handle, this.stream);
  }

  /** In `launch`: the root's. */
  broadcast(from: number, to: number, count: number, type: NcclType, root = 0): void {
    this.#note('broadcast', count);
    this.#call('ncclBroadcast', from, to, count, NCCL_TYPE[type], root, this.#handle, this.stream);
  }

  /** In `launch`: of sums of size · count numbers, this rank's count. */
  reduceScatter(from: number, to: number, count: number, type: Exclude<NcclType, 'bytes'>): void {
    this.#note('reduce-scatter', count);
    this.#call('ncclReduceScatter', from, to, count, NCCL_TYPE[type], NCCL_OPERATION.sum, this.#handle, this.stream);
  }

  /**
   * Ends it and its kernels, whatever the other ranks do. Not waited for: until NCCL has done it, the GPU may be busy with what never ends, and the process
   * ends without waiting for it.
   */
  abort(): void {
    if (!this.isOpen) return;
    const device = this.#device;
    const handle = this.#handle;
    this.#handle = 0;
    device.waiting = null;
    device.abandoned = true;
    endWithoutWaiting(device);
    callAside(this.#nccl.functions.ncclCommAbort, [handle], () => {
      device.abandoned = false;
      if (device.isOpen) this.#giveBack();
    });
  }

  /** Ends it when its work is done; every rank calls it. */
  close(): void {
    if (!this.isOpen) return;
    try {
      this.#device.call('cuStreamSynchronize', this.stream);
      this.#call('ncclCommFinalize', this.#handle);
    } catch {
      this.abort();
      return;
    }
    const handle = this.#handle;
    this.#handle = 0;
    this.#device.waiting = null;
    this.#nccl.functions.ncclCommDestroy(handle);
    if (this.#device.isOpen) this.#giveBack();
  }

  #giveBack(): void {
    const { driver } = this.#device;
    for (const event of [this.#begun, ...this.#events]) driver.cuEventDestroy_v2(event);
    this.#events.length = 0;
    driver.cuStreamDestroy_v2(this.stream);
  }

  #requireOpen(what: string): void {
    if (this.isOpen) return;
    throw new NcclError(what, -1, 'the ranks are no longer connected: it was closed, or aborted after an error');
  }

  #note(name: string, count: number): void {
    if (!this.#grouped) throw new Error(`internal: ${name} outside of a launch`);
    this.#device.recording?.log.note(name, [count]);
  }

  /** Calls NCCL and waits until the call is over, which its collectives are not. @throws NcclError; then it is aborted. */
  #call(name: NcclFunctionName, ...args: Parameters<NativeFunction>): void {
    this.#requireOpen(name);
    let failed = true;
    try {
      const status = this.#nccl.functions[name](...args);
      if (status !== NCCL_SUCCESS && status !== NCCL_IN_PROGRESS) {
        throw new NcclError(name, status, this.#nccl.describe(status));
      }
      // Within a group only its end begins anything.
      if (status === NCCL_IN_PROGRESS && !this.#grouped) {
        const until = performance.now() + 1000 * this.#seconds;
        for (let n = 0; this.#poll(name, until); n++) if (n > EAGER_POLLS) Atomics.wait(sleeper, 0, 0, 0.1);
      }
      failed = false;
    } finally {
      if (failed) this.abort();
    }
  }

  /** Whether a call is not over yet. @throws NcclError where it failed or takes too long, and what `failure` says. */
  #poll(call: string, until: number): boolean {
    const asked = this.#nccl.functions.ncclCommGetAsyncError(this.#handle, this.#state.memory);
    const state = asked === NCCL_SUCCESS ? this.#state.memory.readInt32LE(0) : asked;
    if (state === NCCL_SUCCESS) return false;
    if (state !== NCCL_IN_PROGRESS) {
      throw new NcclError(call, state, `${this.#nccl.describe(state)} (rank ${this.rank} of ${this.size})`);
    }
    const failure = this.#failure();
    if (failure) throw failure;
    if (performance.now() > until) {
      throw new NcclError(
        call,
        -1,
        `rank ${this.rank} of ${this.size} waited ${this.#seconds} s for the others; did all of them start, and none end?`,
      );
    }
    return true;
  }
}
