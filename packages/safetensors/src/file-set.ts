/**
 * @file The files of a model, wherever they lie: a directory on a disk (`/node`), a page's storage, memory. What reads models reads them by this alone, so
 * that a file from the network is checked as one on disk is.
 */
import { SafetensorsError } from './errors.js';
import { type ByteSource, sourceOfBytes } from './file.js';

export interface FileSet {
  /** Path or other name, for messages. */
  readonly name: string;
  /** The file of a name (`/` between folders), or null where there is none. Its reader closes it. */
  open(file: string): Promise<ByteSource | null>;
  /** Names of the files in a folder; none where there is no such folder. */
  list(folder: string): Promise<readonly string[]>;
}

/**
 * A file's whole text.
 * @returns null where there is no such file.
 * @throws SafetensorsError when it is longer than `limit` bytes, or the source does not give it.
 */
export async function readText(files: FileSet, file: string, limit = 2 ** 29): Promise<string | null> {
  const source = await files.open(file);
  if (source === null) return null;
  try {
    if (source.size > limit) {
      throw new SafetensorsError(`is ${source.size} bytes long, of a text at most ${limit} are read; is it damaged?`, {
        file: source.name ?? file,
      });
    }
    return new TextDecoder().decode(await source.read(0, source.size));
  } finally {
    await source.close();
  }
}

/** Files in memory. @param contents by name; not copied, so they must not change. */
export function filesInMemory(name: string, contents: ReadonlyMap<string, Uint8Array>): FileSet {
  return {
    name,
    async open(file) {
      const bytes = contents.get(file);
      return bytes === undefined ? null : sourceOfBytes(bytes, `${name}/${file}`);
    },
    async list(folder) {
      const prefix = folder === '' ? '' : `${folder}/`;
      return [...contents.keys()]
        .filter((file) => file.startsWith(prefix) && !file.slice(prefix.length).includes('/'))
        .map((file) => file.slice(prefix.length));
    },
  };
}

/** Bytes that are read range by range from a `Blob`: a file that was dropped on a page, or lies in its storage. */
export function sourceOfBlob(blob: Blob, name?: string): ByteSource {
  return {
    ...(name !== undefined && { name }),
    size: blob.size,
    read: async (begin, end) => new Uint8Array(await blob.slice(begin, end).arrayBuffer()),
    close: async () => {},
  };
}
