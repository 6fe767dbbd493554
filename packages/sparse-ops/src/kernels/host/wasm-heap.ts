/**
 * @file Working memory on the heap of tfjs's wasm backend, shared by our loops and by the fast parts of that backend.
 *
 * Its XNNPACK multiplies plain matrices at 10 to 20 GFLOP/s, but through tensors every operand is first a slice (a copy) and every call
 * costs 25 µs. Here an operand is a place on the heap: a product of small matrices costs its arithmetic and about 3 µs. Told by structure
 * (`dataIdMap`, `wasm.cwrap`, `wasm.tfjs`), as the backend is optional.
 *
 * XNNPACK packs the right operand and keeps that by tensor id, so a place whose content changes needs a new id for every product.
 */
import * as tf from '@tensorflow/tfjs';
import type { KernelName } from '../../contract/kernels.js';
import { registerOwnKernel } from './host-kernel.js';

type Numeric = (...args: number[]) => void;

/** What is used of tfjs's `BackendWasm`. */
interface WasmBackend {
  readonly wasm: {
    readonly HEAPU8: Uint8Array;
    cwrap(name: string, returns: null, parameters: string[]): Numeric;
    readonly tfjs: { disposeData(id: number): void };
  };
  readonly dataIdMap: { get(dataId: object): { readonly id: number }; delete(dataId: object): boolean };
  makeOutput(shape: number[], dtype: string, memoryOffset?: number): tf.TensorInfo;
  typedArrayFromHeap(info: tf.TensorInfo): { readonly byteOffset: number };
  disposeData(dataId: object): boolean;
}

interface Functions {
  readonly multiply: Numeric;
  readonly softmax: Numeric;
}

const functionsOf = new WeakMap<object, Functions>();

function functions(backend: WasmBackend): Functions {
  const known = functionsOf.get(backend);
  if (known) return known;
  const load = (name: string, parameters: number) =>
    backend.wasm.cwrap(name, null, new Array<string>(parameters).fill('number'));
  const loaded = { multiply: load(tf.BatchMatMul, 9), softmax: load(tf.Softmax, 4) };
  functionsOf.set(backend, loaded);
  return loaded;
}

/** Where a matrix begins on the heap, in floats. */
export type Place = number;

/** Places begin at multiples of 16 bytes, as vector loads like it. */
const align = (floats: number): number => (floats + 3) & ~3;

/** How many floats to ask for, so that `take` can hand out pieces of these sizes. */
export const roomFor = (...sizes: number[]): number => sizes.reduce((sum, floats) => sum + align(floats), 0);

export class WasmHeap {
  readonly #backend: WasmBackend;
  readonly #functions: Functions;
  readonly #arena: tf.TensorInfo;
  /** Room for the shapes of a product's operands, in words. */
  readonly #shapes: Place;
  #next: Place;
  #f32: Float32Array;

  /** @param room as `roomFor` gives it. */
  constructor(backend: object, room = 0) {
    this.#backend = backend as WasmBackend;
    this.#functions = functions(this.#backend);
    this.#arena = this.#backend.makeOutput([room + 12], 'float32');
    this.#shapes = align(this.place(this.#arena));
    this.#next = this.#shapes + 8;
    this.#f32 = new Float32Array(this.#backend.wasm.HEAPU8.buffer);
  }

  /** The whole heap as floats. Take it anew after every call here and every allocation: the heap may have grown and moved. */
  get f32(): Float32Array {
    const { buffer } = this.#backend.wasm.HEAPU8;
    if (this.#f32.buffer !== buffer) this.#f32 = new Float32Array(buffer);
    return this.#f32;
  }

  /** Where a tensor's values are. */
  place(info: tf.TensorInfo): Place {
    return this.#backend.typedArrayFromHeap(info).byteOffset / 4;
  }

  /** Room for `floats` numbers until `free`; holds garbage. */
  take(floats: number): Place {
    const place = this.#next;
    this.#next += align(floats);
    return place;
  }

  /** out [m, n] = a [m, k] · b [k, n]; m, k and n positive. */
  multiply(a: Place, b: Place, out: Place, m: number, k: number, n: number): void {
    const at = this.#shapes;
    new Int32Array(this.#backend.wasm.HEAPU8.buffer, at * 4, 6).set([1, m, k, 1, k, n]);
    const [left, right, result] = [this.#name(a, m * k), this.#name(b, k * n), this.#name(out, m * n)];
    const [leftId, rightId, resultId] = [this.#id(left), this.#id(right), this.#id(result)];
    this.#functions.multiply(leftId, at * 4, 3, rightId, (at + 3) * 4, 3, 0, 0, resultId);
    for (const info of [left, right, result]) this.#forget(info);
  }

  /** out [rows, columns] = softmax of each row of x; both positive. */
  softmax(x: Place, out: Place, rows: number, columns: number): void {
    const [input, output] = [this.#name(x, rows * columns), this.#name(out, rows * columns)];
    this.#functions.softmax(this.#id(input), this.#id(output), columns, rows);
    this.#forget(input);
    this.#forget(output);
  }

  /** Gives the room back. */
  free(): void {
    this.#backend.disposeData(this.#arena.dataId);
  }

  /** Makes a place known to the backend, as a tensor that does not own its memory. */
  #name(place: Place, size: number): tf.TensorInfo {
    return this.#backend.makeOutput([size], 'float32', place * 4);
  }

  #id(info: tf.TensorInfo): number {
    return this.#backend.dataIdMap.get(info.dataId).id;
  }

  /** Undoes `#name`; the memory stays. */
  #forget(info: tf.TensorInfo): void {
    this.#backend.wasm.tfjs.disposeData(this.#id(info));
    this.#backend.dataIdMap.delete(info.dataId);
  }
}

/** Registers a kernel that works on the heap itself. */
export function registerWasmKernel(kernelName: KernelName, kernelFunc: tf.KernelFunc): void {
  registerOwnKernel(kernelName, 'wasm', kernelFunc);
}
