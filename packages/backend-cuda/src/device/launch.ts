/**
 * @file Launching a kernel. Parameters are written into memory that is used for every launch, as the driver copies them in the call: 4 µs of
 * the host's time a launch, nearly all of it the driver's.
 */
import { BEGINS_EARLY } from '../libraries/driver.js';
import { HostMemory } from '../libraries/native.js';
import { type Device, driverError } from './device.js';
import type { Kernel } from './kernel.js';
import type { Modules } from './modules.js';

export type Dimensions = readonly [number, number?, number?];

const MOST_PARAMETERS = 48;

/** CUlaunchConfig: seven sizes, the stream, attributes and how many they are; then the one CUlaunchAttribute that there is. */
const CONFIG = { bytes: 56, stream: 32, attributes: 40, count: 48 } as const;
const ATTRIBUTE = { bytes: 72, value: 8 } as const;

export class Launcher {
  readonly #device: Device;
  readonly #modules: Modules;
  readonly #values = new HostMemory(8 * MOST_PARAMETERS);
  readonly #pointers = new HostMemory(8 * MOST_PARAMETERS);
  readonly #view: DataView;
  readonly #config = new HostMemory(CONFIG.bytes + ATTRIBUTE.bytes);
  /** Kernels launched so far. */
  launches = 0;

  constructor(device: Device, modules: Modules) {
    this.#device = device;
    this.#modules = modules;
    this.#view = new DataView(this.#values.memory.buffer, this.#values.memory.byteOffset);
    for (let n = 0; n < MOST_PARAMETERS; n++) this.#ownPlace(n);
  }

  #ownPlace(n: number): void {
    this.#pointers.memory.writeBigUInt64LE(BigInt(this.#values.address + 8 * n), 8 * n);
  }

  /**
   * A grid without blocks is not launched.
   * @param beginsEarly whether it may be started before what was launched before it has ended (Hopper and newer, programmatic dependent launch): its
   * source waits for that by itself (`ptx_wait_for_previous`) before it reads or writes anything that changes, and fetches weights until then. It pays
   * where there is something to fetch: kernels of training steps were not faster by it (SmolLM2's step on an H200 9.14 ms against 8.96).
   * @param name what a profile calls it.
   * @throws CudaError.
   */
  launch(
    kernel: Kernel,
    grid: Dimensions,
    block: Dimensions,
    args: readonly number[],
    sharedBytes = 0,
    beginsEarly = false,
    name = kernel.name,
  ): void {
    const [gx, gy = 1, gz = 1] = grid;
    if (gx === 0 || gy === 0 || gz === 0) return;
    const { parameters } = kernel;
    if (args.length !== parameters.length) {
      throw new TypeError(`internal: ${kernel.name} takes ${parameters.length} arguments, got ${args.length}`);
    }
    const view = this.#view;
    for (let n = 0; n < args.length; n++) {
      const value = args[n]!;
      switch (parameters[n]) {
        case 'i':
          view.setInt32(8 * n, value, true);
          break;
        case 'f':
          view.setFloat32(8 * n, value, true);
          break;
        case 't':
          this.#pointers.memory.writeBigUInt64LE(BigInt(value), 8 * n);
          break;
        default:
          view.setUint32(8 * n, value, true);
          view.setInt32(8 * n + 4, Math.floor(value / 2 ** 32), true);
      }
    }
    if (sharedBytes > kernel.sharedBytes) this.#modules.allowShared(kernel, sharedBytes);
    const [bx, by = 1, bz = 1] = block;
    const { stream, profiler, driver, recording } = this.#device;
    recording?.log.launch(kernel, [gx, gy, gz, bx, by, bz, sharedBytes], args);
    profiler?.before();
    const { handle } = kernel;
    const parametersAt = this.#pointers.address;
    // A profile is of one kernel at a time.
    const early = beginsEarly && !profiler && this.#device.info.capability[0] >= 9;
    const status = early
      ? driver.cuLaunchKernelEx(this.#configOf([gx, gy, gz, bx, by, bz, sharedBytes]), handle, parametersAt, 0)
      : driver.cuLaunchKernel(handle, gx, gy, gz, bx, by, bz, sharedBytes, stream, parametersAt, 0);
    for (let n = 0; parameters[n] === 't'; n++) this.#ownPlace(n);
    if (status !== 0) throw driverError('cuLaunchKernel', status, kernel.name);
    profiler?.after(name);
    this.launches++;
  }

  /** Address of a configuration by which a kernel begins early. */
  #configOf(sizes: readonly number[]): number {
    const { memory, address } = this.#config;
    sizes.forEach((size, n) => void memory.writeUInt32LE(size, 4 * n));
    memory.writeBigUInt64LE(BigInt(this.#device.stream), CONFIG.stream);
    memory.writeBigUInt64LE(BigInt(address + CONFIG.bytes), CONFIG.attributes);
    memory.writeUInt32LE(1, CONFIG.count);
    memory.writeUInt32LE(BEGINS_EARLY, CONFIG.bytes);
    memory.writeUInt32LE(1, CONFIG.bytes + ATTRIBUTE.value);
    return address;
  }
}
