/**
 * @file Models of the hub in the origin-private file system: `hub/<id>/<commit>/` has a revision's files, `whole/` beside them says which have come wholly and
 * with which hash, `latest.json` which commit is complete.
 */
import { sha1 } from '@noble/hashes/legacy.js';
import { sha256 } from '@noble/hashes/sha2.js';
import type { FileInfo, ModelStore, PartialFile } from '@spft/models';
import type { FileSet } from '@spft/safetensors';
import { filesIn, makeFolder, openForWriting, orNull, readFile, removeIfThere, writeAll, writeFile } from './opfs.js';

const LATEST = 'latest.json';
const CHUNK_BYTES = 2 ** 23;

const folderOf = (endpoint: string, id: string) => `${new URL(endpoint).host}--${id}`.replace(/[^\w.-]/g, '--');

/** A model that came wholly before; null where there is none. */
export async function storedModel(endpoint: string, id: string): Promise<FileSet | null> {
  const folder = await makeFolder('hub', folderOf(endpoint, id));
  const bytes = await readFile(folder, LATEST);
  if (bytes === null) return null;
  let commit: unknown;
  try {
    ({ commit } = JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return null;
  }
  return typeof commit === 'string' ? filesOf(endpoint, id, commit) : null;
}

export async function filesOf(endpoint: string, id: string, commit: string): Promise<FileSet> {
  return filesIn(await makeFolder('hub', folderOf(endpoint, id), commit), id);
}

/** All files of the commit are there. */
export async function noteComplete(endpoint: string, id: string, commit: string): Promise<void> {
  const folder = await makeFolder('hub', folderOf(endpoint, id));
  await writeFile(folder, LATEST, new TextEncoder().encode(JSON.stringify({ commit })));
}

export async function hubStore(endpoint: string, id: string, commit: string): Promise<ModelStore> {
  const place = ['hub', folderOf(endpoint, id), commit];
  const marks = await makeFolder('hub', folderOf(endpoint, id), 'whole', commit);
  const markOf = (file: string) => `${encodeURIComponent(file)}.json`;
  const where = async (file: string): Promise<[FileSystemDirectoryHandle, string]> => {
    const path = file.split('/');
    return [await makeFolder(...place, ...path.slice(0, -1)), path.at(-1)!];
  };
  return {
    async has(file, { etag, size }) {
      const mark = await readFile(marks, markOf(file));
      if (mark === null || new TextDecoder().decode(mark) !== JSON.stringify({ etag, size })) return false;
      const [folder, name] = await where(file);
      const handle = await orNull(folder.getFileHandle(name));
      return handle !== null && (await handle.getFile()).size === size;
    },
    async partial(file) {
      return partialIn(...(await where(file)));
    },
    async complete(file, { etag, size }: FileInfo) {
      await writeFile(marks, markOf(file), new TextEncoder().encode(JSON.stringify({ etag, size })));
    },
  };
}

function partialIn(folder: FileSystemDirectoryHandle, name: string): PartialFile {
  const contents = async () => (await orNull(folder.getFileHandle(name)))?.getFile();
  return {
    size: async () => (await contents())?.size ?? 0,
    async open(from) {
      const handle = await openForWriting(folder, name);
      handle.truncate(from);
      let end = from;
      return {
        async append(bytes) {
          writeAll(handle, bytes, end);
          end += bytes.length;
        },
        async sync() {
          handle.flush();
        },
        async close() {
          handle.close();
        },
      };
    },
    async *chunks() {
      const file = await contents();
      for (let at = 0; file && at < file.size; at += CHUNK_BYTES) {
        yield new Uint8Array(await file.slice(at, at + CHUNK_BYTES).arrayBuffer());
      }
    },
    remove: () => removeIfThere(folder, name),
    // fetch's own errors are TypeErrors, and AbortErrors where nothing comes any more.
    isStorageError: (error) => error instanceof DOMException && error.name !== 'AbortError',
    hash(algorithm) {
      const hash = (algorithm === 'sha256' ? sha256 : sha1).create();
      const hex = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      return { update: (bytes) => hash.update(bytes), hex: () => hex(hash.digest()) };
    },
  };
}
