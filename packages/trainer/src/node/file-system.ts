/**
 * @file The few file operations that checkpoints need, so that a test can let a disk be full.
 */
import { open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { makeDirectory, syncDirectory } from '@spft/safetensors/node';

export interface FileSystem {
  /** Writes a new file and waits until it is on the disk. */
  writeFile(path: string, bytes: Uint8Array): Promise<void>;
  readFile(path: string): Promise<Uint8Array>;
  makeDirectory(path: string): Promise<void>;
  /** Names in a directory; none when it does not exist. */
  list(path: string): Promise<string[]>;
  rename(from: string, to: string): Promise<void>;
  /** Removes a file or a directory with all in it, if it exists. */
  remove(path: string): Promise<void>;
  /** Waits until the entries of a directory are on the disk. */
  syncDirectory(path: string): Promise<void>;
}

export const nodeFileSystem: FileSystem = {
  async writeFile(path, bytes) {
    const file = await open(path, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  readFile: async (path) => new Uint8Array(await readFile(path)),
  makeDirectory,
  async list(path) {
    try {
      return await readdir(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  },
  rename,
  remove: (path) => rm(path, { recursive: true, force: true }),
  syncDirectory,
};
