/**
 * @file One file of the hub into the cache's `blobs`: resumed where an earlier try stopped, checked against its hash, then put in place.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { fetchFile, type PartialFile } from '../../hub/fetch-file.js';
import { type Asked, describe, type HttpOptions, request, withRetries } from '../../hub/http.js';
import { HubError } from '../../hub/hub-error.js';
import type { FileInfo } from '../../hub/listing.js';

/** Asks for a file's hash and size. */
export function fileInfo(url: string, asked: Asked, options: HttpOptions): Promise<FileInfo> {
  return withRetries(asked, options, async () => {
    let at = url;
    for (let hops = 0; hops < 5; hops++) {
      const response = await request(at, asked, options, { method: 'HEAD', manual: true });
      await response.body?.cancel();
      const { headers } = response;
      const location = headers.get('location');
      const etag = headers.get('x-linked-etag') ?? headers.get('etag');
      // A renamed repository redirects to its new name on the same host; a large file to its storage, after the headers that count.
      if (response.status >= 300 && location !== null && headers.get('x-linked-etag') === null) {
        const next = new URL(location, at);
        if (next.origin === new URL(at).origin) {
          at = next.href;
          continue;
        }
      }
      const name = etag?.replace(/^W\//, '').replaceAll('"', '');
      if (!name || !/^[\w.-]{1,200}$/.test(name) || /^\.+$/.test(name)) {
        throw new HubError(
          `${describe(asked)}: the hub gives no hash of the file (etag: ${etag ?? 'none'}); check the endpoint (HF_ENDPOINT)`,
        );
      }
      // A compressed answer's length is not the file's.
      const plain = response.status < 300 && (headers.get('content-encoding') ?? 'identity') === 'identity';
      const size = headers.get('x-linked-size') ?? (plain ? headers.get('content-length') : null);
      if (size !== null && !/^\d{1,15}$/.test(size)) {
        throw new HubError(
          `${describe(asked)}: the hub says its size is '${size.slice(0, 30)}'; check the endpoint (HF_ENDPOINT)`,
        );
      }
      return { etag: name, size: size === null ? null : Number(size) };
    }
    throw new HubError(`${describe(asked)}: the hub redirects in a circle; check the endpoint (HF_ENDPOINT)`);
  });
}

/**
 * Fetches a file to `path`, by way of `path.incomplete`, which a later call goes on with.
 * @param onBytes told how many bytes of the file are there.
 * @throws HubError
 */
export async function downloadFile(
  url: string,
  path: string,
  info: FileInfo,
  asked: Asked,
  options: HttpOptions,
  onBytes: (received: number) => void,
): Promise<void> {
  const partial = `${path}.incomplete`;
  try {
    await fetchFile(url, partialOnDisk(partial), info, asked, options, onBytes);
    await rename(partial, path);
  } catch (cause) {
    if (!isDiskError(cause)) throw cause;
    throw new HubError(
      cause.code === 'ENOSPC' || cause.code === 'EDQUOT'
        ? `${describe(asked)}: the disk is full; make room (${info.size ?? 'unknown'} bytes in all) and run it again: it goes on where it stopped`
        : `${describe(asked)}: ${cannotWrite(cause, path)}`,
      { cause },
    );
  }
}

function partialOnDisk(path: string): PartialFile {
  return {
    size: () =>
      stat(path).then(
        (found) => found.size,
        () => 0,
      ),
    async open(from) {
      const file = await open(path, from > 0 ? 'r+' : 'w');
      let end = from;
      await file.truncate(from);
      return {
        async append(bytes) {
          for (let at = 0; at < bytes.length; ) {
            at += (await file.write(bytes, at, bytes.length - at, end + at)).bytesWritten;
          }
          end += bytes.length;
        },
        sync: () => file.sync(),
        close: () => file.close(),
      };
    },
    chunks: () => createReadStream(path) as AsyncIterable<Uint8Array>,
    remove: () => rm(path, { force: true }),
    isStorageError: isDiskError,
    hash(algorithm) {
      const hash = createHash(algorithm);
      return { update: (bytes) => hash.update(bytes), hex: () => hash.digest('hex') };
    },
  };
}

/** What a person does about a cache that takes no files. */
export function cannotWrite(cause: NodeJS.ErrnoException, path: string): string {
  return `the cache of downloads takes no files (${path}: ${cause.message}); set HF_HUB_CACHE or HF_HOME to a directory that can be written`;
}

/** fetch's own errors are TypeErrors that hide the connection's; an error with a syscall of its own is the file system's. */
export function isDiskError(error: unknown): error is NodeJS.ErrnoException {
  return (
    error instanceof Error &&
    !(error instanceof TypeError) &&
    typeof (error as NodeJS.ErrnoException).syscall === 'string'
  );
}
