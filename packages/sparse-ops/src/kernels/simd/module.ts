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
import { ThreadPool } from './threads/pool.js';
import { defaultThreads } from './threads/workers.js';

/** An address in bytes. */
export type Address = number;
type Kernel = (...args: number[]) => void;

/** The kernels that `assembly/` documents, which write what they make. */
const NAMES = [
  'adamw',
  'add',
  'addColumnsAt',
  'addRow',
  'attention',
  'attentionGrad',
  'deepProduct',
  'gatedScores',
  'gatherColumns',
  'gatherColumnsTransposed',
  'multiply',
  'multiplyFew',
  'product',
  'rmsNorm',
  'rmsNormGrad',
  'rope',
  'swiglu',
  'swigluGrad',
  'transpose',
  'unpack4bit',
  'unpack4bitColumns',
] as const;

type SimdName = (typeof NAMES)[number];

export type SimdModule = Readonly<Record<SimdName, Kernel>> & {
  readonly attentionScratch: (longest: number, headDim: number) => number;
  readonly multiplyScratch: () => number;
};

/** The kernels on a backend's memory. */
interface Simd {
  readonly module: SimdModule;
  readonly pool: ThreadPool<SimdName>;
}

/** What is used of tfjs's `BackendWasm`. */
interface WasmBackend {
  readonly wasm: {
    readonly asm?: { readonly memory?: unknown };
    _malloc(bytes: number): number;
    _free(place: number): void;
  };
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

/** What backends get from now on that have no kernels yet: to test and to time it. */
interface Asked {
  /** Default: the better of those that the engine can run. */
  readonly kind?: SimdKind;
  /** Where memory is shared. Default: as many as this machine has cores. */
  readonly threads?: number;
}

let asked: Asked = {};
let known = new WeakMap<object, Simd | null>();
const pools = new Set<ThreadPool<SimdName>>();

/** Has kernels made anew, as asked for. */
export function askForSimd(next: Asked): void {
  asked = { ...next };
  known = new WeakMap();
  for (const pool of pools) pool.dispose();
  pools.clear();
}

/** How many threads kernels have on memory that is shared, this one included; unless they were made before. */
export function setSimdThreads(threads: number): void {
  asked = { ...asked, threads };
}

const compiled = new Map<string, WebAssembly.Module>();

/** Compiled once: what the engine has made of it since, better with use, is kept. */
function compiledModule(kind: SimdKind, isShared: boolean): WebAssembly.Module {
  const key = `${kind} ${isShared}`;
  const there = compiled.get(key);
  if (there) return there;
  const bytes = bytesOf(kind);
  const module = new WebAssembly.Module(isShared ? withSharedMemory(bytes) : bytes);
  compiled.set(key, module);
  return module;
}

function instantiate(backend: WasmBackend): Simd | null {
  const memory = backend.wasm?.asm?.memory;
  if (!(memory instanceof WebAssembly.Memory)) return null;
  try {
    const isShared = !(memory.buffer instanceof ArrayBuffer);
    const module = compiledModule(asked.kind ?? (runsSimd('relaxed') ? 'relaxed' : 'plain'), isShared);
    const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as SimdModule;
    const { wasm } = backend;
    const pool = new ThreadPool<SimdName>({
      ...{ module, memory, kernels, names: NAMES, threads: isShared ? (asked.threads ?? defaultThreads()) : 1 },
      allocate: (size) => wasm._malloc(size),
      free: (place) => wasm._free(place),
    });
    pools.add(pool);
    return { module: kernels, pool };
  } catch {
    return null;
  }
}

/** One call's view of a backend: its kernels, where tensors lie, outputs and scratch. */
export class SimdCall {
  readonly #scratch: tf.TensorInfo[] = [];

  readonly module: SimdModule;
  readonly pool: ThreadPool<SimdName>;

  constructor(
    { module, pool }: Simd,
    private readonly backend: WasmBackend,
  ) {
    this.module = module;
    this.pool = pool;
  }

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

  /** Gives back what the call needed. What it wrote of a job and did not run is no part of the next call's. */
  end(): void {
    this.pool.forget();
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
  const simd = simdOf(backend as object);
  if (simd === null) throw new Error('internal: a SIMD kernel was called on a backend whose memory it cannot share');
  const call = new SimdCall(simd, backend as WasmBackend);
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

/** The kernels on the memory of this backend, and who runs them; null where they cannot run. */
function simdOf(backend: object): Simd | null {
  const there = known.get(backend);
  if (there !== undefined) return there;
  const made = instantiate(backend as WasmBackend);
  known.set(backend, made);
  return made;
}

/** The kernels on the memory of this backend, or null where they cannot run. */
export const simdModule = (backend: object): SimdModule | null => simdOf(backend)?.module ?? null;

/** How many threads run them, this one included; 0 where they cannot run. */
export const simdThreads = (backend: object): number => simdOf(backend)?.pool.threads ?? 0;
