/**
 * @file Tensors from where a model's weights come from to the active backend, in the form that is wanted, with no more of them on the host at a time than the
 * largest tensor takes in its file: what a backend takes as it is stored is read ahead, several tensors at a time, while those before are on their way to it, and
 * what the host quantises is read by rows.
 */
import {
  type FourBitType,
  holdShards,
  type StoreAsOptions,
  StoredFormError,
  type StoredFormName,
  type StoredType,
  storeAs,
  storedTensor,
  takesStored,
} from '@spft/sparse-ops';
import {
  formOf,
  type PackedArraysOf,
  quantisesByRows,
  RowsIn4Bits,
  STORED_BYTES,
  storePacked,
  writeStored,
} from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { OF_LINEAR_LAYER, wantedForms } from './converted-modules.js';
import { ModelError } from './errors.js';
import { requireFinite, requireFiniteStored } from './finite.js';
import { LinearLayer } from './linear-layer.js';
import { type LlamaConfig, llamaTensors } from './llama-config.js';
import { formOfPrecision, is4Bits, type LoadOptions, storeOptions } from './load-options.js';
import type { WeightSource } from './types.js';

const isStoredType = (dtype: string | undefined): dtype is StoredType =>
  dtype === 'BF16' || dtype === 'F16' || dtype === 'F32';

/** Bytes of tensors that are under way at a time, with the one that is wanted; fewer where the largest tensor is smaller, and more for that one alone. */
const AHEAD_BYTES = 2 ** 28;
/** Bytes of rows that are read and quantised at a time. */
const PIECE_BYTES = 2 ** 22;

/** Reads tensors in the shapes that the config gives them. */
export class WeightReader {
  readonly tensors: tf.Tensor[] = [];
  readonly #shapes: ReadonlyMap<string, readonly number[]>;
  /** The form that a tensor is wanted in; null for plain numbers. */
  readonly #formOf: (name: string) => StoredFormName | null;
  /** Names that nothing was read of yet, in about the order in which they will be asked for. */
  readonly #unread: Set<string>;
  readonly #ahead = new Map<string, Promise<Uint8Array>>();
  #aheadBytes = 0;
  readonly #mostAhead: number;

  constructor(
    config: LlamaConfig,
    private readonly source: WeightSource,
    private readonly options: LoadOptions,
  ) {
    this.#shapes = llamaTensors(config);
    this.#formOf = wantedForms(config, options);
    this.#unread = new Set(this.#shapes.keys());
    const sizes = [...this.#shapes.keys()].map((name) => this.#fileBytesOf(name));
    this.#mostAhead = Math.min(AHEAD_BYTES, Math.max(0, ...sizes));
  }

  async read<T extends tf.Tensor>(name: string): Promise<T> {
    return this.#made(await this.#tensor(name, [...this.#shapes.get(name)!])) as T;
  }

  #made<T extends tf.Tensor>(tensor: T): T {
    this.tensors.push(tensor);
    this.options.onProgress?.(this.tensors.length, this.#shapes.size);
    return tensor;
  }

  async #tensor(name: string, shape: number[]): Promise<tf.Tensor> {
    const { source } = this;
    const packed = this.options.dequantise ? null : source.packed?.(name);
    if (packed) return this.#packed(name, await packed);
    if (source.tensor) return source.tensor(name);
    const stored = this.#storedType(name);
    if (stored === null) {
      const values = await source.float32(name);
      requireFinite(name, values);
      return tf.tensor(values, shape, 'float32');
    }
    this.#begin(name);
    this.#readAhead();
    const bytes = await this.#ahead.get(name)!;
    this.#ahead.delete(name);
    this.#aheadBytes -= this.#bytesOf(name);
    const part = this.#partOf(name);
    requireFiniteStored(part ? `${name} from byte ${part[0]} on` : name, bytes, stored);
    return part ? this.options.shards!.gather(bytes, stored, shape) : storedTensor(bytes, stored, shape);
  }

  /** The bytes that this process reads; null for all. */
  #partOf(name: string): readonly [number, number] | null {
    const { shards } = this.options;
    return shards && OF_LINEAR_LAYER.test(name) ? shards.range(this.#sizeOf(name)) : null;
  }

