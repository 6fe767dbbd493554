/**
 * @file Kernels written as plain loops, for the tfjs backends whose tensors lie in memory that JavaScript sees: `cpu` and `wasm`.
 *
 * A loop over typed arrays takes 1 to 2 ns an element and no call overhead; on wasm it beats a composition wherever data is moved,
 * gathered or broadcast. Backends are told by their shape, without importing them, so the package stays bundleable and they optional.
 */
import * as tf from '@tensorflow/tfjs';
import { guarded } from '../../contract/journal.js';
import type { KernelAttributesOf, KernelInputsOf, KernelName } from '../../contract/kernels.js';

export type HostArray = Float32Array | Int32Array | Uint8Array;

/** Shape and dtype of an output. */
export interface OutputSpec {
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32';
}

/** A kernel of the contract as a loop. */
export interface HostKernel<Name extends KernelName> {
  /** Where it is registered: only where it was measured to beat the composition. */
  readonly backends: readonly ('cpu' | 'wasm')[];
  /** What to allocate, one spec for a kernel of one output, an array for several. */
  readonly outputs: (inputs: KernelInputsOf<Name>, attributes: KernelAttributesOf<Name>) => OutputSpec | OutputSpec[];
  /**
   * Fills the outputs. They hold garbage before (wasm does not clear memory), so every element must be written. Views are valid during the
   * call only.
   */
  readonly run: (
    inputs: KernelInputsOf<Name, HostArray>,
    outputs: readonly HostArray[],
    attributes: KernelAttributesOf<Name>,
    shapes: KernelInputsOf<Name>,
  ) => void;
}

interface CpuMemory {
  readonly data: { get(dataId: object): { values: HostArray } };
  makeTensorInfo(shape: number[], dtype: string, values: HostArray): tf.TensorInfo;
}

interface WasmMemory {
  makeOutput(shape: number[], dtype: string): tf.TensorInfo;
  typedArrayFromHeap(info: tf.TensorInfo): HostArray;
}

const isWasm = (backend: object): backend is WasmMemory => 'typedArrayFromHeap' in backend && 'makeOutput' in backend;

/** A tensor with room for `spec` on a backend of host memory. */
export function allocate(backend: object, { shape, dtype }: OutputSpec): tf.TensorInfo {
  if (isWasm(backend)) return backend.makeOutput([...shape], dtype);
  const size = tf.util.sizeFromShape([...shape]);
  const values = dtype === 'int32' ? new Int32Array(size) : new Float32Array(size);
  return (backend as CpuMemory).makeTensorInfo([...shape], dtype, values);
}

/** The tensor's memory itself. On wasm it is valid until something allocates: the heap may grow and move. */
export function view(backend: object, info: tf.TensorInfo): HostArray {
  return isWasm(backend) ? backend.typedArrayFromHeap(info) : (backend as CpuMemory).data.get(info.dataId).values;
}

const own = new WeakSet<tf.KernelFunc>();

/** Registers a kernel of this package, unless someone else has registered one under its name: theirs is kept. @returns whether ours is registered now. */
export function registerOwnKernel(kernelName: KernelName, backendName: string, kernelFunc: tf.KernelFunc): boolean {
  const registered = tf.getKernel(kernelName, backendName);
  if (registered && !own.has(registered.kernelFunc)) return false;
  if (registered) tf.unregisterKernel(kernelName, backendName);
  const ours = own.has(kernelFunc) ? kernelFunc : guarded(kernelFunc);
  own.add(ours);
  tf.registerKernel({ kernelName, backendName, kernelFunc: ours });
  return true;
}

/** A kernel's loop without the names of its inputs, as what runs all of them has it. */
interface AnyHostKernel {
  readonly outputs: (inputs: Record<string, tf.TensorInfo>, attributes: unknown) => OutputSpec | OutputSpec[];
  readonly run: (
    inputs: Record<string, HostArray>,
    outputs: readonly HostArray[],
    attributes: unknown,
    shapes: Record<string, tf.TensorInfo>,
  ) => void;
}

/** tfjs's kernel of a loop. */
export function hostKernelFunc(kernel: AnyHostKernel): tf.KernelFunc {
  return ({ inputs, attrs, backend }) => {
    const infos = inputs as Record<string, tf.TensorInfo>;
    // A tensor made on another backend moves here when first looked at, which may allocate: so look before any view is taken.
    for (const name in infos) view(backend as object, infos[name]!);
    const specs = kernel.outputs(infos, attrs);
    const outputs = (Array.isArray(specs) ? specs : [specs]).map((spec) => allocate(backend as object, spec));
    const arrays: Record<string, HostArray> = {};
    for (const name in infos) arrays[name] = view(backend as object, infos[name]!);
    kernel.run(
      arrays,
      outputs.map((info) => view(backend as object, info)),
      attrs,
      infos,
    );
    return Array.isArray(specs) ? outputs : outputs[0]!;
  };
}

/** Registers a loop as the kernel of this name for each of its backends. */
export function registerHostKernel<Name extends KernelName>(kernelName: Name, kernel: HostKernel<Name>): void {
  const kernelFunc = guarded(hostKernelFunc(kernel as unknown as AnyHostKernel));
  own.add(kernelFunc);
  for (const backendName of kernel.backends) registerOwnKernel(kernelName, backendName, kernelFunc);
}
