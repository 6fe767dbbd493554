/**
 * @file Folders and files of the origin-private file system, in a worker. Files are written through synchronous handles, which every browser has there.
 */
import { type ByteSource, type FileSet, sourceOfBlob } from '@spft/safetensors';
import { PageError } from '../engine/errors.js';

/** What is used of `FileSystemSyncAccessHandle`, which the types of a page do not have. */
export interface SyncHandle {
  write(bytes: Uint8Array, options: { readonly at: number }): number;
  truncate(bytes: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

/** Whether there is such a file system here, and if not, why. */
export function storageMissing(): string | null {
  if (!globalThis.isSecureContext) return 'the page is not served over https (or from localhost)';
  if (typeof navigator.storage?.getDirectory !== 'function') return 'this browser has no origin-private file system';
  return null;
}

/** A folder below the root, made where there is none. */
export async function makeFolder(...path: readonly string[]): Promise<FileSystemDirectoryHandle> {
  const missing = storageMissing();
  if (missing) throw new PageError(`Nothing can be kept in this browser: ${missing}.`);
  let folder = await navigator.storage.getDirectory();
  for (const name of path) folder = await folder.getDirectoryHandle(name, { create: true });
  return folder;
}

/** What it gives, or null where a file or folder is not there. */
export async function orNull<T>(made: Promise<T>): Promise<T | null> {
  try {
    return await made;
  } catch (error) {
    if ((error as Error).name === 'NotFoundError') return null;
    throw error;
  }
}

export const folderIfThere = (parent: FileSystemDirectoryHandle, name: string) =>
  orNull(parent.getDirectoryHandle(name));

export async function namesIn(folder: FileSystemDirectoryHandle): Promise<string[]> {
  const names: string[] = [];
  for await (const name of folder.keys()) names.push(name);
  return names;
}

export async function removeIfThere(folder: FileSystemDirectoryHandle, name: string): Promise<void> {
  await orNull(folder.removeEntry(name, { recursive: true }));
}

/** Opens a file for writing, made where there is none. Close it when done. */
export async function openForWriting(folder: FileSystemDirectoryHandle, name: string): Promise<SyncHandle> {
  const handle = await folder.getFileHandle(name, { create: true });
  return (handle as unknown as { createSyncAccessHandle(): Promise<SyncHandle> }).createSyncAccessHandle();
}

/** @throws a QuotaExceededError where the storage takes less than all. */
export function writeAll(handle: SyncHandle, bytes: Uint8Array, at: number): void {
  const written = handle.write(bytes, { at });
  if (written !== bytes.length)
    throw new DOMException(`${written} of ${bytes.length} bytes were taken`, 'QuotaExceededError');
}

/** Replaces a file's content. Whoever reads while it is written, or after it failed, must know by other means that it is whole. */
export async function writeFile(folder: FileSystemDirectoryHandle, name: string, bytes: Uint8Array): Promise<void> {
  const handle = await openForWriting(folder, name);
  try {
    handle.truncate(0);
    writeAll(handle, bytes, 0);
    handle.flush();
  } finally {
    handle.close();
  }
}

export async function readFile(folder: FileSystemDirectoryHandle, name: string): Promise<Uint8Array | null> {
  const handle = await orNull(folder.getFileHandle(name));
  return handle === null ? null : new Uint8Array(await (await handle.getFile()).arrayBuffer());
}

/** A folder's files as those of a model. */
export function filesIn(folder: FileSystemDirectoryHandle, name: string): FileSet {
  const folderOf = async (path: readonly string[]): Promise<FileSystemDirectoryHandle | null> => {
    let at: FileSystemDirectoryHandle | null = folder;
    for (const part of path) at = at && (await folderIfThere(at, part));
    return at;
  };
  return {
    name,
    async open(file): Promise<ByteSource | null> {
      const path = file.split('/');
      const within = await folderOf(path.slice(0, -1));
      const handle = within && (await orNull(within.getFileHandle(path.at(-1)!)));
      return handle && sourceOfBlob(await handle.getFile(), `${name}/${file}`);
    },
    async list(path) {
      const within = await folderOf(path === '' ? [] : path.split('/'));
      return within ? namesIn(within) : [];
    },
  };
}
