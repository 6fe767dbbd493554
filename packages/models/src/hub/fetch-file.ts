/**
 * @file One file of the hub to where there is room for it: gone on with where an earlier try stopped, and checked against size and hash. The place is a narrow
 * interface, so that a cache on a disk and one in a page's storage are filled by the same steps.
 */
import { type Asked, chunksOf, describe, type HttpOptions, reason, request, Transient, withRetries } from './http.js';
import { HubError } from './hub-error.js';
import type { FileInfo } from './listing.js';

/** Beyond it a file whose size the hub does not say is given up. */
const MAX_UNANNOUNCED = 2 ** 33;

/** A file that is on its way into a cache; what an earlier try has left of it is still there. */
export interface PartialFile {
  /** Bytes that are there. */
  size(): Promise<number>;
  /** Opens it, made where there is none, for appending after `from` bytes; what is beyond them goes. */
  open(from: number): Promise<PartialWriter>;
  /** All that is there, in pieces. */
  chunks(): AsyncIterable<Uint8Array>;
  /** Nothing happens where there is none. */
  remove(): Promise<void>;
  /** Whether an error is the storage's own, which no other try mends. */
  isStorageError(error: unknown): boolean;
  /** An incremental hash. */
  hash(algorithm: 'sha256' | 'sha1'): { update(bytes: Uint8Array): unknown; hex(): string };
}

export interface PartialWriter {
  append(bytes: Uint8Array): Promise<void>;
  /** All that was appended is where it stays. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Fetches a file wholly, and checks it.
 * @param onBytes told how many bytes of the file are there.
 * @throws HubError; the storage's own errors as they are.
 */
export function fetchFile(
  url: string,
  file: PartialFile,
  info: FileInfo,
  asked: Asked,
  options: HttpOptions,
  onBytes: (received: number) => void,
): Promise<void> {
  return withRetries(asked, options, async () => {
    let have = await file.size();
    if (info.size !== null && have > info.size) {
      await file.remove();
      have = 0;
    }
    if (have === 0 || have !== info.size) await append(url, file, have, info, asked, options, onBytes);
    await verify(file, info, asked);
  });
}

/** Fetches what is missing after `have` bytes; from the start where the server does not do parts. */
async function append(
  url: string,
  file: PartialFile,
  have: number,
  info: FileInfo,
  asked: Asked,
  options: HttpOptions,
  onBytes: (received: number) => void,
): Promise<void> {
  const idle = new AbortController();
  let timer = setTimeout(() => idle.abort(), options.idleTimeoutMs);
  let writer: PartialWriter | undefined;
  let received = have;
  let tooMuch = false;
  try {
    const response = await request(url, asked, options, {
      headers: have > 0 ? { range: `bytes=${have}-` } : {},
      signal: idle.signal,
      alsoFine: [416],
    });
    const starts = Number(/^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1] ?? have);
    if (response.status === 416 || starts > have) {
      await response.body?.cancel();
      await file.remove();
      throw new Transient(`the hub refuses to go on from byte ${have}`);
    }
    received = response.status === 206 ? starts : 0;
    writer = await file.open(received);
    onBytes(received);
    for await (const chunk of chunksOf(response)) {
      clearTimeout(timer);
      timer = setTimeout(() => idle.abort(), options.idleTimeoutMs);
      if (info.size !== null && received + chunk.length > info.size) {
        // Nothing beyond what was announced is written, and leaving the loop ends the connection.
        tooMuch = true;
        break;
      }
      await writer.append(chunk);
      received += chunk.length;
      if (info.size === null && received > MAX_UNANNOUNCED) {
        throw new HubError(
          `${describe(asked)}: the hub sent ${received} bytes without saying how many there are; check the endpoint (HF_ENDPOINT)`,
        );
      }
      onBytes(received);
    }
    await writer.sync();
  } catch (cause) {
    if (cause instanceof Transient || cause instanceof HubError || file.isStorageError(cause)) throw cause;
    throw new Transient(`the connection broke after ${received} bytes (${reason(cause)})`, undefined, received > have, {
      cause,
    });
  } finally {
    clearTimeout(timer);
    await writer?.close();
  }
  if (tooMuch) {
    await file.remove();
    throw new HubError(
      `${describe(asked)}: the hub sends more than the ${info.size} bytes that it announced; what came was deleted. Check the endpoint (HF_ENDPOINT), and try again`,
    );
  }
  if (info.size !== null && received < info.size) {
    throw new Transient(`the connection ended after ${received} of ${info.size} bytes`, undefined, received > have);
  }
}

/** Compares size and hash; a file that does not match is deleted, since going on with it is of no use. */
async function verify(file: PartialFile, info: FileInfo, asked: Asked): Promise<void> {
  const size = await file.size();
  const isSha256 = /^[0-9a-f]{64}$/.test(info.etag);
  const isGitSha1 = /^[0-9a-f]{40}$/.test(info.etag);
  let found = info.etag;
  if (isSha256 || isGitSha1) {
    const hash = file.hash(isSha256 ? 'sha256' : 'sha1');
    if (isGitSha1) hash.update(new TextEncoder().encode(`blob ${size}\0`));
    for await (const chunk of file.chunks()) hash.update(chunk);
    found = hash.hex();
  }
  if (found === info.etag && (info.size === null || size === info.size)) return;
  await file.remove();
  throw new Transient(
    found === info.etag
      ? `${size} bytes came, ${info.size} were announced`
      : `what came has the hash ${found}, ${info.etag} was announced (${describe(asked)} was damaged on the way)`,
  );
}
