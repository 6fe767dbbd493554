/** @file The emulator's libraries as its own test calls them: through koffi, without the backend. Host memory stays where it is while it is used. */
import { createRequire } from 'node:module';
import { join } from 'node:path';

type Argument = number | bigint | string | null | NodeJS.TypedArray | readonly string[];
type NativeFunction = (...args: Argument[]) => number;
interface Koffi {
  load(path: string): { func(signature: string): NativeFunction };
  address(memory: NodeJS.TypedArray): bigint;
  view(address: bigint, bytes: number): ArrayBuffer;
}

/** koffi, or null where it is not installed. */
export function loadKoffi(): Koffi | null {
  try {
    return createRequire(import.meta.url)('koffi') as Koffi;
  } catch {
    return null;
  }
}

const SIGNATURES: Record<string, Record<string, string>> = {
  'libcuda.so.1': {
    cuInit: 'uint32_t',
    cuDevicePrimaryCtxRetain: 'void*, int',
    cuDevicePrimaryCtxReset_v2: 'int',
    cuCtxSetCurrent: 'uint64_t',
    cuCtxSynchronize: '',
    cuDeviceGetAttribute: 'void*, int, int',
    cuDeviceGetDefaultMemPool: 'void*, int',
    cuMemPoolGetAttribute: 'uint64_t, int, void*',
    cuMemPoolTrimTo: 'uint64_t, size_t',
    cuMemAlloc_v2: 'void*, size_t',
    cuMemAllocAsync: 'void*, size_t, uint64_t',
    cuMemFreeAsync: 'uint64_t, uint64_t',
    cuMemFree_v2: 'uint64_t',
    cuMemHostAlloc: 'void*, size_t, uint32_t',
    cuMemcpyHtoDAsync_v2: 'uint64_t, uint64_t, size_t, uint64_t',
    cuMemcpyDtoHAsync_v2: 'uint64_t, uint64_t, size_t, uint64_t',
    cuStreamCreate: 'void*, uint32_t',
    cuStreamSynchronize: 'uint64_t',
    cuStreamBeginCapture_v2: 'uint64_t, int',
    cuStreamEndCapture: 'uint64_t, void*',
    cuGraphInstantiateWithFlags: 'void*, uint64_t, uint64_t',
    cuGraphLaunch: 'uint64_t, uint64_t',
    cuGraphDestroy: 'uint64_t',
    cuGraphGetNodes: 'uint64_t, void*, void*',
    cuGraphNodeGetType: 'uint64_t, void*',
    cuGraphMemsetNodeGetParams: 'uint64_t, void*',
    cuGraphNodeGetDependencies: 'uint64_t, void*, void*',
    cuGraphNodeGetDependentNodes: 'uint64_t, void*, void*',
    cuGraphAddDependencies: 'uint64_t, const void*, const void*, size_t',
    cuGraphDestroyNode: 'uint64_t',
    cuGraphExecDestroy: 'uint64_t',
    cuMemsetD32Async: 'uint64_t, uint32_t, size_t, uint64_t',
    cuEventCreate: 'void*, uint32_t',
    cuEventRecord: 'uint64_t, uint64_t',
    cuEventQuery: 'uint64_t',
    cuEventSynchronize: 'uint64_t',
    cuEventElapsedTime: 'void*, uint64_t, uint64_t',
    cuMemGetInfo_v2: 'void*, void*',
    cuMemcpyHtoD_v2: 'uint64_t, const void*, size_t',
    cuMemcpyDtoH_v2: 'void*, uint64_t, size_t',
    cuMemcpyDtoD_v2: 'uint64_t, uint64_t, size_t',
    cuMemsetD32_v2: 'uint64_t, uint32_t, size_t',
    cuModuleLoadData: 'void*, const void*',
    cuModuleUnload: 'uint64_t',
    cuModuleGetFunction: 'void*, uint64_t, const char*',
    cuFuncSetAttribute: 'uint64_t, int, int',
    cuTensorMapEncodeTiled:
      'uint64_t, int, uint32_t, uint64_t, const void*, const void*, const void*, const void*, int, int, int, int',
    cuLaunchKernel:
      'uint64_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint64_t, const void*, uint64_t',
  },
  'libnvrtc.so': {
    nvrtcCreateProgram: 'void*, const char*, const char*, int, const char**, const char**',
    nvrtcCompileProgram: 'uint64_t, int, const char**',
    nvrtcDestroyProgram: 'void*',
    nvrtcGetProgramLogSize: 'uint64_t, void*',
    nvrtcGetProgramLog: 'uint64_t, void*',
    nvrtcGetCUBINSize: 'uint64_t, void*',
    nvrtcGetCUBIN: 'uint64_t, void*',
  },
  'libcublasLt.so': {
    cublasLtCreate: 'void*',
    cublasLtMatmulDescCreate: 'void*, int, int',
    cublasLtMatmulDescSetAttribute: 'uint64_t, int, const void*, size_t',
    cublasLtMatrixLayoutCreate: 'void*, int, uint64_t, uint64_t, int64_t',
    cublasLtMatrixLayoutSetAttribute: 'uint64_t, int, const void*, size_t',
    cublasLtMatmulPreferenceCreate: 'void*',
    cublasLtMatmulPreferenceSetAttribute: 'uint64_t, int, const void*, size_t',
    cublasLtMatmulAlgoGetHeuristic:
      'uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, int, void*, void*',
    cublasLtMatmul:
      'uint64_t, uint64_t, const void*, uint64_t, uint64_t, uint64_t, uint64_t, const void*, uint64_t, uint64_t, uint64_t, uint64_t, ' +
      'const void*, uint64_t, size_t, uint64_t',
  },
};