  #packed(name: string, arrays: PackedArraysOf): tf.Tensor {
    const form = formOfPrecision(this.options);
    if (form !== null && this.#formOf(name) === null && OF_LINEAR_LAYER.test(name)) {
      throw new ModelError(
        `'${name}' is in ${arrays.type} in the checkpoint, and modules_to_not_convert has it as plain numbers; leave that out, or use the original model`,
      );
    }
    if (form !== null && form !== arrays.type) {
      throw new ModelError(
        `'${name}' is in ${arrays.type} in the checkpoint, and ${form} was asked for: it would be rounded twice; leave base_precision and bnb_4bit_quant_type out, ` +
          'or use the original model',
      );
    }
    return storePacked(arrays);
  }

  #readAhead(): void {
    for (const name of this.#unread) {
      if (this.#byRows(name) !== null) continue;
      if (this.#storedType(name) === null || this.#aheadBytes + this.#bytesOf(name) > this.#mostAhead) return;
      this.#begin(name);
    }
  }

  #begin(name: string): void {
    if (!this.#unread.delete(name)) return;
    const part = this.#partOf(name);
    const bytes = part ? this.source.bytes!(name, ...part) : this.source.bytes!(name);
    // Whoever asks for the tensor gets the error; until then it is nobody's.
    bytes.catch(() => {});
    this.#ahead.set(name, bytes);
    this.#aheadBytes += this.#bytesOf(name);
  }

  #bytesOf(name: string): number {
    const part = this.#partOf(name);
    return part ? part[1] - part[0] : this.#sizeOf(name);
  }

  #sizeOf(name: string): number {
    return this.#shapes.get(name)!.reduce((size, n) => size * n, STORED_BYTES[this.#storedType(name)!]);
  }

  /** What it takes where it comes from; 0 where that is not known. */
  #fileBytesOf(name: string): number {
    const { dtype } = this.source.entry(name);
    return isStoredType(dtype) ? this.#shapes.get(name)!.reduce((size, n) => size * n, STORED_BYTES[dtype]) : 0;
  }

  /** How it is stored, where the backend takes it so. */
  #storedType(name: string): StoredType | null {
    const { dtype } = this.source.entry(name);
    if (!this.source.bytes) return null;
    // Who holds parts takes them as they are stored, whether the backend does or not; other types, and codes, are read whole and divided then.
    if (this.options.shards && OF_LINEAR_LAYER.test(name)) return isStoredType(dtype) ? dtype : null;
    return takesStored(dtype) ? dtype : null;
  }

  /** What it is stored as where it is quantised while its rows are read; null for all others. */
  #byRows(name: string): StoredType | null {
    const { source, options } = this;
    const { dtype } = source.entry(name);
    const inParts = options.shards && OF_LINEAR_LAYER.test(name);
    if (!is4Bits(this.#formOf(name)) || inParts || !quantisesByRows()) return null;
    return source.bytes && !source.tensor && isStoredType(dtype) ? dtype : null;
  }

  /** A matrix in the form that is wanted. */
  async matrix(name: string): Promise<tf.Tensor2D> {
    const form = this.#formOf(name);
    if (form === null) return this.read<tf.Tensor2D>(name);
    const { dtype } = this.source.entry(name);
    const options = { ...storeOptions(this.options), dtype: isStoredType(dtype) ? dtype : 'F32' } as const;
    try {
      const stored = this.#byRows(name);
      if (stored && is4Bits(form)) return this.#made(await this.#quantised(name, form, stored, options));
      const weight = await this.read<tf.Tensor2D>(name);
      if (formOf(weight) !== null) return weight;
      const made = storeAs(weight, form, options);
      this.tensors[this.tensors.indexOf(weight)] = made;
      weight.dispose();
      return made;
    } catch (error) {
      if (error instanceof StoredFormError) throw new StoredFormError(`'${name}': ${error.message}`, { cause: error });
      throw error;
    }
  }

  /** Reads some rows at a time, the next while those before are quantised: as numbers no more than these are there. */
  async #quantised(name: string, type: FourBitType, stored: StoredType, options: StoreAsOptions): Promise<tf.Tensor2D> {
    const [out, inputs] = this.#shapes.get(name) as [number, number];
    const rows = new RowsIn4Bits([out, inputs], type, options);
    const rowBytes = inputs * STORED_BYTES[stored];
    const step = Math.max(1, Math.floor(PIECE_BYTES / rowBytes));
    const values = new Float32Array(Math.min(out, step) * inputs);
    const piece = (row: number): Promise<Uint8Array> | null => {
      if (row >= out) return null;
      const bytes = this.source.bytes!(name, row * rowBytes, Math.min(out, row + step) * rowBytes);
      // Whoever waits for it gets the error; until then it is nobody's.
      bytes.catch(() => {});
      return bytes;
    };
    this.#unread.delete(name);
    let next = piece(0);
    for (let row = 0; row < out; row += step) {
      const bytes = await next!;
      next = piece(row + step);
      requireFiniteStored(name, bytes, stored, row * inputs);
      writeStored(bytes, stored, values);
      rows.add(values.subarray(0, bytes.byteLength / STORED_BYTES[stored]));
    }
    return rows.finish();
  }

  /** Linear layers of one decoder layer. A bias is read where the config has one. */
  async linears(names: readonly string[]): Promise<LinearLayer[]> {
    const weights: tf.Tensor2D[] = [];
    const biases: (tf.Tensor1D | null)[] = [];
    for (const name of names) {
      weights.push(await this.matrix(`${name}.weight`));
      biases.push(this.#shapes.has(`${name}.bias`) ? await this.read<tf.Tensor1D>(`${name}.bias`) : null);
    }
    const held = this.#inShards(weights);
    return names.map((name, n) => new LinearLayer(name, held[n]!, biases[n]!));
  }

  #inShards(weights: readonly tf.Tensor2D[]): readonly tf.Tensor2D[] {
    const { shards } = this.options;
    if (!shards) return weights;
    const held = holdShards(shards, weights);
    weights.forEach((weight, n) => {
      this.tensors[this.tensors.indexOf(weight)] = held[n]!;
    });
    return held;
  }
}
