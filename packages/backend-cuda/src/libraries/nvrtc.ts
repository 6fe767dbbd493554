/** @file NVIDIA's runtime compiler: CUDA C++ in, machine code for one architecture out. */
import type { DeviceInfo } from '../device/device.js';
import { CudaCompileError, CudaError, CudaUnavailableError } from '../errors.js';
import { bind, bindOptional, HostMemory, type NativeFunction } from './native.js';
import { checkVersion } from './versions.js';

const SIGNATURES = {
  nvrtcVersion: 'void* major, void* minor',
  nvrtcCreateProgram: 'void* program, const char* source, const char* name, int headers, void* contents, void* names',
  nvrtcCompileProgram: 'uint64_t program, int options, const char** option',
  nvrtcDestroyProgram: 'void* program',
  nvrtcGetProgramLogSize: 'uint64_t program, void* bytes',
  nvrtcGetProgramLog: 'uint64_t program, void* log',
  nvrtcGetCUBINSize: 'uint64_t program, void* bytes',
  nvrtcGetCUBIN: 'uint64_t program, void* image',
} as const;

const NVRTC_ERROR_COMPILATION = 6;

export class Nvrtc {
  readonly #functions: Record<keyof typeof SIGNATURES, NativeFunction>;
  readonly version: string;

  /**
   * @param device that it is to compile for; looked at only to say early that it cannot.
   * @throws Error of the dynamic loader, CudaUnavailableError where the version does not go with the device.
   */
  constructor(path: string, device?: DeviceInfo) {
    this.#functions = bind(path, SIGNATURES);
    const { memory } = new HostMemory(8);
    this.#check('nvrtcVersion', memory.subarray(0, 4), memory.subarray(4));
    this.version = `${memory.readInt32LE(0)}.${memory.readInt32LE(4)}`;
    checkVersion('NVRTC', this.version, device);
    const known = architecturesOf(path);
    if (device && known && !known.includes(Number(device.capability.join('')))) {
      throw new CudaUnavailableError(
        `NVRTC ${this.version} does not know compute capability ${device.capability.join('.')}; a newer one is needed`,
      );
    }
  }

  /**
   * @param architecture e.g. `sm_90`.
   * @returns the machine code.
   * @throws CudaCompileError with the log and the lines it points to.
   */
  compile(source: string, file: string, architecture: string, options: readonly string[]): Buffer {
    const { memory } = new HostMemory(8);
    const all = [`--gpu-architecture=${architecture}`, ...options];
    this.#check('nvrtcCreateProgram', memory, source, file, 0, null, null);
    const program = Number(memory.readBigUInt64LE(0));
    try {
      const status = this.#functions.nvrtcCompileProgram(program, all.length, all as never);
      if (status === NVRTC_ERROR_COMPILATION) throw new CudaCompileError(file, this.#log(program, source, file), all);
      if (status !== 0) throw failure('nvrtcCompileProgram', status, all.join(' '));
      this.#check('nvrtcGetCUBINSize', program, memory);
      const image = Buffer.allocUnsafeSlow(Number(memory.readBigUInt64LE(0)));
      this.#check('nvrtcGetCUBIN', program, image);
      return image;
    } finally {
      memory.writeBigUInt64LE(BigInt(program), 0);
      this.#functions.nvrtcDestroyProgram(memory);
    }
  }

  #log(program: number, source: string, file: string): string {
    const { memory } = new HostMemory(8);
    this.#check('nvrtcGetProgramLogSize', program, memory);
    const log = Buffer.alloc(Number(memory.readBigUInt64LE(0)));
    this.#check('nvrtcGetProgramLog', program, log);
    return withSourceLines(log.toString('utf8').replace(/\0+$/, '').trim(), source, file);
  }

  #check(name: keyof typeof SIGNATURES, ...args: Parameters<NativeFunction>): void {
    const status = this.#functions[name](...args);
    if (status !== 0) throw failure(name, status, '');
  }
}

/** Those that the compiler at `path` knows, e.g. 90; null where it does not say. */
function architecturesOf(path: string): number[] | null {
  const count = bindOptional(path, 'nvrtcGetNumSupportedArchs', 'int NAME(void* count)');
  const list = bindOptional(path, 'nvrtcGetSupportedArchs', 'int NAME(void* list)');
  const { memory } = new HostMemory(4);
  if (!count || !list || count(memory) !== 0) return null;
  const known = new HostMemory(4 * memory.readInt32LE(0));
  if (list(known.memory) !== 0) return null;
  return Array.from({ length: known.memory.length / 4 }, (_, n) => known.memory.readInt32LE(4 * n));
}

const failure = (call: string, status: number, detail: string) => new CudaError(call, status, 'nvrtcResult', detail);

/** The log, with the source line below each message that names one of `file`. */
function withSourceLines(log: string, source: string, file: string): string {
  const lines = source.split('\n');
  return log
    .split('\n')
    .map((message) => {
      const at = message.startsWith(file) ? /[(:](\d+)[):]/.exec(message.slice(file.length)) : null;
      const line = at && lines[Number(at[1]) - 1];
      return line ? `${message}\n    ${at[1]} | ${line.trim()}` : message;
    })
    .join('\n');
}
