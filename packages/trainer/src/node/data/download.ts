/**
 * @file Fetches one file of a dataset: complete or not at all. It is written beside its place and renamed when all of it has come.
 */
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fetchFor, HubError, keepSecret, splitEndpoint, withoutSecrets } from '@spft/models/node';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { makeDirectory, removeLeftovers, temporaryPath } from '@spft/safetensors/node';
import { DatasetError } from '../../data/dataset-error.js';

export interface DatasetProgress {
  readonly url: string;
  readonly file: string;
  /** Bytes that have come. */
  readonly received: number;
  /** Bytes in all; null where the server does not say. */
  readonly total: number | null;
}

export interface FetchOptions {
  readonly onProgress?: (progress: DatasetProgress) => void;
  /** A server that sends nothing for so long is given up. Default 30 s. */
  readonly idleTimeoutMs?: number;
}

export const FETCH_OPTIONS: OptionNames<FetchOptions> = { onProgress: true, idleTimeoutMs: true };

/**
 * Fetches by way of the user's proxy (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`). A user and password in the address go into a header and
 * into no message.
 * @throws DatasetError when the server refuses, has no such file, fails or stops midway, or the file cannot be written; nothing is left behind.
 */
export async function fetchDataset(address: string, path: string, options: FetchOptions = {}): Promise<void> {
  assertKnownOptions('fetchDataset', options, FETCH_OPTIONS);
  const { url, headers } = requestOf(address, path);
  const idle = new AbortController();
  const { idleTimeoutMs = 30_000 } = options;
  const giveUp = () => idle.abort(new Error(`nothing came for ${idleTimeoutMs / 1000} s`));
  let timer = setTimeout(giveUp, idleTimeoutMs);
  const awake = () => {
    clearTimeout(timer);
    timer = setTimeout(giveUp, idleTimeoutMs);
  };
  try {
    const response = await answer(url, path, headers, idle.signal);
    await store(response, url, path, { ...options, awake });
  } finally {
    clearTimeout(timer);
    // Ends the connection where the file could not be written.
    idle.abort();
  }
}

function requestOf(address: string, path: string): { url: string; headers: Record<string, string> } {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw failure(address, path, `is no http:// or https:// address; mend it (SPFT_DATASETS_URL)`);
  }
  // Without compression the announced length is that of the file.
  const headers = { 'user-agent': 'spft', 'accept-encoding': 'identity' };
  const { address: plain, basic } = splitEndpoint(address);
  if (basic === undefined) return { url: address, headers };
  keepSecret(basic);
  return { url: plain, headers: { ...headers, authorization: `Basic ${basic}` } };
}

async function answer(
  url: string,
  path: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Response> {
  let response: Response;
  try {
    const fetch = await fetchFor(new URL(url), process.env);
    response = await fetch(url, { headers, signal });
  } catch (cause) {
    if (cause instanceof HubError) throw cause;
    throw failure(url, path, `no answer (${reason(cause)}); check the connection`, { cause });
  }
  if (response.ok) return response;
  await response.body?.cancel();
  const { status } = response;
  throw failure(url, path, `the server ${STATUS[status] ?? `answers ${status}; ${status >= 500 ? LATER : CHECK}`}`, {
    status,
  });
}

const LATER = 'it has a fault of its own: run it again later';
const CHECK = 'check the address (SPFT_DATASETS_URL)';
const STATUS: Readonly<Record<number, string>> = {
  401: `wants an account (401); ${CHECK}`,
  403: `forbids it (403); ${CHECK}`,
  404: `has no such file (404); ${CHECK}`,
  429: 'is asked too often (429); run it again later',
};

async function store(
  response: Response,
  url: string,
  path: string,
  { onProgress, awake }: FetchOptions & { readonly awake: () => void },
): Promise<void> {
  const encoded = response.headers.has('content-encoding');
  const length = response.headers.get('content-length');
  const total = length === null || encoded ? null : Number(length);
  const partial = temporaryPath(path, 'partial');
  let received = 0;
  let writing = true;
  try {
    await makeDirectory(dirname(path));
    await removeLeftovers(path, 'partial');
    const file = await open(partial, 'wx');
    try {
      writing = false;
      for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
        awake();
        if (received === 0) checkKind(chunk, url, path);
        writing = true;
        await file.writeFile(chunk);
        writing = false;
        received += chunk.length;
        onProgress?.({ url, file: path, received, total });
      }
      if (received === 0 || (total !== null && received !== total)) {
        throw failure(url, path, `the download ended after ${received} of ${total ?? 'unknown'} bytes; run it again`);
      }
      writing = true;
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (cause) {
    await rm(partial, { force: true }).catch(() => {});
    if (cause instanceof DatasetError) throw cause;
    throw failure(
      url,
      path,
      writing
        ? `the file cannot be written (${reason(cause)}); make room, or choose another directory (SPFT_DATASETS)`
        : `the download stopped after ${received}${total === null ? '' : ` of ${total}`} bytes (${reason(cause)}); run it again`,
      { cause },
    );
  }
}

/** A page of a proxy that wants a login comes with status 200 too. */
function checkKind(start: Uint8Array, url: string, path: string): void {
  const text = new TextDecoder().decode(start.subarray(0, 200)).trimStart();
  const isGzip = start[0] === 0x1f && start[1] === 0x8b;
  if (isGzip || text === '' || text.startsWith('[') || text.startsWith('{')) return;
  throw failure(url, path, `what came is no JSON (it begins with '${text.slice(0, 30).split('\n')[0]}'); ${CHECK}`);
}

function failure(
  url: string,
  path: string,
  problem: string,
  options: { readonly status?: number; readonly cause?: unknown } = {},
): DatasetError {
  const message = withoutSecrets(`${url}: ${problem}; or put the file at ${path} yourself`);
  return new DatasetError(message, { file: path, ...options });
}

/** fetch says "fetch failed" or "terminated" and hides why in the cause. */
function reason(error: unknown): string {
  const { cause, message, code } = error as Error & { code?: string; cause?: { code?: string; message?: string } };
  return code === undefined || typeof code !== 'string' ? (cause?.code ?? cause?.message ?? message) : message;
}
