/**
 * @file Launching a kernel. Parameters are written into memory that is used for every launch, as the driver copies them in the call: 4 µs of
 * the host's time a launch, nearly all of it the driver's.
 */
import { HostMemory } from '../libraries/native.js';
import { type Device, driverError } from './device.js';
import type { Kernel } from './kernel.js';
import type { Modules } from './modules.js';

export type Dimensions = readonly [number, number?, number?];

const MOST_PARAMETERS = 48;

export class Launcher {
  readonly #device: Device;
  readonly #modules: Modules;
  readonly #values = new HostMemory(8 * MOST_PARAMETERS);
  readonly #pointers = new HostMemory(8 * MOST_PARAMETERS);
  readonly #view: DataView;
  /** Kernels launched so far. */
  launches = 0;

  constructor(device: Device, modules: Modules) {
    this.#device = device;
    this.#modules = modules;
    this.#view = new DataView(this.#values.memory.buffer, this.#values.memory.byteOffset);
    for (let n = 0; n < MOST_PARAMETERS; n++) {
      this.#pointers.memory.writeBigUInt64LE(BigInt(this.#values.address + 8 * n), 8 * n);
    }
  }

  /** A grid without blocks is not launched. @throws CudaError. */
  launch(kernel: Kernel, grid: Dimensions, block: Dimensions, args: readonly number[], sharedBytes = 0): void {
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
    const status = driver.cuLaunchKernel(handle, gx, gy, gz, bx, by, bz, sharedBytes, stream, parametersAt, 0);
    if (status !== 0) throw driverError('cuLaunchKernel', status, kernel.name);
    profiler?.after(kernel.name);
    this.launches++;
  }
}
