/** @file What a backend has of the other ranks of its run: the communicator once it is connected, sums over them, and shards of weights. */
import type * as tf from '@tensorflow/tfjs';
import { CudaWeightShards } from '../sharding/weight-shards.js';
import { Communicator, type ConnectOptions } from './communicator.js';
import type { CollectiveHost } from './host.js';
import { type SumOfTensors, sumTensors } from './tensor-sums.js';

export class Ranks {
  readonly #host: CollectiveHost;
  #communicator: Communicator | null = null;
  /** Null where each rank has its weights whole. */
  shards: CudaWeightShards | null = null;

  constructor(host: CollectiveHost) {
    this.#host = host;
  }

  /** @throws as `Communicator.connect`; Error where they are connected. */
  async connect(options: ConnectOptions): Promise<Communicator> {
    if (this.#communicator?.isOpen) throw new Error('cuda: the ranks are connected; close the communicator before');
    this.#communicator = await Communicator.connect(this.#host.device, options);
    return this.#communicator;
  }

  /** @throws Error before `connect`. */
  get communicator(): Communicator {
    if (this.#communicator) return this.#communicator;
    throw new Error('cuda: ranks are not connected; call connect first');
  }

  sum(tensors: readonly tf.Tensor[]): SumOfTensors {
    return sumTensors(this.#host, this.communicator, tensors);
  }

  shardWeights(buffers: number): CudaWeightShards {
    this.shards = new CudaWeightShards(this.#host, this.communicator, buffers);
    return this.shards;
  }

  /** Ends the communicator, whatever is under way. */
  abort(): void {
    this.#communicator?.abort();
  }
}
