/**
 * @file Frozen matrices of which each rank holds a part, gathered layer by layer ahead of their use (Rajbhandari et al. 2020, ZeRO stage 3,
 * arXiv:1910.02054, of frozen weights: there are no gradients to scatter).
 *
 * A rank keeps 1/N of the bytes of each matrix as it is stored: bf16, float, or a form's codes and, where they are many, its scales. Whole layers lie in
 * a few buffers, layer n in buffer n mod buffers: a matrix is a tensor at a place of its own like any other, whose memory it shares with other layers.
 * Whoever asks for its address gets its values there (`Gathered.ensure`, in `CudaBackend.address`), so that no kernel and no layer above knows of it, and
 * none can read another layer's values by mistake.
 *
 * With the first use of a layer the next one is gathered on the communicator's stream, in the direction in which the layers come: forward, backward, and
 * back again. Two buffers are enough for both, and a captured step has the same addresses each time.
 */
import * as tf from '@tensorflow/tfjs';
import type { Communicator } from '../collectives/communicator.js';
import type { CollectiveHost } from '../collectives/host.js';
import { BYTES, type Codebook } from '../storage.js';
import { Buffers, type GatheredLayer, type Part } from './buffers.js';
import { gatherStored } from './gather-stored.js';
import { shardBytes } from './shard-bytes.js';

/** What a form keeps beside its codes is held whole up to so many bytes. */
const SMALL = 4096;
/** As sparse-ops' `WeightShards`. */
export class CudaWeightShards {
  readonly rank: number;
  readonly size: number;
  readonly #backend: CollectiveHost;
  readonly #communicator: Communicator;
  readonly #buffers: Buffers;

  constructor(backend: CollectiveHost, communicator: Communicator, buffers: number) {
    this.rank = communicator.rank;
    this.size = communicator.size;
    this.#backend = backend;
    this.#communicator = communicator;
    this.#buffers = new Buffers(backend, communicator, buffers);
  }

  /** Gathers so far that a layer's use had to wait for from their begin, and those that were begun ahead. */
  get counts(): { readonly exposed: number; readonly ahead: number } {
    return this.#buffers.counts;
  }

  /** The bytes [from, to) of a file's tensor of so many that this rank reads. */
  range(bytes: number): readonly [number, number] {
    const each = shardBytes(bytes, this.size);
    return [Math.min(bytes, this.rank * each), Math.min(bytes, (this.rank + 1) * each)];
  }

  /** The whole matrix of the bytes that every rank read. Every rank calls it. Owned by the caller. */
  gather(bytes: Uint8Array, stored: 'BF16' | 'F16' | 'F32', shape: readonly number[]): tf.Tensor {
    const info = gatherStored(this.#backend, this.#communicator, bytes, stored, shape);
    return tf.engine().makeTensorFromTensorInfo(info);
  }

  /**
   * Holds this rank's part of a layer's matrices, which are given back.
   * @returns tensors of the same values, owned by the caller: the part ends with the last of them.
   */
  hold(weights: readonly tf.Tensor[]): tf.Tensor[] {
    const backend = this.#backend;
    const parts: { readonly address: number; readonly bytes: number }[] = [];
    const ofWeights = weights.map((weight) => {
      const address = backend.address(weight);
      const { elements, physical, codebook } = backend.data.get(weight.dataId);
      const bytes = Math.ceil(elements * BYTES[physical]);
      const first = parts.push({ address, bytes }) - 1;
      const scales = codebook && codebook.block.bytes > SMALL ? codebook.block : null;
      if (scales) parts.push({ address: scales.address, bytes: scales.bytes });
      return { first, scales };
    });
    const layer = this.#layerOf(parts);
    return weights.map((weight, n) => {
      const { first, scales } = ofWeights[n]!;
      const like = backend.data.get(weight.dataId);
      const info = backend.gatheredTensor(weight.shape, like, layer.block(first), layer);
      if (like.codebook) {
        const codebook: Codebook = scales ? { ...like.codebook, block: layer.block(first + 1) } : like.codebook;
        backend.setCodebook(info, codebook);
        // `setCodebook` counts itself as a user, which a fresh block had counted.
        if (scales) codebook.block.users--;
      }
      weight.dispose();
      return tf.engine().makeTensorFromTensorInfo(info);
    });
  }

  #layerOf(parts: readonly { readonly address: number; readonly bytes: number }[]): GatheredLayer {
    const backend = this.#backend;
    let [at, room] = [0, 0];
    const placed: Part[] = parts.map(({ bytes }) => {
      const shard = shardBytes(bytes, this.size);
      const part = { local: at, shard, offset: room, bytes };
      at += shard;
      room += shard * this.size;
      return part;
    });
    const local = backend.memoryPool.allocate(at, 'shards of weights');
    placed.forEach(({ local: to, shard, bytes }, n) => {
      const from = Math.min(bytes, this.rank * shard);
      const count = Math.min(shard, bytes - from);
      backend.copy(parts[n]!.address + from, local.address + to, count);
      // The end of the last shards is gathered too, and is nothing.
      if (count < shard) {
        backend.device.call('cuMemsetD8Async', local.address + to + count, 0, shard - count, backend.device.stream);
      }
    });
    return this.#buffers.add(local, placed, room);
  }

  /** Ends what is under way and forgets what lies in the buffers: a recorded step begins and ends so. */
  settle(): void {
    this.#buffers.settle();
  }

  /** The same where what is under way was captured and given up. */
  forget(): void {
    this.#buffers.forget();
  }
}
