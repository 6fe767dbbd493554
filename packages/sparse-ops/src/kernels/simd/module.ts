/**
 * @file Our SIMD kernels on the memory of tfjs's wasm backend.
 *
 * `assembly/` is compiled (`npm run assembly`) to a module that imports the backend's memory, so its kernels read and write tensors where
 * they lie: twice, with relaxed SIMD (a product and a sum in one instruction) for engines that have it, and without. Told by structure
 * (`wasm.asm.memory`), as the backend is optional; where the memory is not to be had, or the engine lacks SIMD, the kernels of `../host` and the
 * compositions do the work.
 */
import type * as tf from '@tensorflow/tfjs';
import type { KernelAttributesOf, KernelInfosOf, KernelInputsOf, KernelName } from '../../contract/kernels.js';
import { ASSEMBLY, RELAXED_ASSEMBLY } from './assembly.generated.js';
import { withSharedMemory } from './shared-memory.js';

/** An address in bytes. */
export type Address = number;
type Kernel = (...args: number[]) => void;

/** As `assembly/` documents them. */
export interface SimdModule {
  readonly adamw: Kernel;
  readonly attention: Kernel;
  readonly attentionGrad: Kernel;
  readonly attentionScratch: (longest: number, headDim: number) => number;
  readonly deepProduct: Kernel;
  readonly multiply: Kernel;
  readonly multiplyFew: Kernel;
  readonly multiplyScratch: () => number;
  readonly product: Kernel;
  readonly rmsNorm: Kernel;
  readonly rmsNormGrad: Kernel;
  readonly rope: Kernel;
  readonly swiglu: Kernel;
  readonly swigluGrad: Kernel;
  readonly transpose: Kernel;
  readonly unpack4bit: Kernel;
  readonly unpack4bitColumns: Kernel;
}

/** What is used of tfjs's `BackendWasm`. */
interface WasmBackend {
  readonly wasm: { readonly asm?: { readonly memory?: unknown } };
  makeOutput(shape: readonly number[], dtype: string): tf.TensorInfo;
  typedArrayFromHeap(info: tf.TensorInfo): Float32Array | Int32Array;
  disposeData(dataId: object): boolean;
}

/** The two that there are: `relaxed` where the engine has relaxed SIMD (Node 22, Chrome 114 and newer), else `plain`. */
export type SimdKind = 'plain' | 'relaxed';

const bytesOf = (kind: SimdKind): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(kind === 'plain' ? ASSEMBLY : RELAXED_ASSEMBLY), (character) => character.charCodeAt(0));

/** Whether this engine can run the module. */
export const runsSimd = (kind: SimdKind): boolean => WebAssembly.validate(bytesOf(kind));

let asked: SimdKind | null = null;

/** Which of the modules backends get from now on that have none yet; null for the better of those that the engine can run. To test and to time both. */
export function askForSimd(kind: SimdKind | null): void {
  asked = kind;
  modules = new WeakMap();
}

function instantiate(memory: unknown): SimdModule | null {
  if (!(memory instanceof WebAssembly.Memory)) return null;
  try {
    const bytes = bytesOf(asked ?? (runsSimd('relaxed') ? 'relaxed' : 'plain'));
    const module = new WebAssembly.Module(memory.buffer instanceof ArrayBuffer ? bytes : withSharedMemory(bytes));
    return new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as SimdModule;
  } catch {
    return null;
  }
}

/** One call's view of a backend: its kernels, where tensors lie, outputs and scratch. */
export class SimdCall {
  readonly #scratch: tf.TensorInfo[] = [];

  constructor(
    readonly module: SimdModule,
    private readonly backend: WasmBackend,
  ) {}

  /** Where a tensor's values begin; stays true while it lives. One made on another backend moves here first. */
  at(info: tf.TensorInfo): Address {
    return this.backend.typedArrayFromHeap(info).byteOffset;
  }

  /** A tensor's values; valid until something allocates. */
  values(info: tf.TensorInfo): Float32Array | Int32Array {
    return this.backend.typedArrayFromHeap(info);
  }

  /** A new tensor of garbage. */
  output(shape: readonly number[]): tf.TensorInfo {
    return this.backend.makeOutput([...shape], 'float32');
  }

  /** Room for `numbers` of 4 bytes until the call ends. */
  scratch(numbers: number): Address {
    const info = this.backend.makeOutput([numbers], 'float32');
    this.#scratch.push(info);
    return this.at(info);
  }

  /** A copy of the values until the call ends. */
  copy(values: Int32Array): Address {
    const info = this.backend.makeOutput([values.length], 'int32');
    this.#scratch.push(info);
    this.values(info).set(values);
    return this.at(info);
  }

  end(): void {
    for (const { dataId } of this.#scratch) this.backend.disposeData(dataId);
  }
}

/** One kernel: makes its outputs, and calls the module with the places of tensors. */
export type SimdRun<Name extends KernelName> = (
  call: SimdCall,
  inputs: KernelInputsOf<Name>,
  attributes: KernelAttributesOf<Name>,
) => KernelInfosOf<Name>;

/** Makes a call on a backend, and gives back what it needed until its end. */
export function withCall<T>(backend: unknown, f: (call: SimdCall) => T): T {
  const module = simdModule(backend as object);
  if (module === null) throw new Error('internal: a SIMD kernel was called on a backend whose memory it cannot share');
  const call = new SimdCall(module, backend as WasmBackend);
  try {
    return f(call);
  } finally {
    call.end();
  }
}

/** tfjs's kernel of a SIMD kernel. */
export const kernelFuncOf =
  (run: SimdRun<never>): tf.KernelFunc =>
  ({ inputs, attrs, backend }) =>
    withCall(backend, (call) => run(call, inputs as never, attrs as never));

let modules = new WeakMap<object, SimdModule | null>();

/** The kernels on the memory of this backend, or null where they cannot run. */
export function simdModule(backend: object): SimdModule | null {
  const known = modules.get(backend);
  if (known !== undefined) return known;
  const made = instantiate((backend as Partial<WasmBackend>).wasm?.asm?.memory);
  modules.set(backend, made);
  return made;
}
