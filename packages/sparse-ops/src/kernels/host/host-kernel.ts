/**
 * @file Kernels written as plain loops, for the tfjs backends whose tensors lie in memory that JavaScript sees: `cpu` and `wasm`.
 *
 * A loop over typed arrays takes 1 to 2 ns an element and no call overhead; on wasm it beats a composition wherever data is moved,
 * gathered or broadcast. Backends are told by their shape, without importing them, so the package stays bundleable and they optional.
 */
import * as tf from '@tensorflow/tfjs';

export type HostArray = Float32Array | Int32Array | Uint8Array;

/** Shape and dtype of an output. */
export interface OutputSpec {
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32';
}

export interface HostKernel<Attributes> {
  readonly kernelName: string;
  /** Where it is registered: only where it was measured to beat the composition. */
  readonly backends: readonly ('cpu' | 'wasm')[];
  /** What to allocate, one spec for a kernel of one output, an array for several. */
  readonly outputs: (
    inputs: Readonly<Record<string, tf.TensorInfo>>,
    attributes: Attributes,
  ) => OutputSpec | OutputSpec[];
  /**
   * Fills the outputs. They hold garbage before (wasm does not clear memory), so every element must be written. Views are valid during the
   * call only.
   */
  readonly run: (
    inputs: Readonly<Record<string, HostArray>>,
    outputs: readonly HostArray[],
    attributes: Attributes,
    shapes: Readonly<Record<string, tf.TensorInfo>>,
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
export function registerOwnKernel(kernelName: string, backendName: string, kernelFunc: tf.KernelFunc): boolean {
  const registered = tf.getKernel(kernelName, backendName);
  if (registered && !own.has(registered.kernelFunc)) return false;
  if (registered) tf.unregisterKernel(kernelName, backendName);
  own.add(kernelFunc);
  tf.registerKernel({ kernelName, backendName, kernelFunc });
  return true;
}

/** Registers the kernel under its name for each of its backends. */
export function registerHostKernel<Attributes>(kernel: HostKernel<Attributes>): void {
  const kernelFunc: tf.KernelFunc = ({ inputs, attrs, backend }) => {
    const infos = inputs as Record<string, tf.TensorInfo>;
    const attributes = attrs as Attributes;
    // A tensor made on another backend moves here when first looked at, which may allocate: so look before any view is taken.
    for (const name in infos) view(backend as object, infos[name]!);
    const specs = kernel.outputs(infos, attributes);
    const outputs = (Array.isArray(specs) ? specs : [specs]).map((spec) => allocate(backend as object, spec));
    const arrays: Record<string, HostArray> = {};
    for (const name in infos) arrays[name] = view(backend as object, infos[name]!);
    kernel.run(
      arrays,
      outputs.map((info) => view(backend as object, info)),
      attributes,
      infos,
    );
    return Array.isArray(specs) ? outputs : outputs[0]!;
  };
  for (const backendName of kernel.backends) registerOwnKernel(kernel.kernelName, backendName, kernelFunc);
}
