/** @file One GPU: its context, its one stream, and the calls of the driver with their results checked. */
import { CudaError, CudaUnavailableError } from '../errors.js';
import {
  bindDriver,
  CUDA_ERROR_NOT_READY,
  CUDA_ERRORS,
  DEVICE_ATTRIBUTE,
  type DriverFunctions,
  isContextLost,
} from '../libraries/driver.js';
import { candidates, type LibraryName } from '../libraries/locate.js';
import { HostMemory, type NativeFunction } from '../libraries/native.js';
import type { Recording } from '../recording/recording.js';
import type { Profiler } from './profiler.js';

/** What is known of a GPU without using it. */
export interface DeviceInfo {
  readonly name: string;
  /** [major, minor] compute capability. */
  readonly capability: readonly [number, number];
  readonly totalBytes: number;
  readonly multiprocessors: number;
  /** Shared memory that a block may ask for. */
  readonly sharedBytes: number;
  /** Its place in this machine, e.g. 0000:1A:00.0. */
  readonly bus: string;
  /** Version of CUDA that the driver supports, e.g. 13.0. */
  readonly driver: string;
}

/** Tries to load a library from each of its candidates. @throws CudaUnavailableError naming what was tried. */
export function loadFrom<T>(
  library: LibraryName,
  open: (path: string) => T,
  hint: string,
): { loaded: T; path: string } {
  const tried: string[] = [];
  for (const path of candidates(library)) {
    try {
      return { loaded: open(path), path };
    } catch (error) {
      const problem = (error as Error).message.split('\n')[0]!;
      // Names that the dynamic loader knows nothing of are no news; a file that does not load is.
      if (path.includes('/') || !problem.includes('No such file')) tried.push(`${path} (${problem})`);
    }
  }
  const where = process.env.SPFT_CUDA_PATH ? ` below SPFT_CUDA_PATH (${process.env.SPFT_CUDA_PATH})` : '';
  throw new CudaUnavailableError(`${hint}${where}${tried.length > 0 ? `; tried ${tried.join(', ')}` : ''}`);
}

const handles = new HostMemory(16);

/** Milliseconds in which work that was aborted should have ended. */
const ABANDONED_MS = 5000;
/** CU_STREAM_CAPTURE_MODE_RELAXED: other threads and streams may do what they like meanwhile. */
const RELAXED = 2;
/** So often an event is asked for at once, before the thread sleeps in between. */
const EAGER_QUERIES = 20_000;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

export class Device {
  readonly driver: DriverFunctions;
  readonly driverPath: string;
  readonly info: DeviceInfo;
  /** Everything runs on it, in order: what was freed may be used again at once. */
  stream = 0;
  /** Whose turn it is to launch: 0 for the backend, others for work beside it (recording/asides.ts), whose stream is `stream` meanwhile. */
  lane = 0;
  readonly #lanes = new Map<number, number>();
  readonly #events: number[] = [];
  /** Told of every launch while it is not null. */
  profiler: Profiler | null = null;
  /** The step that is watched or captured, while one is. */
  recording: Recording | null = null;
  /** Asked while the host waits for the GPU, as work that other processes have a part in may never end; throws what ends the wait. */
  waiting: (() => void) | null = null;
  /** Whether work may be under way that never ends, as other processes that had a part in it are gone: then nothing waits for long. */
  abandoned = false;
  readonly #ordinal: number;
  #open = false;
  #architecture: string | null = null;