/** An argument of a kernel: an address, a number of a type, or what lies somewhere. */
export type KernelArgument = bigint | { readonly int: number } | { readonly float: number } | { readonly at: bigint };

export interface Launch {
  grid?: readonly [number, number?, number?];
  block: readonly [number, number?, number?];
  shared?: number;
}

export class Libraries {
  readonly #koffi: Koffi;
  readonly #functions: Record<string, NativeFunction> = {};
  readonly #out = Buffer.allocUnsafeSlow(16);

  constructor(koffi: Koffi, folder: string) {
    this.#koffi = koffi;
    for (const [file, signatures] of Object.entries(SIGNATURES)) {
      const library = koffi.load(join(folder, file));
      for (const [name, parameters] of Object.entries(signatures))
        this.#functions[name] = library.func(`int ${name}(${parameters})`);
    }
    this.ok('cuInit', 0);
    this.ok('cuDevicePrimaryCtxRetain', this.#out, 0);
    this.ok('cuCtxSetCurrent', this.#out.readBigUInt64LE(0));
  }

  /** The status that a function returns. */
  call(name: string, ...args: Argument[]): number {
    return this.#functions[name]!(...args);
  }

  ok(name: string, ...args: Argument[]): void {
    const status = this.call(name, ...args);
    if (status !== 0) throw new Error(`${name} returned ${status}`);
  }

  /** The 64 bits that a function writes to its first argument. */
  made(name: string, ...args: Argument[]): bigint {
    this.#out.writeBigUInt64LE(0n, 0);
    this.ok(name, this.#out, ...args);
    return this.#out.readBigUInt64LE(0);
  }

  /** The image of a source, or what the compiler said. */
  compile(
    source: string,
    options: readonly string[] = [],
    headers: Readonly<Record<string, string>> = {},
  ): Buffer | string {
    const names = Object.keys(headers);
    const program = this.made('nvrtcCreateProgram', source, 'test.cu', names.length, Object.values(headers), names);
    const all = ['--gpu-architecture=sm_90', ...options];
    const status = this.call('nvrtcCompileProgram', program, all.length, all);
    const [size, text] =
      status === 0 ? ['nvrtcGetCUBINSize', 'nvrtcGetCUBIN'] : ['nvrtcGetProgramLogSize', 'nvrtcGetProgramLog'];
    this.ok(size!, program, this.#out);
    const result = Buffer.allocUnsafeSlow(Number(this.#out.readBigUInt64LE(0)));
    this.ok(text!, program, result);
    this.#out.writeBigUInt64LE(program, 0);
    this.ok('nvrtcDestroyProgram', this.#out);
    return status === 0 ? result : `${status}: ${result.toString()}`;
  }

  /** One kernel of a source. */
  kernel(
    name: string,
    source: string,
    options: readonly string[] = [],
    headers: Readonly<Record<string, string>> = {},
  ): bigint {
    const image = this.compile(source, options, headers);
    if (typeof image === 'string') throw new Error(image);
    return this.made('cuModuleGetFunction', this.made('cuModuleLoadData', image), name);
  }

  /** The status of a launch. */
  launch(kernel: bigint, { grid = [1], block, shared = 0 }: Launch, args: readonly KernelArgument[]): number {
    const values = Buffer.allocUnsafeSlow(8 * args.length + 8);
    const pointers = Buffer.allocUnsafeSlow(8 * args.length + 8);
    const base = this.#koffi.address(values);
    for (const [n, argument] of args.entries()) {
      if (typeof argument === 'bigint') values.writeBigUInt64LE(argument, 8 * n);
      else if ('int' in argument) values.writeInt32LE(argument.int, 8 * n);
      else if ('float' in argument) values.writeFloatLE(argument.float, 8 * n);
      const place = typeof argument === 'object' && 'at' in argument ? argument.at : base + BigInt(8 * n);
      pointers.writeBigUInt64LE(place, 8 * n);
    }
    const [gx, gy = 1, gz = 1] = grid;
    const [bx, by = 1, bz = 1] = block;
    return this.call('cuLaunchKernel', kernel, gx, gy, gz, bx, by, bz, shared, 0, pointers, 0);
  }

  /** Page-locked memory of the host, and its address. */
  pinned(count: number): { address: bigint; floats: Float32Array } {
    const address = this.made('cuMemHostAlloc', 4 * count, 0);
    return { address, floats: new Float32Array(this.#koffi.view(address, 4 * count)) };
  }

  allocate(bytes: number): bigint {
    return this.made('cuMemAlloc_v2', bytes);
  }

  upload(values: Float32Array | Int32Array | Uint8Array | Uint16Array | Uint32Array): bigint {
    const address = this.allocate(values.byteLength);
    this.ok('cuMemcpyHtoD_v2', address, values, values.byteLength);
    return address;
  }

  floats(address: bigint, count: number): Float32Array {
    const values = new Float32Array(count);
    this.ok('cuMemcpyDtoH_v2', values, address, values.byteLength);
    return values;
  }

  words(address: bigint, count: number): Uint32Array {
    const values = new Uint32Array(count);
    this.ok('cuMemcpyDtoH_v2', values, address, values.byteLength);
    return values;
  }
}
