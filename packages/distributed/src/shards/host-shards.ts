/**
 * @file Frozen matrices of which each rank holds a part, for the backend whose tensors are arrays of the host (`blas`): the plain way beside that of a GPU
 * (`CudaBackend.shardWeights`), over whatever carries the ranks' bytes.
 *
 * A rank keeps 1/N of each layer's numbers; whole layers lie in one buffer in turns. A matrix is a tensor of the backend whose values are a part of that
 * buffer, and whose entry in the backend's store brings its layer there when it is asked for them: no kernel and no layer above knows of it. The next layer
 * comes meanwhile, into memory of the collective's own.
 */
import { bfloat16ToFloat32, float16ToFloat32 } from '@spft/safetensors';
import type { StoredType, WeightShards } from '@spft/sparse-ops';
import { formOf } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import type { Collective, Handle } from '../collective/collective.js';
import { DistributedError } from '../errors.js';

/** What the backend keeps of a tensor; `place` and `storage` are of the memory that its threads share. */
interface Entry {
  values: unknown;
  readonly dtype: string;
  refCount: number;
  place?: number | undefined;
  readonly storage?: unknown;
}

/** That of a matrix in parts: what is read is copied, and nothing is given back. */
const ELSEWHERE = { tensors: Number.POSITIVE_INFINITY };

interface HostBackend {
  readonly data: { get(dataId: object): Entry; set(dataId: object, entry: Entry): void };
  /** Moves a tensor to the shared memory, if there is room. */
  place(info: tf.TensorInfo): number | null;
}

export class HostShards implements WeightShards {
  readonly rank: number;
  readonly size: number;
  readonly #host: Collective;
  readonly #backend: HostBackend;
  readonly #layers: (Layer | null)[] = [];
  /** Where the whole layer of now is. */
  #buffer: tf.Tensor1D | null = null;
  #whole: Layer | null = null;
  #direction: 1 | -1 = 1;
  #ahead: { readonly layer: Layer; readonly handle: Handle<Uint8Array[]> } | null = null;
  readonly #counts = { exposed: 0, ahead: 0 };

  /** @throws DistributedError where the active backend's tensors are no arrays of the host. */
  constructor(host: Collective) {
    if (tf.getBackend() !== 'blas') {
      throw new DistributedError(
        'library',
        `the backend '${tf.getBackend()}' cannot hold a part of the base's weights; cuda and blas can: choose one of them, or leave shard_base out`,
      );
    }
    this.rank = host.rank;
    this.size = host.size;
    this.#host = host;
    this.#backend = tf.backend() as unknown as HostBackend;
  }

