/**
 * @file Tensors of a GPU summed by NCCL, on the backend that connects ranks by it (`cuda`): what ranks must agree on before they are connected goes over the
 * host's collective, so that all of them say why they cannot be, and none waits for the others.
 */
import type { WeightShards } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import type { Collective, TensorCollective, TensorHandle } from '../collective/collective.js';
import { DistributedError } from '../errors.js';
import { HostShards } from '../shards/host-shards.js';

/** Ranks that the backend has connected. */
interface Connection {
  abort(): void;
  close(): void;
}

/** What a backend has that connects ranks by NCCL. */
export interface NcclBackend {
  readonly device: { readonly info: { readonly name: string; readonly bus: string } };
  nccl(): { readonly version: string };
  ncclId(): Uint8Array;
  connect(options: {
    readonly id: Uint8Array;
    readonly rank: number;
    readonly size: number;
    readonly failure: () => Error | null;
  }): Promise<Connection>;
  sumOverRanks(tensors: readonly tf.Tensor[]): { wait(): tf.Tensor[] };
  shardWeights(options?: { readonly buffers?: number }): WeightShards;
}

/** The ranks that are to be connected. */
export interface NcclGroup {
  readonly rank: number;
  readonly size: number;
  readonly host: Collective;
  /** What ended the group, once it has ended. */
  readonly error?: Error | null;
}

/** Whether the active backend has ranks connected by NCCL, if it is there. */
export const hasNccl = (): boolean => 'sumOverRanks' in tf.backend();

function activeBackend(): NcclBackend {
  if (hasNccl()) return tf.backend() as unknown as NcclBackend;
  throw new DistributedError('library', `the backend '${tf.getBackend()}' is not connected by NCCL; 'cuda' is`);
}

/** What a rank says of itself. */
interface Introduction {
  readonly host: string;
  readonly gpu: string;
  readonly bus: string;
  readonly nccl: string | null;
  readonly problem: string | null;
}

function introduce(backend: NcclBackend, host: string): Introduction {
  const { name, bus } = backend.device.info;
  const of = { host, gpu: name, bus };
  try {
    return { ...of, nccl: backend.nccl().version, problem: null };
  } catch (error) {
    const { message, hint } = error as Error & { readonly hint?: string };
    return { ...of, nccl: null, problem: hint ? `${message}; ${hint}` : message };
  }
}

/** @throws DistributedError, on all ranks alike. */
function checkAll(all: readonly Introduction[]): void {
  const without = all.findIndex(({ problem }) => problem !== null);
  if (without >= 0) {
    const { host, problem } = all[without]!;
    throw new DistributedError(
      'library',
      `rank ${without} on ${host} cannot be connected by NCCL: ${problem}; or choose another backend, whose ranks exchange values over MPI or TCP`,
    );
  }
  all.forEach(({ host, bus, gpu, nccl }, rank) => {
    const same = all.findIndex((other) => other.host === host && other.bus === bus);
    if (same < rank) {
      throw new DistributedError(
        'mismatch',
        `ranks ${same} and ${rank} are both on GPU ${bus} (${gpu}) of ${host}: start as many processes as there are GPUs, and leave SPFT_CUDA_DEVICE to the launcher`,
      );
    }
    if (nccl !== all[0]!.nccl) {
      throw new DistributedError(
        'mismatch',
        `rank 0 has NCCL ${all[0]!.nccl} and rank ${rank} on ${host} ${nccl}: install the same version for all ranks`,
      );
    }
  });
}

export class NcclTensors implements TensorCollective {
  readonly name = 'nccl';
  readonly records = true;

  private constructor(
    readonly rank: number,
    readonly size: number,
    readonly backend: NcclBackend,
    readonly connection: Connection,
    /** Of NCCL, the same on all ranks. */
    readonly version: string,
  ) {}

  /**
   * Connects the active backend with those of the other ranks. All ranks call it.
   * @param group must stay; what ends it ends waits for the GPU too.
   * @param hostName of this machine.
   * @throws DistributedError where a rank has no NCCL, or another, or a GPU that another has; NcclError where they do not connect.
   */
  static async connect(group: NcclGroup, hostName: string, backend = activeBackend()): Promise<NcclTensors> {
    const { rank, size, host } = group;
    const own = introduce(backend, hostName);
    const told = await host.allGather(Buffer.from(JSON.stringify(own))).done;
    checkAll(told.map((bytes) => JSON.parse(Buffer.from(bytes).toString()) as Introduction));
    const id = await host.broadcast(rank === 0 ? backend.ncclId() : null).done;
    const connection = await backend.connect({ id, rank, size, failure: () => group.error ?? null });
    return new NcclTensors(rank, size, backend, connection, own.nccl!);
  }

  allReduce(tensors: readonly tf.Tensor[]): TensorHandle {
    const sum = this.backend.sumOverRanks(tensors);
    // The host waits for nothing: what is launched next comes after it.
    return { wait: () => sum.wait(), done: async () => sum.wait() };
  }

  /** Frozen matrices of which each rank holds a part. */
  shardWeights(): WeightShards {
    return this.backend.shardWeights();
  }

  abort(): void {
    this.connection.abort();
  }

  async close(): Promise<void> {
    this.connection.close();
  }
}

/**
 * The GPU of a rank: that of its number on its host, as CUDA numbers them, unless the launcher shows each process one GPU of its own.
 * @returns what `SPFT_CUDA_DEVICE` is to be.
 */
export function gpuOfRank(env: Readonly<Record<string, string | undefined>>, localRank: number): string {
  if (env.SPFT_CUDA_DEVICE) return env.SPFT_CUDA_DEVICE;
  const visible = env.CUDA_VISIBLE_DEVICES?.split(',').filter(Boolean);
  return visible?.length === 1 ? '0' : String(localRank);
}

/** Frozen matrices of which each rank holds a part, on the active backend. @throws DistributedError where it has none. */
export const shardsOf = (group: { readonly host: Collective; readonly tensors: TensorCollective }): WeightShards =>
  group.tensors instanceof NcclTensors ? group.tensors.shardWeights() : new HostShards(group.host);
