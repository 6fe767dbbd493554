/** @file What ranks agree on before NCCL connects them: all of them hear the same, and none waits for one that cannot come. */
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { localCollectives } from '../collective/local.js';
import { gpuOfRank, hasNccl, type NcclBackend, NcclTensors, shardsOf } from './nccl-tensors.js';

interface Wanted {
  readonly bus?: string;
  readonly version?: string;
  readonly problem?: Error;
}

const connected: { id: number[]; rank: number }[] = [];

function backendWith({ bus = '0000:01:00.0', version = '2.27.7', problem }: Wanted): NcclBackend {
  return {
    device: { info: { name: 'H200', bus } },
    nccl() {
      if (problem) throw problem;
      return { version };
    },
    ncclId: () => Uint8Array.of(1, 2, 3),
    async connect({ id, rank }) {
      connected.push({ id: [...id], rank });
      return { abort() {}, close() {} };
    },
    sumOverRanks: (tensors) => ({ wait: () => tensors.map((tensor) => tf.mul(tensor, 2)) }),
    shardWeights() {
      throw new Error('not asked for');
    },
  };
}

const outcomes = (wanted: readonly Wanted[], hostOf: (rank: number) => string = () => 'a') =>
  Promise.all(
    localCollectives(wanted.length).map((host, rank) =>
      NcclTensors.connect({ rank, size: wanted.length, host }, hostOf(rank), backendWith(wanted[rank]!)).catch(
        (error: Error) => error.message,
      ),
    ),
  );

describe('NcclTensors.connect()', () => {
  it('gives all ranks the id that rank 0 made, and sums', async () => {
    connected.length = 0;
    const [first, second] = (await outcomes([{ bus: 'x' }, { bus: 'y' }])) as [NcclTensors, NcclTensors];
    expect(connected.sort((a, b) => a.rank - b.rank)).toEqual([
      { id: [1, 2, 3], rank: 0 },
      { id: [1, 2, 3], rank: 1 },
    ]);
    expect([first.version, second.records, second.rank, second.size]).toEqual(['2.27.7', true, 1, 2]);
    const [sum] = await first.allReduce([tf.tensor1d([1, 2])]).done();
    expect([...sum!.dataSync()]).toEqual([2, 4]);
  });

  it('says on every rank which one has no NCCL, and what to do', async () => {
    const problem = Object.assign(new Error('NCCL (libnccl.so.2) was not found'), { hint: 'pip install it' });
    const [a, b] = await outcomes([{ bus: 'x' }, { bus: 'y', problem }], (rank) => `host${rank}`);
    expect(a).toBe(
      'rank 1 on host1 cannot be connected by NCCL: NCCL (libnccl.so.2) was not found; pip install it; or choose another backend, whose ranks exchange values over MPI or TCP',
    );
    expect(b).toBe(a);
  });

  it('refuses two ranks on one GPU of a host, and takes the same place on two hosts', async () => {
    const [a, b] = await outcomes([{}, {}]);
    expect(a).toMatch(/^ranks 0 and 1 are both on GPU 0000:01:00\.0 \(H200\) of a: start as many processes/);
    expect(b).toBe(a);
    const apart = await outcomes([{}, {}], (rank) => `host${rank}`);
    expect(apart.every((each) => each instanceof NcclTensors)).toBe(true);
  });

  it('refuses other versions', async () => {
    const [a] = await outcomes([{ bus: 'x' }, { bus: 'y', version: '2.30.1' }]);
    expect(a).toBe('rank 0 has NCCL 2.27.7 and rank 1 on a 2.30.1: install the same version for all ranks');
  });

  it('is refused on a backend without it, and so are shards', async () => {
    await tf.setBackend('cpu');
    expect(hasNccl()).toBe(false);
    const [host] = localCollectives(1);
    await expect(NcclTensors.connect({ rank: 0, size: 1, host: host! }, 'a')).rejects.toThrow(
      "the backend 'cpu' is not connected by NCCL; 'cuda' is",
    );
    expect(() => shardsOf({ host: host!, tensors: null as never })).toThrow(
      "the backend 'cpu' cannot hold a part of the base's weights; cuda and blas can",
    );
  });
});

describe('gpuOfRank()', () => {
  it('is that of its number on its host, unless it sees one alone, or somebody says another', () => {
    expect(gpuOfRank({}, 3)).toBe('3');
    expect(gpuOfRank({ CUDA_VISIBLE_DEVICES: '4,5' }, 1)).toBe('1');
    expect(gpuOfRank({ CUDA_VISIBLE_DEVICES: '5' }, 1)).toBe('0');
    expect(gpuOfRank({ SPFT_CUDA_DEVICE: '7' }, 1)).toBe('7');
  });
});