  /** Layers so far whose use waited for them from the begin, and those that were asked for ahead. */
  get counts(): { readonly exposed: number; readonly ahead: number } {
    return { ...this.#counts };
  }

  /** In units of 4 bytes, so that every rank has whole numbers. */
  range(bytes: number): readonly [number, number] {
    const each = Math.ceil(bytes / this.size / 4) * 4;
    return [Math.min(bytes, this.rank * each), Math.min(bytes, (this.rank + 1) * each)];
  }

  gather(bytes: Uint8Array, stored: StoredType, shape: readonly number[]): tf.Tensor {
    const parts = this.#host.allGather(bytes).wait();
    const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    const count = tf.util.sizeFromShape([...shape]);
    const wanted = count * (stored === 'F32' ? 4 : 2);
    if (all.length !== wanted) {
      throw new RangeError(`gather: [${shape}] in ${stored} is ${wanted} bytes, and the ranks have ${all.length}`);
    }
    let values: Float32Array;
    if (stored === 'F32') values = new Float32Array(all.buffer);
    else {
      values = new Float32Array(count);
      (stored === 'BF16' ? bfloat16ToFloat32 : float16ToFloat32)(new Uint16Array(all.buffer), values);
    }
    return tf.tensor(values, [...shape], 'float32');
  }

  hold(weights: readonly tf.Tensor[]): tf.Tensor[] {
    const form = weights.map((weight) => formOf(weight)).find((each) => each !== null);
    if (form) {
      throw new DistributedError(
        'library',
        `weights in ${form} cannot be held in parts on 'blas', which unpacks them on the host: leave shard_base out, or base_precision, or choose cuda`,
      );
    }
    const numbers = weights.reduce((sum, { size }) => sum + size, 0);
    const whole = new Float32Array(numbers);
    let at = 0;
    const places = weights.map((weight) => {
      whole.set(weight.dataSync() as Float32Array, at);
      at += weight.size;
      return at - weight.size;
    });
    const [from, to] = this.range(4 * numbers);
    const layer = new Layer(this, this.#layers.length, whole.slice(from / 4, to / 4), numbers);
    this.#layers.push(layer);
    if (this.#buffer === null || this.#buffer.size < numbers) {
      this.#buffer?.dispose();
      this.#whole = null;
      this.#buffer = tf.keep(tf.tensor1d(new Float32Array(numbers)));
      this.#backend.place(this.#buffer);
    }
    return weights.map((weight, n) => {
      const dataId = {};
      this.#backend.data.set(dataId, layer.entry(places[n]!, weight.size));
      weight.dispose();
      return tf.engine().makeTensorFromTensorInfo({ dataId, shape: weight.shape, dtype: 'float32' });
    });
  }

  settle(): void {
    this.#ahead?.handle.wait();
    this.#ahead = null;
    this.#whole = null;
    this.#direction = 1;
  }

  /** Numbers of the buffer, once the layer is in it. */
  values(layer: Layer, from: number, count: number): Float32Array {
    this.#ensure(layer);
    return this.#bufferEntry().values.subarray(from, from + count);
  }

  /** The same as a place in the backend's shared memory; undefined where it has none. */
  place(layer: Layer, from: number): number | undefined {
    this.#ensure(layer);
    const { place } = this.#bufferEntry();
    return place === undefined ? undefined : place + 4 * from;
  }

  remove(layer: Layer): void {
    this.#layers[layer.index] = null;
    if (this.#whole === layer) this.#whole = null;
    if (this.#layers.some((each) => each !== null)) return;
    this.#layers.length = 0;
    this.#buffer?.dispose();
    this.#buffer = null;
    this.#ahead = null;
    this.#direction = 1;
  }

  #bufferEntry() {
    return this.#backend.data.get(this.#buffer!.dataId) as Entry & { readonly values: Float32Array };
  }

  #ensure(layer: Layer): void {
    const before = this.#whole;
    if (before === layer) return;
    // What was asked for is taken by all ranks alike, whether it is wanted or not.
    const ahead = this.#ahead;
    this.#ahead = null;
    let parts = ahead?.handle.wait();
    if (ahead?.layer !== layer || parts === undefined) {
      this.#counts.exposed++;
      parts = this.#ask(layer).wait();
    }
    this.#whole = null;
    const { values } = this.#bufferEntry();
    let at = 0;
    for (const part of parts) {
      const numbers = new Float32Array(part.buffer, part.byteOffset, part.byteLength / 4);
      values.set(numbers, at);
      at += numbers.length;
    }
    this.#whole = layer;
    if (before) this.#direction = layer.index > before.index ? 1 : -1;
    const next = this.#layers[layer.index + this.#direction] ?? this.#layers[layer.index - this.#direction];
    if (!next) return;
    this.#counts.ahead++;
    this.#ahead = { layer: next, handle: this.#ask(next) };
  }

  #ask(layer: Layer): Handle<Uint8Array[]> {
    const { part } = layer;
    return this.#host.allGather(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  }
}

class Layer {
  #matrices = 0;

  /** @param part of its numbers that this rank has. */
  constructor(
    readonly shards: HostShards,
    readonly index: number,
    readonly part: Float32Array,
    readonly numbers: number,
  ) {}

  /** Of a matrix in the backend's store. */
  entry(from: number, count: number): Entry {
    this.#matrices++;
    const layer = this;
    const { shards } = this;
    let references = 1;
    const stays = () => {
      throw new DistributedError(
        'library',
        'there is no room in the shared memory of blas for a layer whose weights are held in parts: leave shard_base out',
      );
    };
    return {
      dtype: 'float32',
      storage: ELSEWHERE,
      get values() {
        return shards.values(layer, from, count);
      },
      set values(_) {
        stays();
      },
      get place() {
        return shards.place(layer, from);
      },
      set place(_) {
        stays();
      },
      get refCount() {
        return references;
      },
      set refCount(count) {
        references = count;
        if (count === 0) layer.#release();
      },
    };
  }

  /** One matrix less. */
  #release(): void {
    if (--this.#matrices === 0) this.shards.remove(this);
  }
}
