/** @file One rank of a test: how it learns NCCL's id, by a file of the folder that the ranks share. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { type Communicator, type ConnectOptions, type CudaBackend, ncclUniqueId } from '../../src/index.js';

export const rank = Number(process.env.RANK);
export const size = Number(process.env.WORLD_SIZE);

/** A file of rank 0's, once it is there. */
export async function shared(name: string, make: () => Uint8Array): Promise<Uint8Array> {
  const file = join(process.env.RANKS_FOLDER!, name);
  if (rank === 0) {
    writeFileSync(`${file}.new`, make());
    renameSync(`${file}.new`, file);
  }
  while (!existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 5));
  return new Uint8Array(readFileSync(file));
}

export async function startCuda(): Promise<CudaBackend> {
  if (!(await tf.setBackend('cuda'))) throw new Error('cuda did not start');
  return tf.backend() as CudaBackend;
}

export async function connect(
  backend: CudaBackend,
  name: string,
  options: Partial<ConnectOptions> = {},
): Promise<Communicator> {
  return backend.connect({ id: await shared(name, ncclUniqueId), rank, size, seconds: 60, ...options });
}