  /** Looks at GPU `ordinal` without making a context. @throws CudaUnavailableError where there is none. */
  constructor(ordinal = 0) {
    const { loaded, path } = loadFrom('driver', bindDriver, 'the NVIDIA driver (libcuda.so.1) was not found');
    this.driver = loaded;
    this.driverPath = path;
    const status = this.driver.cuInit(0);
    if (status !== 0) {
      throw new CudaUnavailableError(
        `the NVIDIA driver at ${path} does not start: ${CUDA_ERRORS[status] ?? `CUresult ${status}`}; is there a GPU, and does nvidia-smi see it?`,
      );
    }
    const count = this.int('cuDeviceGetCount');
    if (count === 0) throw new CudaUnavailableError('the NVIDIA driver sees no GPU; is CUDA_VISIBLE_DEVICES set?');
    if (ordinal >= count) {
      const there = count === 1 ? 'is one, of number 0' : `are ${count}, of numbers 0 to ${count - 1}`;
      throw new CudaUnavailableError(
        `GPU ${ordinal} was asked for (SPFT_CUDA_DEVICE) and there ${there}`,
        'set SPFT_CUDA_DEVICE to one of these, or unset it for the first',
      );
    }
    this.#ordinal = this.int('cuDeviceGet', ordinal);
    const name = Buffer.alloc(256);
    this.call('cuDeviceGetName', name, name.length, this.#ordinal);
    const bus = Buffer.alloc(32);
    this.call('cuDeviceGetPCIBusId', bus, bus.length, this.#ordinal);
    const version = this.int('cuDriverGetVersion');
    this.info = {
      name: name.toString('utf8').replace(/\0.*$/s, ''),
      bus: bus.toString('utf8').replace(/\0.*$/s, ''),
      capability: [this.attribute(DEVICE_ATTRIBUTE.capabilityMajor), this.attribute(DEVICE_ATTRIBUTE.capabilityMinor)],
      totalBytes: this.handle('cuDeviceTotalMem_v2', this.#ordinal),
      multiprocessors: this.attribute(DEVICE_ATTRIBUTE.multiprocessors),
      sharedBytes: this.attribute(DEVICE_ATTRIBUTE.sharedBytes),
      driver: `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`,
    };
    const [major] = this.info.capability;
    if (major < 8) {
      throw new CudaUnavailableError(
        `${this.info.name} has compute capability ${this.info.capability.join('.')}; 8.0 (Ampere) or newer is needed, for bf16`,
      );
    }
    if (version < 12000) {
      throw new CudaUnavailableError(
        `the driver supports CUDA ${this.info.driver}; 12.0 or newer is needed: update the NVIDIA driver`,
      );
    }
  }

  /** e.g. `sm_80`; with the instructions that Hopper alone has on Hopper. */
  get architecture(): string {
    this.#architecture ??= architectureOf(this.info);
    return this.#architecture;
  }

  /** Whether it is the emulator: its compiler takes a second for a file, however little is in it. */
  get isEmulated(): boolean {
    return isEmulator(this.info);
  }

  /** False before `open` and after `close`. */
  get isOpen(): boolean {
    return this.#open;
  }

  /** Makes the context and the stream. */
  open(): void {
    if (this.#open) return;
    this.call('cuCtxSetCurrent', this.handle('cuDevicePrimaryCtxRetain', this.#ordinal));
    // 1: not ordered with the default stream, which a library in this process might use.
    this.stream = this.handle('cuStreamCreate', 1);
    this.#open = true;
  }

  /** Gives the context back, and with it all memory, even after a kernel that failed. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    // It would wait for work that never ends; with the process all is given back.
    if (this.abandoned) return;
    this.driver.cuDevicePrimaryCtxReset_v2(this.#ordinal);
    this.driver.cuDevicePrimaryCtxRelease_v2(this.#ordinal);
  }

  attribute(attribute: number): number {
    return this.int('cuDeviceGetAttribute', attribute, this.#ordinal);
  }

  get memoryPool(): number {
    return this.handle('cuDeviceGetDefaultMemPool', this.#ordinal);
  }

  /** Calls the driver. @throws CudaError unless it succeeds. */
  call(name: keyof DriverFunctions, ...args: Parameters<NativeFunction>): void {
    const status = this.driver[name](...args);
    if (status !== 0) throw driverError(name, status);
  }

  /** Calls a function of the driver whose first parameter receives 64 bits; returns them. */
  handle(name: keyof DriverFunctions, ...args: Parameters<NativeFunction>): number {
    handles.memory.writeBigUInt64LE(0n, 0);
    this.call(name, handles.address, ...args);
    return Number(handles.memory.readBigUInt64LE(0));
  }

  /** The same for an int. */
  int(name: keyof DriverFunctions, ...args: Parameters<NativeFunction>): number {
    handles.memory.writeInt32LE(0, 0);
    this.call(name, handles.address, ...args);
    return handles.memory.readInt32LE(0);
  }

  /** The stream of a lane. */
  laneStream(lane: number): number {
    const stream = this.#lanes.get(lane) ?? this.handle('cuStreamCreate', 1);
    this.#lanes.set(lane, stream);
    return stream;
  }

  /** What a lane is asked for from now on comes after all that the stream was asked for. */
  fork(lane: number): void {
    const event = this.#eventOf(this.stream);
    this.call('cuStreamWaitEvent', this.laneStream(lane), event, 0);
    this.reuseEvent(event);
  }

  /** An event of all that a lane was asked for; `reuseEvent` takes it back. */
  recordLane(lane: number): number {
    return this.#eventOf(this.laneStream(lane));
  }

  /** What is launched from now on comes after an event. */
  awaitEvent(event: number): void {
    this.call('cuStreamWaitEvent', this.stream, event, 0);
  }

  reuseEvent(event: number): void {
    this.#events.push(event);
  }

  #eventOf(stream: number): number {
    const event = this.#events.pop() ?? this.handle('cuEventCreate', 2);
    this.call('cuEventRecord', event, stream);
    return event;
  }

  /** What is launched on the stream from now on becomes a graph (`endCapture`) instead of being done. */
  beginCapture(): void {
    this.call('cuStreamBeginCapture_v2', this.stream, RELAXED);
  }

  /** Ends a capture of the stream: its graph, or 0 where the driver gave it up. */
  endCapture(): number {
    handles.memory.writeBigUInt64LE(0n, 0);
    const status = this.driver.cuStreamEndCapture(this.stream, handles.address);
    return status === 0 ? Number(handles.memory.readBigUInt64LE(0)) : 0;
  }

  /** Waits for all work. @throws CudaError for a kernel that failed meanwhile. */
  synchronize(): void {
    if (this.waiting || this.abandoned) this.#waitFor();
    this.call('cuStreamSynchronize', this.stream);
  }

  #askWhileWaiting(until: number): void {
    this.waiting?.();
    if (this.abandoned && performance.now() > until) {
      throw new CudaError(
        'cuEventQuery',
        CUDA_ERROR_NOT_READY,
        'CUDA_ERROR_NOT_READY',
        'the GPU waits for a process that is gone',
      );
    }
  }

  /** Waits for all work, asking in between. */
  #waitFor(): void {
    const until = performance.now() + ABANDONED_MS;
    const event = this.handle('cuEventCreate', 2);
    try {
      this.call('cuEventRecord', event, this.stream);
      for (let n = 0; ; n++) {
        const status = this.driver.cuEventQuery(event);
        if (status === 0) return;
        if (status !== CUDA_ERROR_NOT_READY) throw driverError('cuEventQuery', status);
        if (n % 64 === 63) this.#askWhileWaiting(until);
        if (n > EAGER_QUERIES) Atomics.wait(sleeper, 0, 0, 0.05);
      }
    } finally {
      this.driver.cuEventDestroy_v2(event);
    }
  }

  /** Resolves when the work so far is done, and lets the event loop run while it waits. */
  async settled(): Promise<void> {
    const until = performance.now() + ABANDONED_MS;
    const event = this.handle('cuEventCreate', 2);
    try {
      this.call('cuEventRecord', event, this.stream);
      for (;;) {
        const status = this.driver.cuEventQuery(event);
        if (status === 0) return;
        if (status !== CUDA_ERROR_NOT_READY) throw driverError('cuEventQuery', status);
        this.#askWhileWaiting(until);
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      this.driver.cuEventDestroy_v2(event);
    }
  }

  /** An event that is reached when the work so far is done; the caller destroys it. */
  recordEvent(): number {
    const event = this.handle('cuEventCreate', 0);
    this.call('cuEventRecord', event, this.stream);
    return event;
  }

  destroyEvent(event: number): void {
    this.call('cuEventDestroy_v2', event);
  }

  /** Milliseconds between two events, waiting for the second. */
  elapsed(start: number, end: number): number {
    this.call('cuEventSynchronize', end);
    this.call('cuEventElapsedTime', handles.address, start, end);
    return handles.memory.readFloatLE(0);
  }

  /** Milliseconds that the GPU takes for what `run` launches, waiting for it. */
  milliseconds(run: () => void): number {
    const start = this.recordEvent();
    let end = 0;
    try {
      run();
      end = this.recordEvent();
      return this.elapsed(start, end);
    } finally {
      this.driver.cuEventDestroy_v2(start);
      if (end !== 0) this.driver.cuEventDestroy_v2(end);
    }
  }
}

const isEmulator = ({ name }: DeviceInfo): boolean => name === 'spft emulator';

function architectureOf({ capability }: DeviceInfo): string {
  const architecture = `sm_${capability.join('')}`;
  return architecture === 'sm_90' ? 'sm_90a' : architecture;
}

/** @param of what it was about, for the message. */
export function driverError(call: string, status: number, of = ''): CudaError {
  const detail = isContextLost(status)
    ? 'a kernel launched before it failed, and from then on the driver refuses all work of this process: tensors can be disposed, and other backends go on; for cuda start a new process'
    : of;
  return new CudaError(call, status, CUDA_ERRORS[status] ?? 'CUresult', detail);
}
