/** @file Requests to the hub: repeated while that can help, and answered by an error that says what to do where it cannot. */
import { HubError } from './hub-error.js';

export interface HttpOptions {
  /** Access token, sent to the hub and not to where it redirects. */
  readonly token?: string;
  /** User and password of the endpoint in base64, sent where there is no token. */
  readonly basic?: string;
  /** The fetch for an address: by way of a proxy, say. Default: the global one. */
  readonly fetchFor?: (url: URL) => Promise<typeof globalThis.fetch>;
  /** What is asked with every request besides. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly init?: {
    // Spelled out, as `RequestInit` of the types of Node alone has no cache.
    readonly cache?: 'default' | 'force-cache' | 'no-cache' | 'no-store' | 'only-if-cached' | 'reload';
    readonly credentials?: 'include' | 'omit' | 'same-origin';
    readonly referrerPolicy?: 'no-referrer' | 'origin' | 'same-origin' | 'strict-origin';
  };
  /** What a person can do, in the words of where this runs. Default: those of a command line. */
  readonly advice?: HubAdvice;
  /** How many times a request is repeated after a 5xx, 429 or a broken connection that brought nothing new. */
  readonly retries: number;
  /** Wait before the first repetition; doubled each time, at most 10 s. */
  readonly retryDelayMs: number;
  /** A server that sends nothing for so long is given up as broken. */
  readonly idleTimeoutMs: number;
}

/** What a person can do about a hub that does not give what is asked for. */
export interface HubAdvice {
  /** After tries in vain: what to do next. */
  readonly again: string;
  /** How to give an access token. */
  readonly token: string;
}

const COMMAND_LINE: HubAdvice = {
  again: 'run it again to go on, or set HF_HUB_OFFLINE=1 to use what is in the cache',
  token: 'HF_TOKEN, or the token option',
};

/** What was asked for, to say it in messages. */
export interface Asked {
  readonly repoId: string;
  readonly revision: string;
  readonly file?: string;
  /** Page of the repository, where a person accepts its terms. */
  readonly page: string;
}

/** Something that may be gone at the next try. */
export class Transient extends Error {
  constructor(
    message: string,
    readonly retryAfterMs?: number,
    /** Set when the try moved the download on, which starts the count of tries anew. */
    readonly progressed = false,
    options?: { readonly cause?: unknown },
    readonly status?: number,
  ) {
    super(message, options);
  }
}

/** Runs `attempt` until it gives a result or something other than `Transient`, as often as `options` allow. */
export async function withRetries<T>(asked: Asked, options: HttpOptions, attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Transient)) throw error;
      if (error.progressed) tries = 0;
      if (tries >= options.retries) {
        throw new HubError(
          `${describe(asked)}: ${error.message}, ${tries + 1} times in a row; what is downloaded is kept: ${(options.advice ?? COMMAND_LINE).again}`,
          { cause: error.cause ?? error, status: error.status },
        );
      }
      const wait = error.retryAfterMs ?? Math.min(10_000, options.retryDelayMs * 2 ** tries);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

/**
 * One request.
 * @returns the answer, of status 2xx or 3xx, or one of `alsoFine`; its body has yet to be read, with `signal` watching that it comes.
 * @throws Transient, or HubError where another try is of no use.
 */
