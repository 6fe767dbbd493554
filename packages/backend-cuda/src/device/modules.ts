/**
 * @file Kernels: CUDA C++ files, compiled for the GPU found and kept on disk under a hash of all that went in.
 *
 * A kernel is a file of `cuda/`, an entry point in it, and definitions (element types, tile sizes) that make the file into one of its variants.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MAX_DYNAMIC_SHARED } from '../libraries/driver.js';
import { Nvrtc } from '../libraries/nvrtc.js';
import { type Device, loadFrom } from './device.js';
import type { Parameter } from './launch.js';

/** Where the sources lie: beside `src` and `dist`. */
export const SOURCES = fileURLToPath(new URL('../../cuda/', import.meta.url));

export type Defines = Readonly<Record<string, string | number>>;

/** A compiled entry point. */
export interface Kernel {
  readonly handle: number;
  readonly name: string;
  /** Types of its parameters, in order. */
  readonly parameters: readonly Parameter[];
  /** Dynamic shared memory that it may use without asking anew. */
  sharedBytes: number;
}

/** Folder of compiled kernels: `SPFT_CUDA_CACHE`, or `spft/cuda` in the user's cache. */
export function kernelCache(env: NodeJS.ProcessEnv = process.env): string {
  return env.SPFT_CUDA_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'spft', 'cuda');
}

/** Options of every compilation. */
export function compileOptions(defines: Defines): string[] {
  return [
    '--std=c++17',
    '--device-as-default-execution-space',
    `--include-path=${SOURCES}`,
    ...Object.entries(defines).map(([name, value]) => `-D${name}=${value}`),
  ];
}

export class Modules {
  readonly #device: Device;
  readonly #kernels = new Map<string, Kernel>();
  readonly #modules = new Map<string, number>();
  readonly #folder = kernelCache();
  #nvrtc: Nvrtc | null = null;
  #headers: string | null = null;

  constructor(device: Device) {
    this.#device = device;
  }

  /**
   * The entry point `entry` of `cuda/<file>.cu`, compiled at its first use.
   * @param parameters one letter each: p device address, i int32, f float, l int64.
   * @throws CudaCompileError.
   */
  kernel(file: string, entry: string, parameters: string, defines: Defines = {}): Kernel {
    const variant = `${file} ${Object.entries(defines).join(' ')}`;
    const key = `${variant} ${entry}`;
    const known = this.#kernels.get(key);
    if (known) return known;
    let module = this.#modules.get(variant);
    if (module === undefined) {
      module = this.#device.handle('cuModuleLoadData', this.#image(file, defines));
      this.#modules.set(variant, module);
    }
    const handle = this.#device.handle('cuModuleGetFunction', module, entry);
    const kernel = { handle, name: entry, parameters: [...parameters] as Parameter[], sharedBytes: 48 * 1024 };
    this.#kernels.set(key, kernel);
    return kernel;
  }

  /** Lets a kernel use more dynamic shared memory than the 48 KiB that it may by default. */
  allowShared(kernel: Kernel, bytes: number): void {
    if (bytes <= kernel.sharedBytes) return;
    this.#device.call('cuFuncSetAttribute', kernel.handle, MAX_DYNAMIC_SHARED, bytes);
    kernel.sharedBytes = bytes;
  }

  #image(file: string, defines: Defines): Buffer {
    this.#nvrtc ??= loadFrom(
      'nvrtc',
      (path) => new Nvrtc(path),
      'NVRTC (libnvrtc.so of CUDA 12 or 13) was not found',
    ).loaded;
    this.#headers ??= readHeaders();
    const source = readFileSync(join(SOURCES, `${file}.cu`), 'utf8');
    const { architecture } = this.#device;
    const options = compileOptions(defines);
    const inputs = [this.#nvrtc.version, architecture, ...options.filter((option) => !option.startsWith('--include'))];
    const hash = createHash('sha256')
      .update([...inputs, this.#headers, source].join('\0'))
      .digest('hex')
      .slice(0, 32);
    const path = join(this.#folder, `${file}-${hash}.cubin`);
    try {
      const image = readFileSync(path);
      if (image.length > 0) return image;
    } catch {
      // compiled below
    }
    const image = this.#nvrtc.compile(source, `${file}.cu`, architecture, options);
    store(this.#folder, path, image);
    return image;
  }
}

const readHeaders = (): string =>
  readdirSync(SOURCES)
    .filter((name) => name.endsWith('.cuh'))
    .sort()
    .map((name) => readFileSync(join(SOURCES, name), 'utf8'))
    .join('\0');

/** Written beside and renamed, as another process may be looking; a cache that cannot be written is done without. */
function store(folder: string, path: string, image: Buffer): void {
  try {
    mkdirSync(folder, { recursive: true });
    const beside = `${path}.${process.pid}`;
    writeFileSync(beside, image);
    renameSync(beside, path);
  } catch {
    // compiled again next time
  }
}
