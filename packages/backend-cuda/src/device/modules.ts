/**
 * @file Kernels: CUDA C++ files, compiled for the GPU found and kept on disk under a hash of all that went in.
 *
 * A kernel is a file of `cuda/`, an entry point in it, and definitions (element types, tile sizes) that make the file into one of its variants.
 */
import { CudaError } from '../errors.js';
import { MAX_DYNAMIC_SHARED, REFUSED_IMAGE } from '../libraries/driver.js';
import { Nvrtc } from '../libraries/nvrtc.js';
import { compileCached, type Defines } from './compiler.js';
import { type Device, loadFrom } from './device.js';
import type { Kernel, Parameter } from './kernel.js';

export { compileOptions, type Defines, kernelCache, SOURCES } from './compiler.js';
export type { Kernel } from './kernel.js';

interface KnownKernel {
  readonly file: string;
  readonly defines: Defines;
  /** What it was asked for by last: mostly the same object again, which need not be looked through. */
  asked: Defines;
  readonly kernel: Kernel;
}

const NONE: Defines = Object.freeze({});

/** Also of the same names: one that is defined in some variants alone is none of the others. */
function areSame(one: Defines, other: Defines): boolean {
  for (const name in other) if (one[name] !== other[name]) return false;
  for (const name in one) if (!(name in other)) return false;
  return true;
}

export class Modules {
  readonly #device: Device;
  /** By entry point. */
  readonly #kernels = new Map<string, KnownKernel[]>();
  readonly #modules = new Map<string, number>();
  #nvrtc: Nvrtc | null = null;

  constructor(device: Device) {
    this.#device = device;
  }

  /**
   * The entry point `entry` of `cuda/<file>.cu`, compiled at its first use.
   * @param parameters one letter each: p device address, i int32, f float, l int64.
   * @throws CudaCompileError.
   */
  kernel(file: string, entry: string, parameters: string, defines: Defines = NONE): Kernel {
    // On the path of every launch, so without arrays, and without strings that are made anew.
    let variants = this.#kernels.get(entry);
    if (!variants) {
      variants = [];
      this.#kernels.set(entry, variants);
    }
    for (const known of variants) if (known.asked === defines && known.file === file) return known.kernel;
    for (const known of variants) {
      if (known.file !== file || !areSame(known.defines, defines)) continue;
      known.asked = defines;
      return known.kernel;
    }
    this.#device.recording?.refuseCaptured(`the kernel ${entry} was new to it`);
    let variant = file;
    for (const name in defines) variant += ` ${name}=${defines[name]}`;
    let module = this.#modules.get(variant);
    if (module === undefined) {
      module = this.#load(file, defines);
      this.#modules.set(variant, module);
    }
    const handle = this.#device.handle('cuModuleGetFunction', module, entry);
    const kernel = { handle, name: entry, parameters: [...parameters] as Parameter[], sharedBytes: 48 * 1024 };
    variants.push({ file, defines: { ...defines }, asked: defines, kernel });
    return kernel;
  }

  /** Lets a kernel use more dynamic shared memory than the 48 KiB that it may by default. */
  allowShared(kernel: Kernel, bytes: number): void {
    if (bytes <= kernel.sharedBytes) return;
    this.#device.call('cuFuncSetAttribute', kernel.handle, MAX_DYNAMIC_SHARED, bytes);
    kernel.sharedBytes = bytes;
  }

  /** An image from disk that the driver does not take, though it is whole (of another GPU's driver, say), is compiled anew. */
  #load(file: string, defines: Defines): number {
    // The driver takes what is no image for text, which ends with a zero.
    const load = (anew: boolean) =>
      this.#device.handle('cuModuleLoadData', Buffer.concat([this.#image(file, defines, anew), Buffer.alloc(8)]));
    try {
      return load(false);
    } catch (error) {
      if (!(error instanceof CudaError) || !REFUSED_IMAGE.has(error.status)) throw error;
      return load(true);
    }
  }

  #image(file: string, defines: Defines, anew: boolean): Buffer {
    this.#nvrtc ??= loadFrom(
      'nvrtc',
      (path) => new Nvrtc(path, this.#device.info),
      'NVRTC (libnvrtc.so of CUDA 12 or 13) was not found',
    ).loaded;
    return compileCached(this.#nvrtc, this.#device.architecture, file, defines, anew);
  }
}