export async function request(
  url: string,
  asked: Asked,
  options: HttpOptions,
  init: {
    method?: string;
    headers?: Record<string, string>;
    signal?: AbortSignal;
    alsoFine?: readonly number[];
    manual?: boolean;
  },
): Promise<Response> {
  let response: Response;
  try {
    const fetch = (await options.fetchFor?.(new URL(url))) ?? globalThis.fetch;
    response = await fetch(url, {
      method: init.method ?? 'GET',
      // fetch leaves the authorization out when it follows a redirect to another host.
      headers: { ...options.headers, ...authorization(options), ...init.headers },
      ...options.init,
      redirect: init.manual ? 'manual' : 'follow',
      signal: init.signal ?? AbortSignal.timeout(options.idleTimeoutMs),
    });
  } catch (cause) {
    if (cause instanceof HubError) throw cause;
    throw new Transient(`no answer from ${new URL(url).origin} (${reason(cause)})`, undefined, false, { cause });
  }
  if (response.status < 400 || init.alsoFine?.includes(response.status)) return response;
  await response.body?.cancel();
  const { status } = response;
  if (status >= 500 || status === 429 || status === 408) {
    const seconds = Number(response.headers.get('retry-after'));
    throw new Transient(
      `the hub answers ${status} ${response.statusText}`.trim(),
      seconds > 0 ? Math.min(seconds, 60) * 1000 : undefined,
      false,
      undefined,
      status,
    );
  }
  throw refusal(asked, status, response.headers, options);
}

function authorization({ token, basic }: HttpOptions): { authorization?: string } {
  if (token !== undefined) return { authorization: `Bearer ${token}` };
  return basic === undefined ? {} : { authorization: `Basic ${basic}` };
}

/** An answer's body as text. @throws HubError when it is longer than `limit` bytes: no answer of a hub is. */
export async function bodyText(response: Response, limit: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of chunksOf(response)) {
    bytes += chunk.length;
    // Leaving the loop cancels the body.
    if (bytes > limit)
      throw new HubError(`the hub's answer is longer than ${limit} bytes; check the endpoint (HF_ENDPOINT)`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** An answer's body as it comes; not every browser's streams can be iterated. Leaving the loop early ends the connection. */
export async function* chunksOf(response: Response): AsyncGenerator<Uint8Array> {
  if (!response.body) return;
  const reader = response.body.getReader();
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      ended = done;
      if (done) return;
      yield value;
    }
  } finally {
    if (!ended) await reader.cancel().catch(() => {});
  }
}

function refusal(asked: Asked, status: number, headers: Headers, options: HttpOptions): HubError {
  const hadToken = options.token !== undefined;
  const { token: how } = options.advice ?? COMMAND_LINE;
  const code = headers.get('x-error-code') ?? '';
  const what = describe(asked);
  const say = (problem: string) => new HubError(`${what}: ${problem}`, { status });
  if (code === 'RevisionNotFound')
    return say(
      `the hub has no revision '${asked.revision}' of it (${status}); give a branch, tag or commit that it has`,
    );
  if (code === 'EntryNotFound')
    return say(`the repository has no such file at revision '${asked.revision}' (${status})`);
  if (code === 'GatedRepo' || status === 403) {
    return say(
      hadToken
        ? `the access token may not read it (${status}); accept its terms at ${asked.page} with the token's account, and give the token the right to read gated repositories`
        : `it may not be read without an account (${status}); accept its terms at ${asked.page}, then give an access token: ${how}`,
    );
  }
  if (status === 401) {
    return say(
      hadToken
        ? 'the hub refuses (401): the access token is wrong or expired, or there is no such repository; check HF_TOKEN and the name'
        : `the hub refuses (401): there is no such repository, or it is private or gated; check the name, or give an access token: ${how}`,
    );
  }
  if (status === 404) {
    return say(
      asked.file === undefined
        ? `the hub has no such repository or revision (404); check the name, and that the revision '${asked.revision}' exists`
        : `the repository has no such file at revision '${asked.revision}' (404)`,
    );
  }
  return say(
    `the hub answers ${status}; ${headers.get('x-error-message')?.slice(0, 300) ?? 'check the endpoint (HF_ENDPOINT)'}`,
  );
}

export function describe({ repoId, file }: Asked): string {
  return file === undefined ? repoId : `${repoId}: ${file}`;
}

/** fetch says "fetch failed" and hides why in the cause. */
export function reason(error: unknown): string {
  const { cause, message } = error as Error & { cause?: { code?: string; message?: string } };
  return cause?.code ?? cause?.message ?? message;
}
