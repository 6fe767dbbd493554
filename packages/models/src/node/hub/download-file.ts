/**
 * @file One file of the hub into the cache's `blobs`: resumed where an earlier try stopped, checked against its hash, then put in place.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { type Asked, describe, type HttpOptions, reason, request, Transient, withRetries } from './http.js';
import { HubError } from './hub-error.js';

/** Beyond it a file whose size the hub does not say is given up. */
const MAX_UNANNOUNCED = 2 ** 33;

/** What the hub says of a file before it is fetched. */
export interface FileInfo {
  /** Name of the blob: SHA-256 of a large file, git's SHA-1 of a small one. */
  readonly etag: string;
  /** Size in bytes, where the hub says. */
  readonly size: number | null;
}

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
    await withRetries(asked, options, () => fetchRest(url, partial, info, asked, options, onBytes));
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

async function fetchRest(
  url: string,
  partial: string,
  info: FileInfo,
  asked: Asked,
  options: HttpOptions,
  onBytes: (received: number) => void,
): Promise<void> {
  let have = await stat(partial).then(
    (s) => s.size,
    () => 0,
  );
  if (info.size !== null && have > info.size) {
    await rm(partial);
    have = 0;
  }
  if (have === 0 || have !== info.size) await append(url, partial, have, info, asked, options, onBytes);
  await verify(partial, info, asked);
}

/** Fetches what is missing after `have` bytes; from the start where the server does not do parts. */
async function append(
  url: string,
  partial: string,
  have: number,
  info: FileInfo,
  asked: Asked,
  options: HttpOptions,
  onBytes: (received: number) => void,
): Promise<void> {
  const idle = new AbortController();
  let timer = setTimeout(() => idle.abort(), options.idleTimeoutMs);
  let file: FileHandle | undefined;
  let received = have;
  let tooMuch = false;
  try {
    const response = await request(url, asked, options, {
      headers: have > 0 ? { range: `bytes=${have}-` } : {},
      signal: idle.signal,
      alsoFine: [416],
    });
    const starts = Number(/^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1] ?? 0);
    if (response.status === 416 || starts > have) {
      await response.body?.cancel();
      await rm(partial, { force: true });
      throw new Transient(`the hub refuses to go on from byte ${have}`);
    }
    received = response.status === 206 ? starts : 0;
    file = await open(partial, have > 0 ? 'r+' : 'w');
    await file.truncate(received);
    onBytes(received);
    if (response.body) {
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        clearTimeout(timer);
        timer = setTimeout(() => idle.abort(), options.idleTimeoutMs);
        if (info.size !== null && received + chunk.length > info.size) {
          // Nothing beyond what was announced is written, and leaving the loop ends the connection.
          tooMuch = true;
          break;
        }
        for (let at = 0; at < chunk.length; ) {
          at += (await file.write(chunk, at, chunk.length - at, received + at)).bytesWritten;
        }
        received += chunk.length;
        if (info.size === null && received > MAX_UNANNOUNCED) {
          throw new HubError(
            `${describe(asked)}: the hub sent ${received} bytes without saying how many there are; check the endpoint (HF_ENDPOINT)`,
          );
        }
        onBytes(received);
      }
    }
    await file.sync();
    if (tooMuch) {
      await rm(partial, { force: true });
      throw new HubError(
        `${describe(asked)}: the hub sends more than the ${info.size} bytes that it announced; what came was deleted. Check the endpoint (HF_ENDPOINT), and try again`,
      );
    }
  } catch (cause) {
    if (cause instanceof Transient || cause instanceof HubError || isDiskError(cause)) throw cause;
    throw new Transient(`the connection broke after ${received} bytes (${reason(cause)})`, undefined, received > have, {
      cause,
    });
  } finally {
    clearTimeout(timer);
    await file?.close();
  }
  if (info.size !== null && received < info.size) {
    throw new Transient(`the connection ended after ${received} of ${info.size} bytes`, undefined, received > have);
  }
}

/** Compares size and hash; a file that does not match is deleted, since going on with it is of no use. */
async function verify(partial: string, info: FileInfo, asked: Asked): Promise<void> {
  const { size } = await stat(partial);
  const isSha256 = /^[0-9a-f]{64}$/.test(info.etag);
  const isGitSha1 = /^[0-9a-f]{40}$/.test(info.etag);
  const hash = createHash(isSha256 ? 'sha256' : 'sha1');
  if (isGitSha1) hash.update(`blob ${size}\0`);
  let found = info.etag;
  if (isSha256 || isGitSha1) {
    for await (const chunk of createReadStream(partial)) hash.update(chunk as Buffer);
    found = hash.digest('hex');
  }
  if (found === info.etag && (info.size === null || size === info.size)) return;
  await rm(partial);
  throw new Transient(
    found === info.etag
      ? `${size} bytes came, ${info.size} were announced`
      : `what came has the hash ${found}, ${info.etag} was announced (${describe(asked)} was damaged on the way)`,
  );
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
